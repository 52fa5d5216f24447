"""Clips' frames and sound into one stream: cut to length, or dissolved one into the next."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..rounding import nearest
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


def spliced_sound(
    take: Take, fps: Fraction, sounds: Sequence[NDArray[np.float32]], rate: int
) -> NDArray[np.float32]:
    """The sound of a take from that of its clips, in step with `spliced`.

    Args:
        take: the plan.
        fps: frames per second.
        sounds: of each clip from its first frame on, (channels, n); maybe of the first ones only.
        rate: samples per second.

    Returns:
        (channels, n).
    """

    def sample(frame: int) -> int:
        return nearest(frame * rate / fps)

    out = np.zeros((len(sounds[0]), sample(take.frames)), np.float32)
    for i, (clip, sound) in enumerate(zip(take.clips, sounds, strict=False)):
        start = sample(clip.start)
        part = sound[:, : sample(clip.start + clip.frames) - start].copy()
        if clip.dissolve:
            ramp(part, 0, sample(clip.start + clip.dissolve) - start, rising=True)
        if i + 1 < len(take.clips) and (under := take.clips[i + 1].dissolve):
            begin = sample(take.clips[i + 1].start) - start
            ramp(part, begin, begin + sample(under), rising=False)
        out[:, start : start + part.shape[1]] += part[:, : out.shape[1] - start]
    return out


def ramp(samples: NDArray[np.float32], start: int, stop: int, *, rising: bool) -> None:
    """Sound from `start` to `stop` grows from nothing, or shrinks to it; after that, silence."""
    weights = np.linspace(0, 1, max(1, stop - start), dtype=np.float32)
    part = samples[:, start:stop]
    part *= (weights if rising else weights[::-1])[: part.shape[1]]
    if not rising:
        samples[:, stop:] = 0
