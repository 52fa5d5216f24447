"""Whether a video came out of a VAE: it reproduces its own videos suspiciously well.

AEROBLADE (Ricker, Lukovnikov and Fischer, CVPR 2024, arXiv:2401.17879) looks at how far a picture
is from what the VAE makes of it. That depends on how much there is to be seen, too. So what the VAE
made is given to it again, as a yardstick: a video of its own is about as far from the first round
as that is from the second, and any other several times as far.
"""

import math
from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from torch import Tensor

LARGEST = 256  # pixels of a side that are looked at, from the middle
WINDOWS = 3  # places in a video that are looked at
FLAT = 2.0  # grey levels; what varies less tells nothing
OWN = 4.0  # the ratio below which a video counts as the VAE's own

Reproduce = Callable[[Tensor], Tensor]
"""uint8 (frames, h, w, 3) -> what the VAE makes of it, of the same shape."""


class Reproduction(NamedTuple):
    """How a VAE reproduces a video.

    Attributes:
        ratio: of the error of the first round to that of the second; 1 is as its own.
        shift: frames after the video's first at which its latent frames seem to begin.
    """

    ratio: float
    shift: int

    @property
    def own(self) -> bool:
        return self.ratio < OWN


def starts(frames: int, window: int, stride: int) -> tuple[list[int], list[int]]:
    """Where the windows begin that are looked at.

    Args:
        frames: of the video; window: of one window, no more than these.
        stride: frames of a latent frame; a part of a video may begin within one.

    Returns:
        Each way in which latent frames may lie, then further places for a way that begins at 0.
    """
    last = frames - window
    ways = list(range(min(stride, last + 1)))
    places = [round(last * n / WINDOWS) // stride * stride for n in range(1, WINDOWS)]
    return ways, [place for place in dict.fromkeys(places) if place >= stride]


def middle_part(frames: Tensor, step: int) -> Tensor:
    """The middle of frames (n, h, w, 3), at most LARGEST pixels a side, on a grid of `step`."""
    rows, columns = (
        slice(start, start + size)
        for start, size in (_span(side, step) for side in frames.shape[1:3])
    )
    return frames[:, rows, columns]


def _span(side: int, step: int) -> tuple[int, int]:
    size = min(side, LARGEST) // step * step
    return (side - size) // 2 // step * step, size


def reproduction(
    window_at: Callable[[int], Tensor], places: tuple[list[int], list[int]], by: Reproduce
) -> Reproduction:
    """Look at some windows of a video.

    Args:
        window_at: a number of a frame -> the window that begins there, uint8 (frames, h, w, 3).
        places: of `starts`.
        by: the VAE.
    """
    ways, more = places
    ratios = {start: _ratio(window_at(start), by) for start in ways}
    shift = min(ratios, key=ratios.__getitem__)
    others = [_ratio(window_at(place + shift), by) for place in more]
    return Reproduction(median([ratios[shift], *others]), shift)


def _ratio(frames: Tensor, by: Reproduce) -> float:
    if float(frames.float().std()) < FLAT:
        return math.inf
    once = by(frames)
    return _error(frames, once) / max(_error(once, by(once)), 1e-3)


def _error(one: Tensor, other: Tensor) -> float:
    """The mean square of the difference, in grey levels."""
    return float((one.float() - other.float()).square().mean())


def gathered(chunks: Iterable[Tensor], numbers: set[int]) -> dict[int, Tensor]:
    """Some frames of a stream by their numbers, each (h, w, 3)."""
    found, number, last = {}, 0, max(numbers)
    for chunk in chunks:
        for frame in chunk:
            if number in numbers:
                found[number] = frame.clone()
            number += 1
        if number > last:
            break
    return found


def describe_reproduction(found: Reproduction | None) -> str:
    """In words."""
    if found is None:
        return ""
    measure = f"{found.ratio:.1f} times as far from itself as its own videos; {OWN:g} is the limit"
    if found.own:
        return f"VAE: it looks like a video of this VAE, hardly re-encoded ({measure})."
    return f"VAE: no sign of this VAE ({measure}). Any re-encoding or scaling takes it away."
