"""Against drift: what later windows of a take keep of its first one.

Every window goes on from the end of the one before, and small errors add up: colours creep,
contrast grows. Two remedies, each by itself or both: latents whose statistics are those of the
first window, and the first frame itself among what each window is told is known.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ANCHORS = ("off", "statistics", "first frame", "both")
STRENGTH = 0.5  # of a window's deviation that is taken back: what happens may change colours too


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel: (1, c, 1, 1, 1)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> "Statistics":
        """latents: (1, c, t, h, w)."""
        std, mean = torch.std_mean(latents.double(), dim=(0, 2, 3, 4), keepdim=True)
        return cls(mean, std)


def matched(latents: Tensor, like: Statistics, strength: float = STRENGTH) -> Tensor:
    """Latents (1, c, t, h, w) moved towards the statistics of others, all the way at strength 1."""
    own = Statistics.of(latents)
    mean = torch.lerp(own.mean, like.mean, strength)
    std = torch.lerp(own.std, like.std, strength)
    moved = (latents.double() - own.mean) * (std / own.std.clamp_min(1e-6)) + mean
    return moved.to(latents)


def keeps_statistics(anchor: str) -> bool:
    return anchor in ("statistics", "both")


def keeps_first_frame(anchor: str) -> bool:
    return anchor in ("first frame", "both")
