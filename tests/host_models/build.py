"""What all tiny host models are made with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.models.tiny import randomised

SETTINGS = {"steps": 2, "cfg": 1.5, "sampler_name": "euler", "scheduler": "simple", "seed": 5}


@dataclass
class HostModel:
    """What core's loaders would have given for one model.

    Attributes:
        model: MODEL, a ModelPatcher.
        vae: VAE of the pictures.
        positive, negative: CONDITIONING as wide as the model reads.
        audio_vae: VAE of the sound, where the model makes sound.
    """

    model: Any
    vae: Any
    positive: list
    negative: list
    audio_vae: Any = None

    @cached_property
    def clip(self) -> Any:
        """CLIP that gives each word random numbers of its own."""
        from tests.host_models.words import Words

        return Words(self.positive)

    def sample(self, latent: dict, **settings: Any) -> dict:
        """The LATENT that core's KSampler makes of another in two steps."""
        import nodes

        given = {**SETTINGS, "denoise": 1.0, **settings}
        given = {"positive": self.positive, "negative": self.negative, **given}
        latent = as_the_host_takes_masks(latent)
        return nodes.KSampler().sample(self.model, latent_image=latent, **given)[0]

    def sample_custom(self, latent: dict, **settings: Any) -> tuple[dict, dict]:
        """The two LATENTs of core's SamplerCustomAdvanced: as sampled, and the last forecast."""
        from comfy_extras import nodes_custom_sampler as custom

        given = {**SETTINGS, **settings}
        latent = as_the_host_takes_masks(latent)
        args = self.model, self.positive, self.negative, given["cfg"]
        guider = custom.CFGGuider.execute(*args)[0]
        sampler = custom.KSamplerSelect.execute(given["sampler_name"])[0]
        sigmas = custom.BasicScheduler.execute(self.model, given["scheduler"], given["steps"], 1.0)
        noise = custom.RandomNoise.execute(given["seed"])[0]
        out = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas[0], latent)
        return out[0], out[1]

    def decode(self, latent: dict) -> Tensor:
        """(f, h, w, 3): the frames that core's VAEDecode makes, which in 0.3.75 takes no sound."""
        import nodes

        return nodes.VAEDecode().decode(self.vae, {"samples": streams_of(latent)[0]})[0]

    def decode_sound(self, latent: dict) -> Tensor:
        """(1, 2, samples): what the audio VAE makes of the last stream."""
        return self.audio_vae.decode(streams_of(latent)[-1]).movedim(-1, 1)


def streams_of(latent: dict) -> list[Tensor]:
    """The latents of pictures, and of sound where there are such."""
    samples = latent["samples"]
    return list(samples.unbind()) if samples.is_nested else [samples]


def as_the_host_takes_masks(latent: dict) -> dict:
    """The same, with the masks of both streams in one row for 0.3.75, which takes no others."""
    import comfy.sample
    from comfy.utils import pack_latents, reshape_mask

    mask = latent.get("noise_mask")
    if mask is None or not mask.is_nested or hasattr(comfy.sample, "prepare_empty_noise"):
        return latent
    masks = zip(mask.unbind(), streams_of(latent), strict=True)
    packed = pack_latents([reshape_mask(m, stream.shape) for m, stream in masks])[0]
    return {**latent, "noise_mask": packed}


def rng_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng_of(seed))


def model_of(config: Any, seed: int = 1) -> Any:
    """MODEL of one of core's `comfy.supported_models`, with random weights, on the CPU."""
    from comfy.model_patcher import ModelPatcher

    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "")
    randomised(model.diffusion_model, rng_of(seed))
    return ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def vae_of(network: nn.Module, seed: int = 2, metadata: dict | None = None) -> Any:
    """VAE as core's loader makes it of the weights of `network`, drawn anew."""
    import comfy.sd

    weights = randomised(network, rng_of(seed)).state_dict()
    return comfy.sd.VAE(sd=weights, metadata=metadata, dtype=torch.float32)


@contextmanager
def smaller(module: Any, **classes: dict) -> Iterator[None]:
    """While it lasts, classes of a module of core's are made with some sizes of ours.

    The loader has most sizes of a VAE written into it; so they are changed under its hands:
    `with smaller(comfy.sd, AutoencoderKL={"embed_dim": 4})`.
    """
    changed = {
        name: partial(_with_sizes, getattr(module, name), sizes) for name, sizes in classes.items()
    }
    with patch.multiple(module, **changed):
        yield


def _with_sizes(made: type, sizes: dict, *args: Any, **given: Any) -> Any:
    for name, value in sizes.items():
        old = given.get(name)
        given[name] = {**old, **value} if isinstance(old, dict) else value
    return made(*args, **given)


def conditioning(seed: int, width: int, tokens: int = 5, **extras: Any) -> list:
    """CONDITIONING of random numbers: (1, tokens, width) and what goes with it."""
    return [[random_numbers(seed, 1, tokens, width), extras]]
