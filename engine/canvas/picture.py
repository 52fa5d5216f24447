"""Pictures brought to the size of a canvas."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError, NotFiniteError

FITS = ("crop", "pad", "stretch")
SAME_SHAPE = 0.01  # ratios of width to height that differ by less are the same to the eye


def fitted(pictures: Tensor, height: int, width: int, how: str) -> Tensor:
    """Pictures at another size.

    Args:
        pictures: (n, h, w, 3) in [0, 1].
        height, width: in pixels.
        how: crop: fill the canvas, cut what juts out, equally on both sides. pad: show all of it
            between black bars. stretch: both sides by themselves.

    Returns:
        (n, height, width, 3) float32.
    """
    if pictures.shape[1:3] == (height, width):
        return pictures.float()
    h, w = inner_size(pictures.shape[1:3], height, width, how)
    resized = rearrange(pictures.float(), "n h w c -> n c h w")
    resized = F.interpolate(resized, (h, w), mode="bicubic", antialias=True, align_corners=False)
    resized = rearrange(resized.clamp_(0, 1), "n c h w -> n h w c")
    top, left = (h - height) // 2, (w - width) // 2
    if how == "pad":
        padded = resized.new_zeros(len(resized), height, width, 3)
        padded[:, -top : h - top, -left : w - left] = resized
        return padded
    return resized[:, top : top + height, left : left + width]


def inner_size(size: tuple[int, int], height: int, width: int, how: str) -> tuple[int, int]:
    """(h, w) to which a picture of `size` (h, w) is scaled before it is cut or padded."""
    if how == "stretch":
        return height, width
    scales = height / size[0], width / size[1]
    scale = max(scales) if how == "crop" else min(scales)
    bound = max if how == "crop" else min
    fit_h, fit_w = round(size[0] * scale), round(size[1] * scale)
    return max(1, bound(fit_h, height)), max(1, bound(fit_w, width))


def fit_in_words(size: tuple[int, int], height: int, width: int, how: str) -> str:
    """What `fitted` does to a picture of `size` (h, w); "" if it does nothing."""
    if tuple(size) == (height, width):
        return ""
    scaled = f"{size[1]}×{size[0]} scaled to {width}×{height}"
    if abs(size[1] * height / (size[0] * width) - 1) < SAME_SHAPE or how == "stretch":
        return scaled
    h, w = inner_size(size, height, width, how)
    if how == "pad":
        return f"{scaled} with bars of {(width - w) // 2 or (height - h) // 2} px"
    lost = 100 * (1 - height * width / (h * w))
    return f"{scaled}, {lost:.0f} % cut off"


def opaque(pictures: Tensor) -> Tensor:
    """Pictures (n, h, w, 1, 3 or 4) as (n, h, w, 3): grey becomes RGB, alpha is laid over black.

    Raises:
        InputError: for another shape.
        NotFiniteError: for NaN or infinite pixels.
    """
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3, 4) or not pictures.numel():
        raise InputError(
            f"pictures of shape {tuple(pictures.shape)} are not an IMAGE: need "
            f"(frames, height, width, 3) with at least 1 frame."
        )
    if not torch.isfinite(pictures).all():
        raise NotFiniteError("the picture holds NaN or infinite pixels: check the node before.")
    if pictures.shape[-1] == 1:
        return pictures.expand(-1, -1, -1, 3)
    return pictures[..., :3] * pictures[..., 3:] if pictures.shape[-1] == 4 else pictures
