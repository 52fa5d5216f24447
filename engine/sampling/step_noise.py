"""Noise that samplers add on the way, for intervals of noise levels that overlap."""

from collections.abc import Callable
from math import sqrt

from torch import Tensor


class BrownianPath:
    """The noise of a Brownian motion, of variance 1 over any interval.

    Intervals that begin at the same level have in common what lies in both, as a sampler with a
    step inside its step asks; any others are independent.

    Args:
        draw: normal noise, other at each call.
    """

    def __init__(self, draw: Callable[[], Tensor]):
        self._draw = draw
        self._begin: float | None = None
        self._path: dict[float, Tensor | float] = {}  # by the distance from the beginning

    def __call__(self, begin: Tensor | float, end: Tensor | float) -> Tensor:
        """The noise between two levels; they must not be the same."""
        begin, far = float(begin), abs(float(end) - float(begin))
        if begin != self._begin:
            self._begin, self._path = begin, {0.0: 0.0}
        if far not in self._path:
            self._path[far] = self._new(far)
        return self._path[far] / sqrt(far)

    def _new(self, far: float) -> Tensor:
        """Where the path is at a distance at which nobody has asked, given where it is known."""
        near = max(known for known in self._path if known < far)
        after = min((known for known in self._path if known > far), default=None)
        if after is None:
            return self._path[near] + sqrt(far - near) * self._draw()
        share = (far - near) / (after - near)
        between = (1 - share) * self._path[near] + share * self._path[after]
        return between + sqrt(share * (after - far)) * self._draw()
