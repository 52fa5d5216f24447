"""What a MODEL was made for: as settings, as numbers for other nodes, as text."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingFlux

from ...engine.sampling.host_presets import HostFamily, host_family
from ...engine.sampling.presets import GUESS, SamplingDefaults, alike
from ...models.errors import InputError
from ..comfyui.latent import samples_of
from .transformer import OurNetwork, network_of

EXPERTS = "longtake_experts"  # the attachment of a MODEL that is two of them
CELL = {16: 8, 128: 32}  # pixels along a latent cell, by the latent's channels; 16 for all others


def host_family_of(model: ModelPatcher, pair: bool = False) -> HostFamily | None:
    """The family of a MODEL that the host has loaded; None if it is ours, or in no table.

    Args:
        pair: it is known to be one of two experts, as those of one MODEL are in any case.
    """
    if network_of(model) is not None:
        return None
    network = model.model.diffusion_model
    extra = getattr(network, "in_dim", 0) - getattr(network, "out_dim", 0)
    vision = getattr(network, "img_emb", None)  # of Wan 2.1; 2.2's I2V checkpoints have none
    images = 0 if vision is None else 1 if getattr(vision, "emb_pos", None) is None else 2
    classes = [cls.__name__ for cls in type(model.model).__mro__]
    pair = pair or EXPERTS in model.attachments
    return host_family(classes, getattr(network, "dim", 0), extra, images, pair)


def settings_of(model: ModelPatcher, pair: bool = False) -> SamplingDefaults | None:
    """The settings of a MODEL's family; None for a MODEL that nobody knows.

    Args:
        pair: as for `host_family_of`.
    """
    if (network := network_of(model)) is not None:
        return network.family.settings
    family = host_family_of(model, pair)
    return family and family.settings


def captions_of(model: ModelPatcher) -> str | None:
    """Whose captions a MODEL was trained on, a name of `words.families`; None if nobody knows."""
    if (network := network_of(model)) is not None:
        return network.family.captions
    family = host_family_of(model)
    return family and family.captions


def settings_for(model: ModelPatcher, what: str) -> SamplingDefaults:
    """As `settings_of`. Raises InputError, which names `what` was wanted, for unknown MODELs."""
    settings = settings_of(model)
    if settings is None:
        raise InputError(
            f"{what}: nobody has said what {type(model.model).__name__} was made for; enter a "
            f"number."
        )
    return settings


def shift_for(model: ModelPatcher, latent: Mapping[str, Any] | None = None) -> float:
    """The shift that ModelSamplingSD3 set, or else what the checkpoint was made for at this size.

    Args:
        model: MODEL.
        latent: LATENT, for checkpoints that want another shift for small frames.

    Raises:
        InputError: if the model is no flow model.
    """
    settings = settings_of(model)
    if settings is not None and "model_sampling" not in model.object_patches:
        return settings.shift_at(*pixels_of(latent))
    levels = model.get_model_object("model_sampling")
    shift = getattr(levels, "shift", None)
    if shift is not None and isinstance(levels, ModelSamplingFlux):
        return math.exp(shift)  # of which Flux's and LTX's is the logarithm
    if shift is None:
        raise InputError(
            f"{type(model.model).__name__} is no flow model, so it has no shift: make its sigmas "
            f"with core's BasicScheduler."
        )
    return float(shift)


def pixels_of(latent: Mapping[str, Any] | None) -> tuple[int, int]:
    """(width, height) of a LATENT's frames; large if there is none."""
    if latent is None:
        return 1280, 720
    samples = samples_of(latent)
    cell = CELL.get(samples.shape[1], 16)
    return samples.shape[4] * cell, samples.shape[3] * cell


def preset(model: ModelPatcher) -> dict[str, Any]:
    """The settings by the names of the inputs that take them."""
    settings = settings_for(model, "preset")
    return {
        "steps": settings.steps,
        "shift": settings.shift,
        "cfg": settings.cfg,
        "fps": float(settings.fps),
        "seconds": round(settings.frames / settings.fps, 3),
        "width": settings.width,
        "height": settings.height,
        "negative": settings.negative,
    }


def described(model: ModelPatcher) -> str:
    """What a MODEL is, for its node: the family, what it was made for, how it was recognised."""
    network, host = network_of(model), host_family_of(model)
    settings = settings_for(model, "preset")
    size = sum(p.numel() for p in model.model.diffusion_model.parameters())
    title, evidence = (
        (network.family.title, _evidence_of(network))
        if network
        else (host.title, "loaded by the host")
    )
    note = f"{host.note}\n" if host and host.note else ""
    return (
        f"{title}, {evidence}\n"
        f"{settings.steps} steps, shift {_shifts(settings)}, cfg {cfgs(settings)}, "
        f"{settings.sampler}\n"
        f"made for {settings.width}×{settings.height}, {settings.frames} frames at "
        f"{settings.fps} fps\n"
        f"{note}{_rounded(size)} weights in {_dtypes_of(model.model.diffusion_model)}"
    )


def _evidence_of(network: OurNetwork) -> str:
    """What its family was recognised by."""
    if network.evidence != GUESS:
        return f"recognised by {network.evidence}"
    others = [f.title for f in alike(network.sizes) if f is not network.family]
    return f"{GUESS}: set family if that is wrong\nits tensors would fit {', '.join(others)} too"


def _rounded(size: int) -> str:
    """1.4 billion, or 6.2 million."""
    return f"{size / 1e9:.3g} billion" if size >= 1e9 else f"{size / 1e6:.2g} million"


def _dtypes_of(network: torch.nn.Module) -> str:
    """The dtypes of a network's matrices, or how they are packed, as "bfloat16" or "nvfp4"."""
    found = {
        getattr(layer, "quant_format", None) or str(p.dtype).removeprefix("torch.")
        for layer in network.modules()
        for p in layer.parameters(recurse=False)
        if p.ndim == 2
    }
    return " and ".join(sorted(found))


def _shifts(settings: SamplingDefaults) -> str:
    small = settings.small_shift
    return f"{settings.shift:g}" + ("" if small is None else f" ({small:g} at 480p)")


def cfgs(settings: SamplingDefaults) -> str:
    low = settings.cfg_low
    return f"{settings.cfg:g}" + ("" if low is None else f" (low-noise expert {low:g})")
