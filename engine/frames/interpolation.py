"""Frame interpolation: any frame rate to any other, as a stage of a frame stream.

Source frame i is shown at i / source seconds, output frame j at j / target; both are exact
fractions, so that nothing drifts however long the video. Where the times agree, the output is the
source's own frame, to the bit. Elsewhere a network draws it from the two frames around it, but not
across a cut, where the earlier frame is repeated until the later one's time.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ...models.cpu import bands
from ...models.errors import InputError, NotFiniteError
from ..rounding import nearest
from .scene_cut import detect_cuts, seam_is_cut

CHUNK = 8  # frames at most in a chunk of the output
MAX_RATE = 1000  # frames per second


class Inbetween(NamedTuple):
    """A frame to be drawn from two.

    Attributes:
        first, second: the frames before and after it, uint8 (h, w, 3).
        time: between 0 (the first) and 1 (the second).
    """

    first: Tensor
    second: Tensor
    time: float


Draw = Callable[[list[Inbetween]], Tensor]
"""Draws frames: uint8 (frames, h, w, 3) on the CPU."""


@dataclass(frozen=True)
class Timing:
    """The rates to convert between.

    Attributes:
        source, target: frames per second.
        loop: whether the clip is played in a loop, so that the first frame follows the last.
        hold: whether the last frame is shown for its whole time, so that the duration stays.
    """

    source: Fraction
    target: Fraction
    loop: bool = False
    hold: bool = True

    def __post_init__(self):
        for rate in (self.source, self.target):
            if not 0 < rate <= MAX_RATE:
                raise InputError(
                    f"{float(rate):g} frames per second: it must be above 0 and at most {MAX_RATE}."
                )

    def frames(self, sources: int) -> int:
        """How many frames `sources` frames become.

        With `hold` or `loop` as many as last as long, rounded to the nearest. Always at least those
        up to the time of the last source frame, which at less than half the rate may be one more.
        """
        ratio = self.target / self.source
        through = math.floor((sources - 1) * ratio) + 1
        if self.hold or self.loop:
            return max(through, nearest(sources * ratio))
        return through

    def position(self, frame: int) -> Fraction:
        """The time of an output frame, counted in source frames."""
        return frame * self.source / self.target


@dataclass
class Tally:
    """Counts of what was done, complete once the stream has ended.

    Attributes:
        sources: frames that came in.
        frames: frames that went out.
        drawn: of these, by the network.
        cuts: found in the source.
    """

    sources: int = 0
    frames: int = 0
    drawn: int = 0
    cuts: int = 0


def convert_rate(
    chunks: Iterable[Tensor],
    timing: Timing,
    draw: Draw,
    *,
    sensitivity: float = 0.5,
    batch: int = 1,
    tally: Tally | None = None,
) -> Iterator[Tensor]:
    """A frame stream at another rate. Memory does not grow with its length.

    Args:
        chunks: uint8 (frames, h, w, 3).
        timing: the rates, and how it ends.
        draw: draws the frames that are not in the source.
        sensitivity: of cut detection, 0 (off) to 1; see `scene_cut.thresholds`.
        batch: the most frames to give to `draw` at once.
        tally: updated as the stream is consumed.
    """
    tally = Tally() if tally is None else tally
    plan = _planned(chunks, timing, sensitivity, tally)
    ready: list[Tensor | Inbetween] = []
    for item in plan:
        ready.append(item)
        tally.frames += 1
        tally.drawn += isinstance(item, Inbetween)
        if len(ready) == CHUNK or sum(isinstance(item, Inbetween) for item in ready) == batch:
            yield _rendered(ready, draw)
            ready = []
    if ready:
        yield _rendered(ready, draw)


def _planned(
    chunks: Iterable[Tensor], timing: Timing, sensitivity: float, tally: Tally
) -> Iterator[Tensor | Inbetween]:
    """The output frame by frame: one of the source, or what to draw."""
    frames = _one_by_one(chunks)
    first = last = None
    done = 0  # output frames so far
    for frame, cut in detect_cuts(frames, sensitivity):
        if last is None:
            first = frame
        else:
            tally.cuts += cut
            while timing.position(done) < tally.sources:
                yield _frame_at(timing.position(done) - (tally.sources - 1), last, frame, cut)
                done += 1
        last = frame
        tally.sources += 1
    if last is None:
        return
    cut = not timing.loop or seam_is_cut(last, first, sensitivity)
    tally.cuts += timing.loop and cut
    while done < timing.frames(tally.sources):
        yield _frame_at(timing.position(done) - (tally.sources - 1), last, first, cut)
        done += 1


def _one_by_one(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        for frame in chunk:
            bands.look()  # of a large one a small copy takes a second
            yield frame


def _frame_at(time: Fraction, first: Tensor, second: Tensor, cut: bool) -> Tensor | Inbetween:
    """The frame at a time from 0 (the first of two) to just below 1 (the second)."""
    if time == 0 or cut or torch.equal(first, second):
        return first
    return Inbetween(first, second, float(time))


def _rendered(items: list[Tensor | Inbetween], draw: Draw) -> Tensor:
    """A chunk of frames, with the inbetweens among them drawn."""
    to_draw = [item for item in items if isinstance(item, Inbetween)]
    drawn = iter(draw(to_draw) if to_draw else ())
    return torch.stack([next(drawn) if isinstance(item, Inbetween) else item for item in items])


@dataclass(frozen=True)
class TiledInterpolator:
    """Draw with a network: pads frames, cuts large ones into tiles, and rounds to bytes.

    Attributes:
        network: (b, 2, 3, h, w) in [0, 1] and times (b,) -> (b, 3, h, w), on `device`.
        multiple: of the heights and widths that it takes.
        device: that it is on.
        tile: longest side of a tile in pixels; None: whole frames.
        overlap: of neighbouring tiles in pixels, over which they are blended.
    """

    network: Callable[[Tensor, Tensor], Tensor]
    multiple: int
    device: torch.device | str = "cpu"
    tile: int | None = None
    overlap: int = 128

    def __call__(self, items: list[Inbetween]) -> Tensor:
        pairs = rearrange(self.sent(items), "b s h w c -> b s c h w")
        pairs = bands.by_rows(lambda rows: rows.float().div_(255), pairs)
        times = torch.tensor([item.time for item in items], device=self.device)
        drawn = self.whole(pairs, times) if self.tile is None else self.tiled(pairs, times)
        if not bands.all_finite(drawn):
            raise NotFiniteError(
                "the interpolation network gave NaN or infinite pixels: its weights are damaged, "
                "or its dtype overflows; choose fp32."
            )
        return bands.by_rows(_levels, rearrange(drawn, "b c h w -> b h w c"), axis=1).cpu()

    def sent(self, items: list[Inbetween]) -> Tensor:
        """Both sources of each on the device, (b, 2, h, w, 3); one of several goes there once."""
        sources = {id(frame): frame for item in items for frame in (item.first, item.second)}
        there = dict(zip(sources, torch.stack([*sources.values()]).to(self.device), strict=True))
        return torch.stack(
            [torch.stack((there[id(item.first)], there[id(item.second)])) for item in items]
        )

    def whole(self, pairs: Tensor, times: Tensor) -> Tensor:
        """Without tiles. pairs: (b, 2, 3, h, w) of any size -> (b, 3, h, w)."""
        b, _, _, h, w = pairs.shape
        right, below = -w % self.multiple, -h % self.multiple
        if right or below:  # with the border, not black, which would seem to move in
            flat = rearrange(pairs, "b s c h w -> (b s) c h w")
            padded = F.pad(flat, (0, right, 0, below), mode="replicate")
            pairs = rearrange(padded, "(b s) c h w -> b s c h w", b=b)
        return self.network(pairs, times)[..., :h, :w]

    def tiled(self, pairs: Tensor, times: Tensor) -> Tensor:
        """The same from tiles, one at a time, blended where they overlap."""
        b, _, c, h, w = pairs.shape
        total, weights = pairs.new_zeros(b, c, h, w), pairs.new_zeros(h, w)
        for y in tile_spans(h, self.tile, self.overlap):
            for x in tile_spans(w, self.tile, self.overlap):
                down, across = (
                    blend_weights(*where, self.overlap, pairs.device) for where in ((y, h), (x, w))
                )
                weight = (down[:, None] * across).to(pairs)
                total[..., y, x] += weight * self.whole(pairs[..., y, x], times)
                weights[y, x] += weight
        return bands.by_rows(torch.div, total, weights)


def _levels(pictures: Tensor) -> Tensor:
    """(b, h, w, c) in [0, 1] -> uint8."""
    return pictures.mul(255).round_().clamp_(0, 255).to(torch.uint8).contiguous()


def tile_spans(length: int, tile: int, overlap: int) -> list[slice]:
    """Equal spans of at most `tile` that cover `length`, each overlapping the next by `overlap` or
    more."""
    if length <= tile:
        return [slice(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(n * (length - tile) / (count - 1)) for n in range(count)]
    return [slice(start, start + tile) for start in starts]


def blend_weights(
    span: slice, length: int, overlap: int, device: torch.device | None = None
) -> Tensor:
    """Weights (n,) of a span: rising over its first `overlap` and falling over its last, except
    at the ends of `length`."""
    at = torch.arange(span.start, span.stop, device=device)
    level = torch.ones(len(at), device=device)
    up = (at - span.start + 1) / (overlap + 1) if span.start else level
    down = (span.stop - at) / (overlap + 1) if span.stop < length else level
    return torch.minimum(up, down).clamp(max=1)


def target_rate(source: Fraction, fps: Fraction | None, multiplier: float) -> Fraction:
    """The rate to convert to: `fps`, or if that is None `multiplier` times the source's."""
    if fps is not None:
        return fps
    return source * Fraction(multiplier).limit_denominator(1000)
