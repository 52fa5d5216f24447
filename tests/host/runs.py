"""Sampling runs through core's nodes and classes, as graphs would make them."""

from collections.abc import Callable
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from longtake.engine.canvas.noise import video_noise

SHAPE = (1, 6, 3, 5, 7)  # (b, c, t, h, w): no two alike, and off the patch grid


def prompt(model: Any, seed: int, tokens: int = 7, **extras: Any) -> list:
    """CONDITIONING of random numbers, as wide as the model reads."""
    rng = torch.Generator().manual_seed(seed)
    width = model.model.diffusion_model.config.text_width
    return [[torch.randn(1, tokens, width, generator=rng), extras]]


def latents(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ksampler(model: Any, **settings: Any) -> Tensor:
    """Core's KSampler on an empty LATENT, or on another."""
    import nodes

    given = {
        "seed": 11,
        "steps": 4,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "latent_image": {"samples": torch.zeros(SHAPE)},
        "denoise": 1.0,
        **settings,
    }
    for seed, name in enumerate(("positive", "negative"), start=1):
        if name not in given:
            given[name] = prompt(model, seed)
    return nodes.KSampler().sample(model, **given)[0]["samples"]


def module(name: str) -> ModuleType:
    """One of the pack's modules of host/, as "sampling.sample"."""
    return import_module(f"longtake.host.{name}")


def windowed(model: Any, schedule: str = "standard_static") -> Any:
    """The model behind core's Context Windows: three latent frames, one in common.

    Newer hosts put the frame before it in front of each later window, unless told not to.
    """
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode as Windows

    newer = {"freenoise": False, "causal_window_fix": False}
    known = signature(Windows.execute).parameters
    more = {name: value for name, value in newer.items() if name in known}
    return Windows.execute(model, 3, 1, schedule, 1, False, "pyramid", dim=2, **more)[0]


class FrameNoise:
    """Our noise as core's NOISE."""

    def __init__(self, seed: int):
        self.seed = seed

    def generate_noise(self, latent: dict) -> Tensor:
        b, c, t, h, w = latent["samples"].shape
        return video_noise(self.seed, range(t), (c, h, w), b)


def sample(
    pack: Any,
    model: Any,
    positive: list,
    negative: list,
    latent: dict,
    sigmas: Tensor,
    *,
    seed: int,
    cfg: float,
    sampler: Any = "euler",
) -> dict:
    """What the Sample node does: LATENT -> LATENT."""
    prompts = pack.conditioning.Prompts(positive, negative)
    sampling = pack.sample.Sampling(sigmas, seed, cfg, sampler)
    canvas = pack.latent.to_canvas(latent)
    out = pack.sample.sampled_canvas(model, prompts, canvas, sampling)
    return pack.latent.with_sampled(latent, out)


@contextmanager
def seen(model: Any, record: Callable[..., Any]):
    """Calls `record` with every call of the network, through core's own wrappers."""
    from comfy.patcher_extension import WrappersMP

    calls: list = []

    def wrapper(executor, *args, **kwargs):
        calls.append(record(*args, **kwargs))
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", wrapper)
    try:
        yield calls
    finally:
        model.remove_wrappers_with_key(WrappersMP.DIFFUSION_MODEL, "test")
