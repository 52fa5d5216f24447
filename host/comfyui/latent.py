"""ComfyUI's LATENT <-> our canvas.

LATENT is a dict: "samples" (b, c, t, h, w), "noise_mask" (1 = paint, 0 = keep), and under
"longtake" the facts that a tensor cannot tell: fps, what was pinned, in which passes to paint...
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...models.errors import InputError, NotFiniteError

FACTS = "longtake"
STRIDE_T = 4  # pixel frames per latent frame of every Wan VAE, for masks that count in pixels


def to_canvas(latent: Mapping[str, Any]) -> Canvas:
    """The canvas in a LATENT. A latent frame is known if its mask keeps all of it.

    Raises:
        InputError: if it is no video, or its mask does not fit it.
        NotFiniteError: if it holds NaN or infinite numbers.
    """
    latents = samples_of(latent)
    mask = mask_of(latent)
    if mask is None:
        return Canvas(latents, torch.zeros(latents.shape[2], dtype=torch.bool))
    return Canvas(latents, (reduce(mask, "b c t h w -> t", "max") == 0).cpu())


def to_latent(canvas: Canvas, **facts: Any) -> dict[str, Any]:
    """A LATENT that any node for videos takes.

    Args:
        canvas: its latents, and which of them are known.
        facts: fps and so on, for the nodes after.
    """
    latent: dict[str, Any] = {"samples": canvas.latents}
    if canvas.known.any():
        latent["noise_mask"] = rearrange((~canvas.known).to(canvas.latents), "t -> 1 1 t 1 1")
    return with_facts(latent, **facts)


def with_facts(latent: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """A copy of a LATENT with more facts; those it has already stay unless named again."""
    return {**latent, FACTS: {**facts_of(latent), **facts}}


def facts_of(latent: Mapping[str, Any]) -> dict[str, Any]:
    """What earlier nodes of ours wrote down about a LATENT, fps above all."""
    return dict(latent.get(FACTS, {}))


def samples_of(latent: Mapping[str, Any]) -> Tensor:
    """The tensor of a LATENT: (b, c, t, h, w); a single image is a video of one frame."""
    samples = latent.get("samples")
    if not torch.is_tensor(samples) or samples.ndim not in (4, 5) or not samples.numel():
        shape = tuple(samples.shape) if torch.is_tensor(samples) else type(samples).__name__
        raise InputError(
            f"a LATENT of shape {shape} is not a video: need (batch, channels, frames, height, "
            f"width), as the Canvas node makes it."
        )
    if not torch.isfinite(samples).all():
        raise NotFiniteError("the LATENT holds NaN or infinite numbers: check the node before.")
    return samples.unsqueeze(2) if samples.ndim == 4 else samples


def mask_of(latent: Mapping[str, Any]) -> Tensor | None:
    """A LATENT's mask at its own resolution: (b or 1, 1, t, h or 1, w or 1), 1 = paint; or None.

    Masks drawn on pixels come as (frames, h, w) or (frames, 1, h, w). Core would stretch them in
    time, by which a kept first frame is lost; here a latent frame is painted where any of its
    pixel frames is.
    """
    mask = latent.get("noise_mask")
    if mask is None:
        return None
    if not torch.isfinite(mask).all():
        raise NotFiniteError("the mask of the LATENT holds NaN or infinite numbers.")
    latents = samples_of(latent)
    if mask.ndim == 5:
        return checked(reduce(mask.float(), "b c t h w -> b 1 t h w", "max"), latents)
    pixels = mask.float().reshape(1, 1, -1, *mask.shape[-2:])
    h, w = latents.shape[-2:]
    by_frame = F.adaptive_max_pool3d(pixels, (pixels.shape[2], h, w))
    return checked(in_latent_time(by_frame, latents.shape[2]), latents)


def in_latent_time(mask: Tensor, latent_frames: int) -> Tensor:
    """mask: (1, 1, f, h, w) -> (1, 1, t, h, w)."""
    frames = mask.shape[2]
    if frames in (1, latent_frames):
        return mask.expand(-1, -1, latent_frames, -1, -1)
    wanted = 1 + (latent_frames - 1) * STRIDE_T
    if frames != wanted:
        raise InputError(
            f"a mask of {frames} frames does not fit this LATENT: need 1 for all of it, {wanted} "
            f"pixel frames, or {latent_frames} latent frames."
        )
    rest = reduce(mask[:, :, 1:], "b c (t p) h w -> b c t h w", "max", p=STRIDE_T)
    return torch.cat((mask[:, :, :1], rest), dim=2)


def checked(mask: Tensor, latents: Tensor) -> Tensor:
    """The mask itself, if each of its axes is 1 or that of the latents (time must be)."""
    b, _, t, h, w = latents.shape
    fits = (
        mask.shape[0] in (1, b)
        and mask.shape[2] == t
        and mask.shape[3] in (1, h)
        and mask.shape[4] in (1, w)
    )
    if not fits:
        raise InputError(
            f"a mask of shape {tuple(mask.shape)} does not fit latents of {tuple(latents.shape)}: "
            f"need ({b} or 1, 1, {t}, {h} or 1, {w} or 1)."
        )
    return mask
