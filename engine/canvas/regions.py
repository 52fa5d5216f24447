"""Regions: parts of a picture that are sampled, while the rest stays as it is.

Sampling goes by latent cells, which are coarse: a token is sampled where any pixel of it is. What
is promised is kept afterwards, on pixels: what was there before is laid over the decoded frames
again wherever no region is (`engine.frames.composite`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.cpu import bands
from ...models.errors import InputError, NotFiniteError
from ..edges import Between, faded, grown
from ..levels import as_numbers
from ..rounding import nearest
from .codec import Codec
from .grid import Grid
from .picture import SAME_SHAPE, fitted

AT_A_TIME = 2**24  # pixels of masks
DecodeLatents = Callable[[Tensor], Iterator[Tensor]]
"""Latents (1, c, t, h, w) -> a frame stream."""


class Backdrop(Protocol):
    """What is seen outside of the regions of a video, at its size and rate."""

    def frames(self, decode: DecodeLatents) -> Iterator[Tensor]:
        """A frame stream from the video's first frame on; after its end the last frame goes on."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Frames in memory.

    Attributes:
        pictures: (n, h, w, 3) uint8.
        order: which of them each frame shows; empty for one after the other.
    """

    pictures: Tensor
    order: tuple[int, ...] = ()

    @property
    def still(self) -> bool:
        return len({*self.order}) == 1 if self.order else len(self.pictures) == 1

    def frames(self, decode: DecodeLatents) -> Iterator[Tensor]:
        for k in self.order or range(len(self.pictures)):
            yield self.pictures[k : k + 1]


@dataclass(frozen=True, eq=False)
class Latents:
    """Frames that are decoded when they are asked for; latents (1, c, t, h, w)."""

    latents: Tensor

    def frames(self, decode: DecodeLatents) -> Iterator[Tensor]:
        yield from decode(self.latents)


@dataclass(frozen=True, eq=False)
class Widened:
    """A backdrop in the middle of a larger picture, its edges going on outside.

    Attributes:
        inner: the smaller one.
        margins: pixels at the left, top, right and bottom.
    """

    inner: Backdrop
    margins: tuple[int, int, int, int]

    def frames(self, decode: DecodeLatents) -> Iterator[Tensor]:
        left, top, right, bottom = self.margins
        for chunk in self.inner.frames(decode):
            n, h, w, c = chunk.shape
            wide = chunk.new_empty(n, top + h + bottom, left + w + right, c)
            bands.fill(wide[:, top : top + h, left : left + w], chunk, axis=1)
            wide[:, :top, left : left + w] = chunk[:, :1]
            wide[:, top + h :, left : left + w] = chunk[:, -1:]
            wide[:, :, :left] = wide[:, :, left : left + 1].clone()
            wide[:, :, left + w :] = wide[:, :, left + w - 1 : left + w].clone()
            yield wide


@dataclass(frozen=True, eq=False)
class Later:
    """A backdrop from frame `first` on."""

    inner: Backdrop
    first: int

    def frames(self, decode: DecodeLatents) -> Iterator[Tensor]:
        left = self.first
        for chunk in self.inner.frames(decode):
            if left < len(chunk):
                yield chunk[left:]
            left = max(0, left - len(chunk))


@dataclass(frozen=True, eq=False)
class Area:
    """A region.

    Attributes:
        alpha: (n, h, w) uint8, 255 where what is sampled is seen, 0 where the backdrop is; one for
            all frames, or one for each of the video.
        span: the pixel frames in which it is.
    """

    alpha: Tensor
    span: range

    def at(self, frames: range) -> Tensor:
        """(n, h, w) uint8 of some pixel frames."""
        last = len(self.alpha) - 1
        shown = self.alpha[[min(k, last) for k in frames]]
        inside = torch.tensor([k in self.span for k in frames], dtype=torch.uint8)
        return shown * inside[:, None, None]

    def always(self, frames: int) -> "Area":
        """The same in a video of so many frames, in all of them."""
        return replace(self, span=range(frames))

    def later(self, first: int) -> "Area":
        """As it is in the video from frame `first` on."""
        alpha = self.alpha if len(self.alpha) == 1 else self.alpha[first:]
        span = range(max(0, self.span.start - first), max(0, self.span.stop - first))
        return Area(alpha, span)

    def widened(self, margins: tuple[int, int, int, int]) -> "Area":
        left, top, right, bottom = margins
        return replace(self, alpha=F.pad(self.alpha, (left, right, top, bottom)))


@dataclass(frozen=True, eq=False)
class KeptPixels:
    """What a video keeps of the one that it was made of, and where.

    Attributes:
        backdrop: the pixels that are kept.
        areas: the regions, in which they are not.
        frames: pixel frames of the video.
        codec: makes latents of them; None where nobody has named a VAE.
    """

    backdrop: Backdrop
    areas: tuple[Area, ...]
    frames: int
    codec: Codec | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        h, w = self.areas[0].alpha.shape[1:]
        return h, w

    @property
    def still(self) -> bool:
        """Whether it is one picture with regions that stay where they are."""
        one = all(len(area.alpha) == 1 for area in self.areas)
        return one and getattr(self.backdrop, "still", False)

    @property
    def in_pixels(self) -> bool:
        """Whether its pixels are there without a decoder."""
        backdrop = self.backdrop
        while isinstance(backdrop, Widened | Later):
            backdrop = backdrop.inner
        return not isinstance(backdrop, Latents)

    def part(self, first: int, frames: int) -> "KeptPixels | None":
        """Of the video's frames from `first` on, so many at most; None past its end."""
        there = min(frames, self.frames - first)
        if there <= 0:
            return None
        backdrop = self.backdrop if self.still else Later(self.backdrop, first)
        areas = tuple(area.later(first) for area in self.areas)
        return KeptPixels(backdrop, areas, there, self.codec)

    def alpha(self, frames: range) -> Tensor:
        """(n, h, w) uint8 of all regions together, in some pixel frames."""
        parts = [area.at(frames) for area in self.areas]
        return parts[0] if len(parts) == 1 else torch.stack(parts).amax(0)

    def shown(self, decode: DecodeLatents) -> Iterator[Tensor]:
        """The backdrop, for as many frames as the video has: chunks as they come."""
        left, last = self.frames, None
        for chunk in self.backdrop.frames(decode):
            chunk = chunk[:left]
            left, last = left - len(chunk), chunk[-1:]
            yield chunk
            if not left:
                return
        if last is not None:
            yield from repeat(last, left)

    def cells(self, grid: Grid, latent_frames: int) -> Tensor:
        """(1, 1, t, h, w): 1 for latent cells of tokens that any region touches, else 0."""
        masks = [
            touched(self._over(range(grid.first_frame(k), grid.first_frame(k + 1))), grid)
            for k in range(latent_frames)
        ]
        return torch.stack(masks)[None, None]

    def _over(self, frames: range) -> Tensor:
        """(h, w): the most of some frames."""
        if all(len(area.alpha) == 1 for area in self.areas):
            frames = range(frames.start, frames.stop, max(1, len(frames) - 1))  # only spans differ
        return self.alpha(frames).amax(0)


