"""Asynchronous diffusion forcing as core's SAMPLER: earlier latent frames are ahead of later ones.

Core samples with one noise level for all. Here each call of the network is told a level for every
latent frame, through the host's own wrapper around it, and each frame takes Euler's steps by its
own clock. `engine.sampling.forcing` says when.
"""

from typing import Any

import comfy.model_base
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from einops import rearrange, reduce
from torch import Tensor

from ...engine.canvas.masked import tells_places_apart
from ...engine.sampling.forcing import reference_noise, wave
from ...models.errors import InputError
from ..comfyui.node_text import show_text
from ..comfyui.progress import check_cancelled

KEY = "longtake_forcing"


def forcing(lag: int, block: int, noise: float) -> comfy.samplers.KSAMPLER:
    """A SAMPLER.

    Args:
        lag: steps that each block is behind the one before; 0 takes all together, as euler does.
        block: latent frames that go together.
        noise: timestep, 0 … 60, that known frames are said to be at and made as noisy as.
    """
    return comfy.samplers.KSAMPLER(sample_forcing, {"lag": lag, "block": block, "noise": noise})


@torch.no_grad()
def sample_forcing(
    model: comfy.samplers.KSamplerX0Inpaint,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any],
    callback: Any = None,
    disable: bool | None = None,
    *,
    lag: int,
    block: int,
    noise: float,
) -> Tensor:
    """Carry x: (b, c, t, h, w) from sigmas[0] to sigmas[-1], called by core's KSAMPLER.

    Raises:
        InputError: for a checkpoint with one noise level, or frames that no such wave passes.
    """
    network, frames, steps = model.inner_model.inner_model, x.shape[2], len(sigmas) - 1
    check_network(network)
    mask = extra_args.get("denoise_mask")
    if mask is not None and tells_places_apart(mask):
        raise InputError(
            "diffusion forcing has one clock for a whole frame, and this canvas has regions: "
            "choose another sampler, such as euler."
        )
    share = x.new_ones(frames) if mask is None else reduce(mask, "b c t h w -> t", "mean").to(x)
    ready = (share == 0).long().cumprod(0).sum().item()  # at the beginning
    plan = wave(frames, steps, lag=lag, known=min(ready, frames - 1), block=block)
    show_text(f"{len(plan.moves)} calls of the model for {steps} steps")
    known = model.latent_image
    if noise and mask is not None:
        known = reference_noise(known, 0, extra_args["seed"], noise)
    levels = Levels(network)
    options = extra_args["model_options"]["transformer_options"]
    add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, levels, options)
    for call, (done, moves) in enumerate(zip(plan.before, plan.moves, strict=True)):
        check_cancelled()
        at = torch.from_numpy(done).clamp(min=0).to(sigmas.device)
        x = x if mask is None else torch.lerp(known.to(x), x, mask.to(x))
        levels.now = torch.lerp(torch.full_like(share, noise / 1000), sigmas[at].to(x), share)
        sigma = levels.now.max()
        clean = model.inner_model(x, sigma.expand(len(x)), **without_mask(extra_args))
        step = (sigmas[(at + 1).clamp(max=steps)] - sigmas[at]) * torch.from_numpy(moves).to(at)
        x = x + rearrange(step.to(x), "t -> t 1 1") * (x - clean) / sigma
        if callback is not None:
            i = call * steps // len(plan.moves)
            callback({"i": i, "denoised": clean, "x": x, "sigma": sigma, "sigma_hat": sigma})
    return x if mask is None else torch.lerp(model.latent_image.to(x), x, mask.to(x))


class Levels:
    """A wrapper around the network that tells it each frame's level; `now` is (t,)."""

    def __init__(self, network: comfy.model_base.BaseModel):
        self.timestep = network.model_sampling.timestep
        self.now: Tensor | None = None

    def __call__(self, executor, x: Tensor, timestep: Tensor, *rest: Any, **more: Any) -> Tensor:
        own = self.timestep(self.now).to(timestep)
        return executor(x, own.expand(len(x), -1), *rest, **more)


def without_mask(extra_args: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra_args.items() if name != "denoise_mask"}


def check_network(network: comfy.model_base.BaseModel) -> None:
    if not isinstance(network, comfy.model_base.WAN22):
        what = f"this model ({type(network).__name__})"
        raise InputError(
            f"diffusion forcing gives each frame a noise level of its own, and {what} was not made "
            f"for that: choose another sampler, such as euler, or SkyReels-V2 DF, TI2V-5B or the "
            f"built-in model."
        )
