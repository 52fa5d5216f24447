"""Scene cut detection: where one shot ends and the next begins.

Within a shot things move; across a cut the whole picture changes. So each block of a small copy of
a frame is searched for in the next frame (block matching), and the residual that motion does not
explain is the difference of the two: 0 to 5 grey levels of 255 for ordinary motion, 15 and more
across a cut, and in between where two shots show the same place. In that range a difference is a
cut if it stands well above those nearby. After a flash the earlier picture comes back; after a cut
it does not.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError

ROWS, COLUMNS, BLOCK = 24, 32, 4  # pixels of a small copy, and of its blocks
REACH = 6  # of the search, in pixels of a small copy: a fifth of the width, a quarter of the height
NEAR = 3  # differences on either side that a cut must stand out from; enough for tripled frames
MARGIN = 0.5  # grey levels that a cut must stand out by, beside `times`


@dataclass(frozen=True)
class Thresholds:
    """Differences, in grey levels of 255, that are cuts.

    Attributes:
        least: a smaller difference is no cut.
        sure: a larger one is a cut, whatever is nearby.
        times: one in between is a cut if it is so many times those nearby.
    """

    least: float
    sure: float
    times: float


def thresholds(sensitivity: float) -> Thresholds | None:
    """What counts as a cut at a sensitivity from 0 (nothing: None) to 1; 0.5 is the default.

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
    """Each frame, uint8 (h, w, 3), and whether there is a cut between the one before and it.

    Frames are delayed by NEAR + 1, which is also the most that are in memory.
    """
    limits = thresholds(sensitivity)
    if limits is None:
        yield from ((frame, False) for frame in frames)
        return
    detector, delayed, count = _CutDetector(limits), deque(), 0
    for frame in frames:
        detector.add(frame)
        delayed.append(frame)
        if len(delayed) > NEAR + 1:
            yield delayed.popleft(), detector.cut_before(count)
            count += 1
    while delayed:
        yield delayed.popleft(), detector.cut_before(count)
        count += 1


class _CutDetector:
    """Compares small copies of the latest frames, which it knows by their numbers."""

    def __init__(self, limits: Thresholds):
        self.limits = limits
        self.copies: dict[int, Tensor] = {}
        self.residuals: dict[tuple[int, int], float] = {}
        self.count = 0

    def add(self, frame: Tensor) -> None:
        """Take the next frame, uint8 (h, w, 3), and forget those that are no longer compared."""
        self.copies[self.count] = _small_copy(frame)
        self.count += 1
        oldest = self.count - 2 * (NEAR + 2)
        self.copies = {n: copy for n, copy in self.copies.items() if n >= oldest}
        self.residuals = {pair: r for pair, r in self.residuals.items() if pair[0] >= oldest}

    def cut_before(self, frame: int) -> bool:
        """Whether a shot begins with this frame."""
        if frame == 0 or self.difference(frame - 1, frame) < self.limits.least:
            return False
        found = self.residual(frame - 1, frame)
        if found < self.limits.least or self.is_flash(frame, found):
            return False
        return found >= self.limits.sure or self.stands_out(frame, found)

    def stands_out(self, frame: int, found: float) -> bool:
        """Whether a residual is well above those nearby, other than of sure cuts."""
        largest = found / self.limits.times - MARGIN
        nearby = [n for n in range(frame - NEAR, frame + NEAR + 1) if n != frame and self.has(n)]
        if not nearby:  # two frames are all there is
            return found >= self.limits.sure / 2
        return not any(
            self.difference(n - 1, n) > largest
            and largest < self.residual(n - 1, n) < self.limits.sure
            for n in nearby
        )

    def is_flash(self, frame: int, found: float) -> bool:
        """Whether what is before the cut is also shortly after it, or the other way round."""
        before = [(frame - 1 - n, frame) for n in (1, 2)]
        after = [(frame - 1, frame + n) for n in (1, 2)]
        around = [(a, b) for a, b in before + after if a in self.copies and b in self.copies]
        return any(self.residual(a, b) < 0.4 * found for a, b in around)

    def has(self, frame: int) -> bool:
        return frame in self.copies and frame - 1 in self.copies

    def difference(self, a: int, b: int) -> float:
        """Of two frames in grey levels, motion included; never below `residual`, and quicker."""
        return (self.copies[a] - self.copies[b]).abs().mean().item()

    def residual(self, a: int, b: int) -> float:
        """The difference of two frames that motion does not explain, in grey levels."""
        if (a, b) not in self.residuals:
            self.residuals[a, b] = _residual(self.copies[a], self.copies[b])
        return self.residuals[a, b]


def _small_copy(frame: Tensor) -> Tensor:
    """uint8 (h, w, 3) -> float (3, ROWS, COLUMNS), in grey levels."""
    pixels = rearrange(frame, "h w c -> 1 c h w").float()
    return F.interpolate(pixels, size=(ROWS, COLUMNS), mode="area")[0]


def _residual(one: Tensor, other: Tensor) -> float:
    """How far blocks of two small copies are from their best matches in the other, on average."""
    return (_block_residual(one, other) + _block_residual(other, one)) / 2


def _block_residual(one: Tensor, other: Tensor) -> float:
    """How far the blocks of one small copy are from their best matches in the other."""
    around = F.pad(other, (REACH,) * 4, value=torch.inf)
    shifted = around.unfold(1, ROWS, 1).unfold(2, COLUMNS, 1)  # (c, y, x, rows, columns)
    apart = reduce((shifted - one[:, None, None]).abs(), "c y x h w -> (y x) h w", "mean")
    blocks = reduce(apart, "s (h a) (w b) -> s h w", "mean", a=BLOCK, b=BLOCK)
    return blocks.amin(0).mean().item()


def seam_is_cut(last: Tensor, first: Tensor, sensitivity: float) -> bool:
    """Whether a clip that is played in a loop jumps at its seam; frames: uint8 (h, w, 3)."""
    limits = thresholds(sensitivity)
    return limits is not None and _residual(_small_copy(last), _small_copy(first)) >= limits.sure
