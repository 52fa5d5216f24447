"""Against drift: what later windows of a take keep of its first one.

Every window goes on from the end of the one before, and small errors add up: colours creep,
contrast grows. Two remedies, each by itself or both: latents whose statistics are those of the
first window, and the first frame itself among what each window is shown as known.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..canvas.masked import MaskedLatents
from ..canvas.plan import Window

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


class Anchor:
    """What later windows of one clip keep of its first one.

    Args:
        kind: one of ANCHORS.
    """

    def __init__(self, kind: str):
        self._statistics = kind in ("statistics", "both")
        self._frame = kind in ("first frame", "both")
        self._first: Tensor | None = None
        self._like: Statistics | None = None

    def remember(self, new: Tensor) -> None:
        """The first of all windows' latents that this is called with count: (1, c, t, h, w)."""
        if self._first is None:
            self._first, self._like = new[:, :, :1].clone(), Statistics.of(new)

    def shown(self, window: Window, part: MaskedLatents) -> MaskedLatents:
        """What a window is shown: in place of the first known frame, the clip's first."""
        if not self._frame or self._first is None or window.context < 2:
            return part
        return part.with_known({0: self._first})

    def corrected(self, new: Tensor) -> Tensor:
        """What a window gave, moved towards the first one's statistics."""
        if not self._statistics or self._like is None:
            return new
        return matched(new, self._like)
