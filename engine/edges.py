"""Edges of masks: moved outwards, and softened."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BAND = 2**28  # pixels that are looked at for the rows that are worked on at once
Between = Callable[[], Any]
"""Called between parts of long work; an exception from it ends the work."""


def grown(pixels: Tensor, by: int, check: Between) -> Tensor:
    """(n, 1, h, w) with the most of all pixels that lie up to `by` away along each side."""
    if not by:
        return pixels
    return _pooled(F.max_pool2d, F.pad(pixels, (by,) * 4), by, check)  # none is below 0


def faded(pixels: Tensor, over: int, check: Between) -> Tensor:
    """(n, 1, h, w) that fade out over so many pixels outside of what they were."""
    if not over:
        return pixels
    reach = (over + 1) // 2
    pixels = F.pad(grown(pixels, reach, check), (reach,) * 4, mode="replicate")
    return _pooled(F.avg_pool2d, pixels, reach, check)


def _pooled(pool: Callable[..., Tensor], pixels: Tensor, reach: int, check: Between) -> Tensor:
    """What `pool` makes of the pixels up to `reach` away, which are there on all sides.

    First along columns, then along rows, a band of rows at a time.
    """
    taps = 2 * reach + 1
    for tall, wide in ((taps, 1), (1, taps)):
        rows, parts = pixels.shape[2] - tall + 1, []
        size = max(1, BAND // (taps * pixels[:, :, 0].numel()))
        for top in range(0, rows, size):
            check()
            band = pixels[:, :, top : min(top + size, rows) + tall - 1]
            parts.append(pool(band, (tall, wide), 1))
        pixels = torch.cat(parts, dim=2)
    return pixels
