"""The shift that a MODEL wants when nobody names one."""

from collections.abc import Mapping
from typing import Any

from comfy.model_patcher import ModelPatcher

from ...models.errors import InputError
from ..comfyui.latent import samples_of
from .settings import settings_of

CELL = {16: 8}  # pixels along a latent cell, by the latent's channels; 16 for all others


def shift_for(model: ModelPatcher, latent: Mapping[str, Any] | None = None) -> float:
    """What ModelSamplingSD3 was told, or what the checkpoint was made for at this size.

    Args:
        model: MODEL.
        latent: LATENT, for checkpoints that want another shift for small frames.

    Raises:
        InputError: if the model is no flow model.
    """
    settings = settings_of(model)
    if settings is not None and "model_sampling" not in model.object_patches:
        return settings.shift_at(*pixels_of(latent))
    shift = getattr(model.get_model_object("model_sampling"), "shift", None)
    if shift is None:
        raise InputError(
            f"{type(model.model).__name__} is no flow model, so it has no shift: make its sigmas "
            f"with core's BasicScheduler."
        )
    return float(shift)


def pixels_of(latent: Mapping[str, Any] | None) -> tuple[int, int]:
    """(width, height) of the frames that a LATENT stands for; large if there is none."""
    if latent is None:
        return 1280, 720
    samples = samples_of(latent)
    cell = CELL.get(samples.shape[1], 16)
    return samples.shape[4] * cell, samples.shape[3] * cell
