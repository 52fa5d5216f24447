"""Where one shot ends and the next begins.

Between two frames of one shot things move; between two shots the picture is another one. So each
block of a small copy of a frame is looked for in the next frame, within a reach, and what is left
unexplained is the difference of the two: 0 to 5 grey levels of 255 for ordinary motion, 15 and more
across a cut, and something between where two shots show the same place. There a cut shows as a
difference well above those nearby, which motion does not make from one frame to the next. A flash
comes back to what was before; a cut does not.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError

ROWS, COLUMNS, BLOCK = 24, 32, 4  # of the small copies; thirds of a percent of a frame do not count
REACH = 6  # pixels of a small copy: a fifth of the picture's width, a quarter of its height
NEAR = 3  # differences on either side that a cut must stand out from; holds for frames shown thrice
CALM = 0.5  # grey levels that any difference may be beside nothing at all


@dataclass(frozen=True)
class Thresholds:
    """Differences, in grey levels of 255, that make a cut."""

    least: float  # below it, none
    sure: float  # above it, one, whatever is nearby
    times: float  # those nearby, in between


def thresholds(sensitivity: float) -> Thresholds | None:
    """What makes a cut, at a sensitivity from 0 (nothing does: None) to 1; 0.5 is the usual.

    Raises:
        InputError: for another sensitivity, NaN included.
    """
    if not 0 <= sensitivity <= 1:
        raise InputError(f"cut sensitivity {sensitivity}: choose a number from 0 (off) to 1.")
    if sensitivity == 0:
        return None
    wide = 4 ** (0.5 - sensitivity)
    return Thresholds(least=3.5 * wide, sure=20 * wide, times=1 + 0.6 * wide)


def detect_cuts(
    frames: Iterable[Tensor], sensitivity: float = 0.5
) -> Iterator[tuple[Tensor, bool]]:
    """Each frame, uint8 (h, w, 3), and whether a cut lies between it and the one before.

    Frames come out NEAR + 1 later than they went in; no more than these are held.
    """
    what = thresholds(sensitivity)
    if what is None:
        yield from ((frame, False) for frame in frames)
        return
    looks, waiting, count = CutDetector(what), deque(), 0
    for frame in frames:
        looks.add(frame)
        waiting.append(frame)
        if len(waiting) > NEAR + 1:
            yield waiting.popleft(), looks.cut_before(count)
            count += 1
    while waiting:
        yield waiting.popleft(), looks.cut_before(count)
        count += 1


class CutDetector:
    """Small copies of the frames around the one in question, by number."""

    def __init__(self, what: Thresholds):
        self.what = what
        self.copies: dict[int, Tensor] = {}
        self.known: dict[tuple[int, int], float] = {}
        self.count = 0

    def add(self, frame: Tensor) -> None:
        """The next frame, uint8 (h, w, 3); those that no question can need are forgotten."""
        self.copies[self.count] = small_copy(frame)
        self.count += 1
        oldest = self.count - 2 * (NEAR + 2)
        self.copies = {n: copy for n, copy in self.copies.items() if n >= oldest}
        self.known = {pair: found for pair, found in self.known.items() if pair[0] >= oldest}

    def cut_before(self, frame: int) -> bool:
        """Whether a shot begins with this frame."""
        if frame == 0 or self.plain(frame - 1, frame) < self.what.least:
            return False
        found = self.between(frame - 1, frame)
        if found < self.what.least or self.is_flash(frame, found):
            return False
        return found >= self.what.sure or self.stands_out(frame, found)

    def stands_out(self, frame: int, found: float) -> bool:
        """Whether a difference is well above those nearby, but for sure cuts among these."""
        largest = found / self.what.times - CALM
        nearby = [n for n in range(frame - NEAR, frame + NEAR + 1) if n != frame and self.has(n)]
        if not nearby:  # two frames are all there is
            return found >= self.what.sure / 2
        return not any(
            self.plain(n - 1, n) > largest and largest < self.between(n - 1, n) < self.what.sure
            for n in nearby
        )

    def is_flash(self, frame: int, found: float) -> bool:
        """Whether the picture before comes back a little later, or was there a little earlier."""
        before = [(frame - 1 - n, frame) for n in (1, 2)]
        after = [(frame - 1, frame + n) for n in (1, 2)]
        around = [(a, b) for a, b in before + after if a in self.copies and b in self.copies]
        return any(self.between(a, b) < 0.4 * found for a, b in around)

    def has(self, frame: int) -> bool:
        return frame in self.copies and frame - 1 in self.copies

    def plain(self, a: int, b: int) -> float:
        """The difference of two frames with nothing looked for; never below `between`."""
        return (self.copies[a] - self.copies[b]).abs().mean().item()

    def between(self, a: int, b: int) -> float:
        """What of two frames is not explained by motion, in grey levels."""
        if (a, b) not in self.known:
            one, other = self.copies[a], self.copies[b]
            self.known[a, b] = (residual(one, other) + residual(other, one)) / 2
        return self.known[a, b]


def small_copy(frame: Tensor) -> Tensor:
    """uint8 (h, w, 3) -> float (3, ROWS, COLUMNS), in grey levels."""
    pixels = rearrange(frame, "h w c -> 1 c h w").float()
    return F.interpolate(pixels, size=(ROWS, COLUMNS), mode="area")[0]


def residual(one: Tensor, other: Tensor) -> float:
    """How far the blocks of one small copy are from the most similar ones in the other."""
    around = F.pad(other, (REACH,) * 4, value=torch.inf)
    shifted = around.unfold(1, ROWS, 1).unfold(2, COLUMNS, 1)  # (c, y, x, rows, columns)
    apart = reduce((shifted - one[:, None, None]).abs(), "c y x h w -> (y x) h w", "mean")
    blocks = reduce(apart, "s (h a) (w b) -> s h w", "mean", a=BLOCK, b=BLOCK)
    return blocks.amin(0).mean().item()


def seam_is_cut(last: Tensor, first: Tensor, sensitivity: float) -> bool:
    """Whether a clip that is played in a loop, frames (h, w, 3), jumps at its seam."""
    what = thresholds(sensitivity)
    if what is None:
        return False
    one, other = small_copy(last), small_copy(first)
    return (residual(one, other) + residual(other, one)) / 2 >= what.sure
