"""Prompt to pixels with the built-in model and no ComfyUI: what the evaluation looks at."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from .pack import register

register()

from longtake.engine.defaults import DEFAULTS  # noqa: E402
from longtake.engine.noise import video_noise  # noqa: E402
from longtake.engine.schedule import sigmas  # noqa: E402
from longtake.models.attention import exact  # noqa: E402
from longtake.models.checkpoint import load_into, load_weights  # noqa: E402
from longtake.models.wan.config import DiTConfig  # noqa: E402
from longtake.models.wan.dit import WanDiT  # noqa: E402
from longtake.models.wan.vae import WanVAE  # noqa: E402

from .export import averaged, load_vae, read_config  # noqa: E402
from .optim import load_average  # noqa: E402
from .text import TextEncoder, load_text_encoder  # noqa: E402

NANO = DEFAULTS["nano"]


class Pipeline:
    """The three networks, ready to sample.

    Args:
        text, dit, vae: in any one dtype, on the CPU.
        steps, cfg, shift: as in the nodes; the defaults are the nodes' defaults.
    """

    def __init__(
        self,
        text: TextEncoder,
        dit: WanDiT,
        vae: WanVAE,
        *,
        steps: int = NANO.steps,
        cfg: float = NANO.cfg,
        shift: float = NANO.shift,
    ):
        self.text, self.dit, self.vae = text, dit, vae
        self.steps, self.cfg, self.shift = steps, cfg, shift

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32, **settings) -> "Pipeline":
        """From dit, vae and text_encoder.safetensors in `folder`."""
        path = folder / "dit.safetensors"
        dit = WanDiT(DiTConfig.from_json(read_config(path)), device="meta")
        load_into(dit, load_weights(path, dtype=dtype), path.name)
        text = load_text_encoder(folder / "text_encoder.safetensors")
        vae = load_vae(folder / "vae.safetensors")
        return cls(text.to(dtype).eval(), dit.eval(), vae.to(dtype).eval(), **settings)

    @classmethod
    def watch(cls, run: Path, dtype: torch.dtype = torch.float32, **settings) -> "Pipeline":
        """The averaged weights of a training run's checkpoint, and the shipped VAE."""
        from . import train_dit

        model = train_dit.build()
        load_average(model, train_dit.ADAM, averaged(run))
        model = model.to(dtype).eval()
        return cls(model["text"], model["dit"], load_vae().to(dtype), **settings)

    @torch.inference_mode()
    def __call__(
        self,
        prompts: list[str],
        seeds: list[int],
        *,
        frames: int = NANO.frames,
        height: int = NANO.height,
        width: int = NANO.width,
    ) -> Tensor:
        """Clips (b, 3, frames, h, w), about -1 to 1; one prompt and one seed for each."""
        latents = self.sample(prompts, self.noise(seeds, frames, height, width))
        return self.vae.decode(latents).float()

    def noise(self, seeds: list[int], frames: int, height: int, width: int) -> Tensor:
        """(b, c, t, h, w): for each seed what the nodes would draw."""
        config = self.vae.config
        size = (config.latent_channels, height // config.stride_hw, width // config.stride_hw)
        latent_frames = range((frames - 1) // config.stride_t + 1)
        return torch.cat([video_noise(seed, latent_frames, size) for seed in seeds])

    @torch.inference_mode()
    def sample(self, prompts: list[str], noise: Tensor) -> Tensor:
        """Latents for the prompts: Euler's method with classifier-free guidance."""
        x = noise.to(next(self.dit.parameters()).dtype)
        # One batch: context is zero beyond each prompt's end, so the lengths may differ.
        context = self.text([*prompts, *([NANO.negative] * len(prompts))])
        text = self.dit.read_text(context)
        for sigma, sigma_next in pairwise(sigmas(self.steps, self.shift).tolist()):
            level = torch.full((2 * len(x),), 1000 * sigma)
            velocity = self.dit(torch.cat((x, x)), level, text, attention=exact)
            asked, unasked = velocity.float().chunk(2)
            guided = unasked + self.cfg * (asked - unasked)
            x = (x.float() + (sigma_next - sigma) * guided).to(x.dtype)
        return x
