"""Prompt to pixels with the built-in model, without ComfyUI: what the evaluation judges."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from longtake.engine.canvas.noise import video_noise
from longtake.engine.take.cut_prompts import even_starts, shots_of
from longtake.models.attention import exact
from longtake.models.checkpoint import load_into, load_weights
from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import Segment, WanDiT
from longtake.models.wan.vae import WanVAE

from .learning.optim import load_average
from .learning.run import read_checkpoint
from .networks import ADAM, build_networks
from .shipped import WEIGHTS, read_config, shipped_vae
from .solvers import PRESET, Settings, Velocity, integrate
from .text import TextEncoder, shipped_text_encoder


class Pipeline:
    """The three networks, ready to sample.

    Args:
        text, dit, vae: in any one dtype, on the CPU.
        settings: as in the nodes; may be replaced at any time.
    """

    def __init__(
        self, text: TextEncoder, dit: WanDiT, vae: WanVAE, settings: Settings | None = None
    ):
        self.text, self.dit, self.vae = text, dit, vae
        self.settings = settings or Settings()
        self.evaluations = 0  # of the transformer, for one clip each, since the start

    @classmethod
    def load(
        cls, folder: Path, dtype: torch.dtype = torch.float32, settings: Settings | None = None
    ) -> "Pipeline":
        """From dit, vae and text_encoder.safetensors in `folder`."""
        path = folder / "dit.safetensors"
        dit = WanDiT(DiTConfig.from_json(read_config(path)), device="meta")
        load_into(dit, load_weights(path, dtype=dtype), path.name)
        text = shipped_text_encoder(folder / "text_encoder.safetensors")
        vae = shipped_vae(folder / "vae.safetensors")
        return cls(text.to(dtype).eval(), dit.eval(), vae.to(dtype).eval(), settings)

    @classmethod
    def watch(
        cls, run: Path, dtype: torch.dtype = torch.float32, settings: Settings | None = None
    ) -> "Pipeline":
        """The averaged weights of a run's checkpoint, with the shipped VAE."""
        model = averaged_networks(run).to(dtype).eval()
        return cls(model["text"], model["dit"], shipped_vae().to(dtype), settings)

    @torch.inference_mode()
    def __call__(
        self,
        prompts: list[str],
        seeds: list[int],
        *,
        frames: int = PRESET.frames,
        height: int = PRESET.height,
        width: int = PRESET.width,
    ) -> Tensor:
        """Clips (b, 3, frames, h, w), about -1 to 1; one prompt and one seed for each."""
        latents = self.sample(prompts, self.noise(seeds, frames, height, width))
        return self.vae.decode(latents).float()

    def noise(
        self, seeds: list[int], frames: int, height: int, width: int, first: int = 0
    ) -> Tensor:
        """(b, c, t, h, w): the noise that the nodes would draw, from latent frame `first` on."""
        config = self.vae.config
        size = (config.latent_channels, height // config.stride_hw, width // config.stride_hw)
        latent_frames = range(first, first + (frames - 1) // config.stride_t + 1)
        return torch.cat([video_noise(seed, latent_frames, size) for seed in seeds])

    @torch.inference_mode()
    def sample(
        self,
        prompts: list[str],
        noise: Tensor,
        given: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Latents (b, c, t, h, w) for the prompts.

        Args:
            noise: (b, c, t, h, w). given: the same, used where known: (t,) bool; these latent
                frames are at noise level 0 from the start and come back as they were.
        """
        start = noise.float()
        still = torch.zeros(noise.shape[2], dtype=torch.bool) if known is None else known
        hold = still[:, None, None]
        if given is not None:
            start = torch.where(hold, given.float(), start)
        guided = self._guided(prompts, still)
        settings = self.settings
        x = integrate(
            lambda x, sigma: torch.where(hold, 0.0, guided(x, sigma)),
            start,
            settings.levels(),
            settings.sampler,
        )
        return torch.where(hold, start, x).to(next(self.dit.parameters()).dtype)

    @torch.inference_mode()
    def sample_area(
        self,
        prompts: list[str],
        noise: Tensor,
        given: Tensor,
        area: Tensor,
        *,
        by_token: bool,
        negatives: list[str] | None = None,
    ) -> Tensor:
        """Latents (b, c, t, h, w) of which a part is sampled.

        Args:
            noise, given: (b, c, t, h, w). area: (b, 1, t, h, w) bool, what is sampled.
            by_token: what is known is clean, at level 0; else as noisy as the rest, at every step.
            negatives: what shall not be seen, one for each prompt; None: the preset's.
        """
        given, noise = given.float(), noise.float()
        patch = self.dit.config.patch[1]
        still = ~area[:, 0, :, ::patch, ::patch] if by_token else ~area[:, 0].flatten(2).any(-1)
        guided = self._guided(prompts, still, negatives)

        def velocity(x: Tensor, sigma: float) -> Tensor:
            known = given if by_token else torch.lerp(given, noise, sigma)
            v = guided(torch.where(area, x, known), sigma)
            return torch.where(area, v, 0.0 if by_token else noise - given)

        start = torch.where(area, noise, given if by_token else noise)
        x = integrate(velocity, start, self.settings.levels(), self.settings.sampler)
        return torch.where(area, x, given).to(next(self.dit.parameters()).dtype)

    def _guided(
        self, prompts: list[str], known: Tensor, negatives: list[str] | None = None
    ) -> Velocity:
        """The velocity with classifier-free guidance."""
        settings, ask = self.settings, self._velocity(prompts, known)
        # One batch: context is zero beyond each prompt's end, so the lengths may differ.
        without = negatives or [PRESET.negative] * len(prompts)
        both = self._velocity([*prompts, *without], known)

        def velocity(x: Tensor, sigma: float) -> Tensor:
            if not settings.guided(sigma):
                return ask(x, sigma)
            asked, unasked = both(torch.cat((x, x)), sigma).chunk(2)
            v = unasked + settings.cfg * (asked - unasked)
            if settings.rescale:
                clean, plain = x - sigma * v, x - sigma * asked
                axes = tuple(range(1, x.ndim))
                ratio = plain.std(axes, keepdim=True) / clean.std(axes, keepdim=True)
                v = (x - clean * (1 + settings.rescale * (ratio - 1))) / sigma
            return v

        return velocity

    def _velocity(self, prompts: list[str], known: Tensor) -> Callable[[Tensor, float], Tensor]:
        """The network's velocity, in float32, for a batch with these prompts."""
        dtype = next(self.dit.parameters()).dtype
        frames = len(known) if known.ndim == 1 else known.shape[1]
        text = self._read(prompts, frames)

        def velocity(x: Tensor, sigma: float) -> Tensor:
            self.evaluations += len(x)
            level = torch.where(known, 0.0, 1000 * sigma)
            if known.ndim == 1:
                level = level.expand(len(x), -1)
            elif len(x) > len(level):  # both prompts
                level = torch.cat((level, level))
            return self.dit(x.to(dtype), level, text, attention=exact).float()

        return velocity

    def _read(self, prompts: list[str], latent_frames: int) -> list[Segment]:
        """The text for each latent frame: as in the pack, a prompt's shots share the clip."""
        shots = [shots_of(prompt) for prompt in prompts]
        count = max(map(len, shots))  # shots of one prompt go on where others have a cut
        edges = [*even_starts(count, latent_frames), latent_frames]
        columns = [[s[i * len(s) // count] for s in shots] for i in range(count)]
        return [
            Segment(*span, self.dit.read_text(self.text(column)))
            for span, column in zip(pairwise(edges), columns, strict=True)
        ]


def shipped_networks() -> nn.ModuleDict:
    """The shipped networks, ready to be trained further."""
    pipeline = Pipeline.load(WEIGHTS)
    pipeline.dit.attention = exact
    return nn.ModuleDict({"dit": pipeline.dit, "text": pipeline.text}).requires_grad_().train()


def averaged_networks(run: Path) -> nn.ModuleDict:
    """A run's networks, in float32, with the running average of their weights."""
    state, recipe = read_checkpoint(run)
    model = shipped_networks() if recipe["further"] else build_networks()
    load_average(model, ADAM, state["ema"])
    return model
