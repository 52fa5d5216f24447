"""Frames of decoders that remember nothing: a video in pieces that overlap.

A causal decoder goes on from one piece to the next as if they were one, see `stream`. Any other is
given each piece with some latent frames around it; where two pieces meet, one goes over into the
other, and how far apart they were there is measured.

Pixels are numbers in [-1, 1] or bytes: what is held of them takes a quarter in bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..canvas.grid import BlockGrid, Grid

DecodeClip = Callable[[Tensor], Iterable[Tensor]]
"""(1, c, t, h, w) latents of a clip -> its pixels, (1, 3, f, h, w), a few frames at a time."""


class Context(NamedTuple):
    """What a piece is decoded with.

    Attributes:
        before, after: latent frames around it.
        meeting: pixel frames over which one piece goes over into the next.
    """

    before: int
    after: int
    meeting: int


@dataclass
class Seams:
    """How far apart two pieces were where they met.

    Attributes:
        count: of the places.
        mean, most: difference of a pixel, of 255.
    """

    count: int = 0
    mean: float = 0.0
    most: float = 0.0
    numbers: int = 0  # that `mean` is of

    def met(self, one: Tensor, other: Tensor, first: bool = True) -> None:
        """Two pieces' pixels of the same frames, the first of their seam or further ones."""
        scale = 127.5 if one.is_floating_point() else 1
        apart = (one.float() - other.float()).abs_().mul_(scale)  # in place: they may be large
        numbers, self.numbers = self.numbers, self.numbers + apart.numel()
        self.mean = (self.mean * numbers + apart.sum().item()) / self.numbers
        self.most = max(self.most, apart.max().item())
        self.count += first

    @property
    def apart(self) -> str:
        """In words."""
        return f"{self.mean:.2g} of 255 on average, {self.most:.2g} at most"

    def __str__(self) -> str:
        return f"decoded in {self.count + 1} pieces; where they meet they differ by {self.apart}"


@dataclass(frozen=True)
class Kept:
    """Pixel frames that the piece before made, and that go over into those of the next.

    Attributes:
        pixels: (1, 3, n, h, w).
        start: the number of the first one in the video.
    """

    pixels: Tensor
    start: int

    def into(self, pixels: Tensor, start: int, seams: Seams) -> Tensor:
        """The next piece's frames from number `start` on, the first of them mixed with these."""
        n, skip = self.pixels.shape[2], start - self.start
        both = min(n - skip, pixels.shape[2])
        if both <= 0:
            return pixels
        mine, other = self.pixels[:, :, skip : skip + both], pixels[:, :, :both]
        seams.met(mine, other, first=not skip)
        weight = torch.arange(skip + 1, skip + both + 1).view(-1, 1, 1).to(pixels.device) / (n + 1)
        mixed = torch.lerp(mine.float(), other.float(), weight)
        if not pixels.is_floating_point():
            mixed = mixed.round_()
        return torch.cat((mixed.to(pixels.dtype), pixels[:, :, both:]), dim=2)


def overlapped(
    decode: DecodeClip,
    grid: Grid,
    latents: Iterable[Tensor],
    total: int,
    context: Context,
    seams: Seams,
) -> Iterator[Tensor]:
    """Decode a video that comes in pieces.

    Memory holds the latents of a piece and its context, and what `decode` gives at a time.

    Args:
        decode: see DecodeClip.
        grid: of the latents.
        latents: (1, c, t, h, w), piece after piece.
        total: how many latent frames they are; what comes after them is not looked at.
        context: of each piece.
        seams: told of each place where two pieces meet.

    Yields:
        (1, 3, f, h, w) pixels, as `decode` makes them.
    """
    first, given, kept, there, spare = 0, 0, None, None, []
    broken: list[Exception] = []
    for piece in until_broken(latents, broken):
        there = piece if there is None else torch.cat((there, piece), dim=2)
        n = there.shape[2]
        last = first + n >= total
        count = n if last else grid.latent_frames(grid.whole(grid.frames(n)))
        end = grid.first_frame(first + count - (0 if last else context.after))
        target = end if last else end - context.meeting
        if target <= given:
            continue
        begun, fresh, spare = given, [], []
        decoded = placed(decode(there[:, :, :count]), grid.begins(first), begun)
        for start, pixels in cut_where_it_ends(kept, decoded):
            sure, held = max(0, target - start), max(0, end - start)
            if held < pixels.shape[2]:
                spare.append(pixels[:, :, held:].clone())  # a view would keep the whole piece
            mixed = pixels[:, :, :held]
            mixed = mixed if kept is None else kept.into(mixed, start, seams)
            if mixed[:, :, :sure].shape[2]:
                given += mixed[:, :, :sure].shape[2]
                yield mixed[:, :, :sure]
            if context.meeting and mixed.shape[2] > sure:
                fresh.append(mixed[:, :, sure:].clone())
            del pixels, mixed  # the next piece is decoded before these names are its own
        kept = Kept(torch.cat(fresh, dim=2), given) if fresh else None
        begin = grid.latent_frame_of(given) - context.before
        begin = max(first, grid.shown(range(max(0, begin), max(0, begin) + 1)).start)
        first, there = begin, there[:, :, begin - first :].clone()
    # Latents that end too soon, as of a take that is cancelled: what was decoded of them is shown.
    if kept is not None:
        yield kept.pixels
    yield from spare
    for error in broken:
        raise error


def until_broken(latents: Iterable[Tensor], broken: list[Exception]) -> Iterator[Tensor]:
    """The latents up to an error, which goes into `broken`."""
    try:
        yield from latents
    except Exception as error:  # noqa: BLE001 - raised once what was decoded has been given
        broken.append(error)


def placed(pieces: Iterable[Tensor], at: int, begun: int) -> Iterator[tuple[int, Tensor]]:
    """Pixels from pixel frame `begun` on, each piece with the number of its first frame.

    Args:
        pieces: (1, 3, f, h, w), from frame `at` on.
    """
    for pixels in pieces:
        old = max(0, begun - at)
        start, at = at + old, at + pixels.shape[2]
        if pixels.shape[2] > old:
            yield start, pixels[:, :, old:]


def cut_where_it_ends(
    kept: Kept | None, pieces: Iterable[tuple[int, Tensor]]
) -> Iterator[tuple[int, Tensor]]:
    """Placed pixels, cut behind those that `kept` goes over into: the rest need not be copied."""
    end = 0 if kept is None else kept.start + kept.pixels.shape[2]
    for start, pixels in pieces:
        if 0 < end - start < pixels.shape[2]:
            yield start, pixels[:, :, : end - start]
            yield end, pixels[:, :, end - start :]
        else:
            yield start, pixels


def context_of(grid: Grid) -> Context:
    """What pieces are decoded with on a grid: exact in blocks, a compromise on any other."""
    if isinstance(grid, BlockGrid):
        return Context(grid.block, grid.tail, 0)
    return Context(6, 3, grid.stride_t)
