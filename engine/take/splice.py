"""Clips' frames into one stream: cut to length, or dissolved one into the next."""

from collections.abc import Generator, Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

from .layout import Take


def spliced(take: Take, streams: Iterable[Iterable[Tensor]]) -> Iterator[Tensor]:
    """One frame stream from those of a take's clips.

    Args:
        take: the plan.
        streams: of each clip in order, chunks of uint8 (frames, h, w, 3), at least as many frames
            as the clip shows. A stream that ends sooner ends the whole.

    Yields:
        Chunks. Only the frames under a dissolve are delayed.
    """
    tail: Tensor | None = None
    for i, (clip, stream) in enumerate(zip(take.clips, streams, strict=False)):
        delay = take.clips[i + 1].dissolve if i + 1 < len(take.clips) else 0
        shown = _first(stream, clip.frames)
        if clip.dissolve and tail is not None:
            shown = _dissolved(tail, shown)
        tail, frames = yield from _delayed(shown, delay)
        if frames < clip.frames:
            break
    if tail is not None and len(tail):
        yield tail  # the end came in sight of a dissolve


def _first(stream: Iterable[Tensor], frames: int) -> Iterator[Tensor]:
    """The first `frames` frames. The stream is not asked for more than it takes to give them."""
    for chunk in stream:
        chunk = chunk[:frames]
        frames -= len(chunk)
        yield chunk
        if not frames:
            return


def _delayed(stream: Iterable[Tensor], delay: int) -> Generator[Tensor, None, tuple]:
    """All but the last `delay` frames; returns those, and how many frames there were."""
    kept, frames = None, 0
    for chunk in stream:
        frames += len(chunk)
        kept = chunk if kept is None else torch.cat((kept, chunk))
        free = len(kept) - delay
        if free > 0:
            yield kept[:free]
            kept = kept[free:].clone()  # a view would keep the whole chunk
    return kept, frames


def _dissolved(before: Tensor, stream: Iterable[Tensor]) -> Iterator[Tensor]:
    """The stream, its first frames mixed with those `before`: (n, h, w, 3)."""
    at, n = 0, len(before)
    for chunk in stream:
        mixed = min(len(chunk), n - at)
        if mixed > 0:
            both = (mix(before[at + i], chunk[i], at + i + 1, n + 1) for i in range(mixed))
            yield torch.stack(list(chain(both, chunk[mixed:])))
        else:
            yield chunk
        at += len(chunk)


def mix(a: Tensor, b: Tensor, part: int, whole: int) -> Tensor:
    """part / whole of b and the rest of a, uint8, rounded half up."""
    mixed = a.int() * (whole - part) + b.int() * part
    return ((2 * mixed + whole) // (2 * whole)).to(torch.uint8)