def touched(alpha: Tensor, grid: Grid) -> Tensor:
    """alpha: (h, w) in pixels -> (h, w) in latent cells, 1 for those of tokens that it touches."""
    tokens = F.max_pool2d((alpha > 0).float()[None], grid.multiple)[0]
    return tokens.repeat_interleave(grid.patch, 0).repeat_interleave(grid.patch, 1)


def drawn_area(
    mask: Tensor,
    size: tuple[int, int],
    span: range,
    frames: int,
    *,
    was: tuple[int, int] | None = None,
    grow: int = 0,
    feather: int = 0,
    invert: bool = False,
    check: Between = lambda: None,
) -> Area:
    """A region from a MASK.

    Args:
        mask: (n, h, w) or (h, w), 1 inside: one for all frames or one for each.
        size: (height, width) of the canvas.
        span: the pixel frames in which it is.
        frames: of the canvas.
        was: (height, width) of the clip before it was brought to the canvas's size.
        grow: pixels that it grows by on all sides; negative: shrinks.
        feather: pixels outside of it over which it fades out.
        invert: all but the mask.
        check: see Between.

    Raises:
        InputError: for a mask of another shape or length, that is empty, or that leaves nothing.
        NotFiniteError: for NaN or infinite numbers.
    """
    mask = checked_mask(mask, size, frames, was)
    pieces = mask.split(max(1, AT_A_TIME // (size[0] * size[1])))
    alpha = torch.cat([_drawn(m, size, grow, feather, invert, check) for m in pieces])
    inside = alpha if len(alpha) == 1 else alpha[span.start : span.stop]
    if not inside.any():
        raise InputError(
            "the mask is empty, so nothing would be sampled: draw in the mask editor, or set "
            "invert."
        )
    if len(span) == frames and alpha.min() == 255:
        raise InputError(
            "the mask covers the whole picture, so nothing would be kept: connect the clip to "
            "Remix instead, or use a smaller mask."
        )
    return Area(alpha, span)


def as_masks(mask: Tensor) -> Tensor:
    """A MASK as (n, h, w). Raises InputError if it is of another shape, or empty."""
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or not mask.numel():
        raise InputError(f"a MASK of shape {tuple(mask.shape)}: need (frames, height, width).")
    return mask


def checked_mask(
    mask: Tensor, size: tuple[int, int], frames: int, was: tuple[int, int] | None = None
) -> Tensor:
    """(n, h, w) of 1 or of `frames` masks; see `drawn_area`."""
    mask = as_masks(mask)
    if not bands.all_finite(mask):
        raise NotFiniteError("the mask holds NaN or infinite numbers: check the node before.")
    if 1 < len(mask) < frames:
        raise InputError(
            f"{len(mask)} masks do not fit a canvas of {frames} frames: connect 1 for all of them, "
            f"or {frames}."
        )
    h, w = mask.shape[1:]
    for height, width in filter(None, (size, was)):
        if abs(w * height / (h * width) - 1) < 2 * SAME_SHAPE:
            return mask[: max(1, frames)]
    raise InputError(
        f"a mask of {w}×{h} does not fit a picture of {size[1]}×{size[0]}: draw it on that "
        f"picture, or scale it with core's ResizeImageMaskNode or ImageScale to its shape."
    )


def _drawn(
    mask: Tensor, size: tuple[int, int], grow: int, feather: int, invert: bool, check: Between
) -> Tensor:
    check()
    pixels = fitted(mask.cpu().float().clamp(0, 1)[..., None], *size, "crop")[..., 0][:, None]
    if invert:
        pixels = 1 - pixels
    larger = grown(pixels if grow >= 0 else 1 - pixels, abs(grow), check)
    pixels = larger if grow >= 0 else 1 - larger
    return faded(pixels, feather, check)[:, 0].mul(255).round().to(torch.uint8)


def border_area(
    size: tuple[int, int],
    margins: tuple[int, int, int, int],
    feather: int,
    frames: int,
    check: Between = lambda: None,
) -> Area:
    """The region around a picture that was widened; it fades out inside of the picture.

    Args:
        size: (height, width) of the whole. margins: as in Widened. check: see Between.
    """
    height, width = size
    left, top, right, bottom = margins
    pixels = torch.ones(1, 1, height, width)
    pixels[..., top : height - bottom, left : width - right] = 0
    alpha = faded(pixels, feather, check)[:, 0].mul(255).round().to(torch.uint8)
    if alpha.min() > 0:
        raise InputError(
            f"a feather of {feather} pixels leaves nothing of a picture of "
            f"{width - left - right}×{height - top - bottom} as it is: choose a smaller one."
        )
    return Area(alpha, range(frames))


def margins_of(
    size: tuple[int, int],
    grid: Grid,
    margins: tuple[int, int, int, int],
    ratio: Fraction | None = None,
) -> tuple[int, int, int, int]:
    """Pixels to add at the left, top, right and bottom, so that the whole is on the grid.

    Args:
        size: (height, width) of the picture.
        margins: that are asked for at least.
        ratio: of width to height, which is reached by as much on both sides; None: any.

    Raises:
        InputError: where nothing would be added.
    """
    left, top, right, bottom = margins
    height, width = size[0] + top + bottom, size[1] + left + right
    more_w = max(0, nearest(height * ratio) - width) if ratio is not None else 0
    more_h = max(0, nearest(width / ratio) - height) if ratio is not None and not more_w else 0
    more_w += -(width + more_w) % grid.multiple
    more_h += -(height + more_h) % grid.multiple
    left, right = _grown_by(left, right, more_w, both=ratio is not None)
    top, bottom = _grown_by(top, bottom, more_h, both=ratio is not None)
    if not left + top + right + bottom:
        raise InputError(
            f"nothing is added to a picture of {size[1]}×{size[0]}: set left, top, right or "
            f"bottom to some pixels, or choose another aspect."
        )
    return left, top, right, bottom


def _grown_by(before: int, after: int, more: int, both: bool) -> tuple[int, int]:
    """Two margins with more pixels: as many on both sides, or on a side that grows anyway."""
    if both:
        return before + more // 2, after + more - more // 2
    return (before + more, after) if before and not after else (before, after + more)


def held(pixels: Sequence[int], frames: int) -> tuple[int, ...]:
    """For each frame the place, in sorted `pixels`, of the nearest frame whose pixels are known."""
    known = sorted(pixels)
    return tuple(
        min(range(len(known)), key=lambda n, k=k: abs(known[n] - k)) for k in range(frames)
    )


def first_frames(chunks: Iterator[Tensor], frames: int) -> Tensor:
    """(frames, h, w, 3) in [0, 1] of a frame stream that is as long or longer."""
    return as_numbers(torch.cat(list(chunks))[:frames])
