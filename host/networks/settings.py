"""What a MODEL was made for, in numbers and in a line of text."""

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ...engine.sampling.presets import DEFAULTS, FAMILIES, SamplingDefaults, layout
from ...models.errors import InputError
from .transformer import network_of


def settings_of(model: ModelPatcher) -> SamplingDefaults | None:
    """The settings of its family; None for a MODEL that is not ours."""
    network = network_of(model)
    return None if network is None else DEFAULTS[network.family.settings]


def settings_for(model: ModelPatcher, what: str) -> SamplingDefaults:
    """As `settings_of`. Raises InputError for other MODELs, of which `what` is not known."""
    settings = settings_of(model)
    if settings is None:
        raise InputError(
            f"{what}: what a checkpoint was made for is known only of models from Longtake's "
            f"LoadModel; enter a number."
        )
    return settings


def cfg_for(model: ModelPatcher) -> float:
    """What a sampler's cfg of 0 stands for; of two experts, the high-noise one's."""
    experts = model.attachments.get("longtake_experts")
    return experts.cfg_high if experts else settings_for(model, "cfg 0").cfg


def rounded(size: int) -> str:
    """1.4 billion, or 6.2 million."""
    return f"{size / 1e9:.3g} billion" if size >= 1e9 else f"{size / 1e6:.2g} million"


def described(model: ModelPatcher) -> str:
    """What LoadModel shows: the family, by what it was told, the numbers it was made for."""
    network = network_of(model)
    settings = DEFAULTS[network.family.settings]
    size = sum(p.numel() for p in network.diffusion_model.parameters())
    return (
        f"{network.family.title} (told by {told(network)})\n"
        f"{rounded(size)} weights in {held(network.diffusion_model)}\n"
        f"made for {settings.width}×{settings.height}, {settings.frames} frames at "
        f"{settings.fps} fps\n"
        f"{settings.steps} steps, shift {shifts(settings)}, cfg {cfgs(settings)}, "
        f"{settings.sampler}"
    )


def told(network: Any) -> str:
    if network.told != "a guess":
        return network.told
    shape = layout(network.sizes)
    others = [f.title for f in FAMILIES if f.layout == shape and f is not network.family]
    return f"a guess; its tensors would fit {', '.join(others)} too: if it is one, set family"


def held(network: torch.nn.Module) -> str:
    """The formats of a network's matrices, as "bfloat16"."""
    found = {str(p.dtype).removeprefix("torch.") for p in network.parameters() if p.ndim == 2}
    return " and ".join(sorted(found))


def shifts(settings: SamplingDefaults) -> str:
    small = settings.small_shift
    return f"{settings.shift:g}" + ("" if small is None else f" ({small:g} at 480p)")


def cfgs(settings: SamplingDefaults) -> str:
    low = settings.cfg_low
    return f"{settings.cfg:g}" + ("" if low is None else f" (low-noise expert {low:g})")


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
