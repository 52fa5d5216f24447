"""Pictures brought to the size of a canvas."""

from typing import Any

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.cpu import bands

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
    resized = by_colour(resized, (h, w), mode="bicubic", antialias=True)
    resized = rearrange(resized.clamp_(0, 1), "n c h w -> n h w c")
    top, left = (h - height) // 2, (w - width) // 2
    if how == "pad":
        padded = resized.new_zeros(len(resized), height, width, 3)
        padded[:, -top : h - top, -left : w - left] = resized
        return padded
    return resized[:, top : top + height, left : left + width]


def fitted_masks(masks: Tensor, height: int, width: int, how: str) -> Tensor:
    """Masks (n, h, w) as `fitted` brings their pictures to another size; 0 on black bars.

    Of black and white they stay.
    """
    if masks.shape[1:] == (height, width):
        return masks
    h, w = inner_size(masks.shape[1:], height, width, how)
    resized = F.interpolate(masks[:, None], (h, w), mode="nearest-exact")[:, 0]
    top, left = (h - height) // 2, (w - width) // 2  # negative: bars
    return F.pad(resized, (-left, width + left - w, -top, height + top - h))


def by_colour(pixels: Tensor, size: tuple[int, int], **how: Any) -> Tensor:
    """F.interpolate(pixels, size, **how), of large pictures a colour after the other.

    Args:
        pixels: (n, c, h, w), channels last in memory.
    """
    n, c = pixels.shape[:2]
    out = pixels.new_empty(n, *size, c).movedim(-1, 1)
    for part, place in bands.bands(pixels, out, axis=1):
        place.copy_(F.interpolate(part, size, align_corners=False, **how))
    return out


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
