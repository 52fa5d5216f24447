"""The noise levels that a MODEL is sampled at."""

from collections.abc import Mapping
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...engine.sampling.schedule import listed, sigmas
from ..comfyui.latent import to_canvas
from ..networks.settings import settings_for, settings_of, shift_for


def levels_for(
    model: ModelPatcher,
    steps: int,
    shift: float,
    curve: str,
    denoise: float,
    latent: Mapping[str, Any] | None = None,
) -> tuple[Tensor, str]:
    """SIGMAS, and a line that says how they came about.

    Args:
        model: MODEL.
        steps: how many times it is asked; 0 for what the checkpoint was made for.
        shift: see `engine.sampling.schedule.sigmas`; 0 for what the checkpoint was made for.
        curve: one of `engine.sampling.schedule.CURVES`.
        denoise: below 1, the last part of a longer schedule; 1 for what Remix put on the canvas.
        latent: the canvas as LATENT, if it is known.

    Returns:
        (steps + 1,) float32, strictly decreasing to 0. With steps and shift at 0, a checkpoint of
        a few steps gets the very levels that it was distilled for.

    Raises:
        InputError: for values that make no schedule, or a MODEL whose settings are not known.
    """
    strength = to_canvas(latent, masked=False).strength if latent and denoise == 1 else None
    settings = settings_of(model)
    own = settings and settings.levels
    if own and steps == 0 and shift == 0 and denoise == 1 and not strength:
        return listed(own), f"{len(own)} steps at {', '.join(f'{level:g}' for level in own)}"
    steps = steps or settings_for(model, "steps 0").steps
    shift = shift or shift_for(model, latent)
    denoise = strength or denoise
    note = f"{steps} steps, shift {shift:g}" + (
        f", denoise {denoise:g} from Remix" if strength else ""
    )
    return sigmas(steps, shift, curve, denoise), note
