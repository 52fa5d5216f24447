"""What was there before, laid over frames again wherever no region is: exact to the bit there."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ...models.cpu import bands
from ..canvas.regions import DecodeLatents, KeptPixels


def composited(
    chunks: Iterable[Tensor], kept: KeptPixels | None, decode: DecodeLatents, first: int = 0
) -> Iterator[Tensor]:
    """A frame stream with what is kept of the video it was made of. Frames past it stay as they
    are.

    Args:
        chunks: (n, h, w, 3), uint8 or float in [0, 1].
        kept: None leaves all as it is.
        decode: for a backdrop of latents.
        first: number of the first frame, in the video.
    """
    if kept is None:
        yield from chunks
        return
    backdrop, at = Taken(kept.shown(decode)), first
    backdrop.take(first)
    for chunk in chunks:
        count = max(0, min(len(chunk), kept.frames - at))
        if count:
            alpha = kept.alpha(range(at, at + count))
            laid = over(chunk[:count], backdrop.take(count), alpha)
            chunk = torch.cat((laid, chunk[count:])) if count < len(chunk) else laid
        at += len(chunk)
        yield chunk


def over(frames: Tensor, backdrop: Tensor, alpha: Tensor) -> Tensor:
    """Frames where alpha is 255, the backdrop where it is 0, a mixture between.

    Args:
        frames: (n, h, w, 3), uint8 or float in [0, 1]. backdrop: the same in uint8.
        alpha: (n, h, w) uint8.
    """
    return bands.by_rows(_mixed, frames, backdrop, alpha[..., None], axis=1)


def _mixed(frames: Tensor, backdrop: Tensor, alpha: Tensor) -> Tensor:
    if frames.dtype == torch.uint8:
        mixed = torch.lerp(backdrop.float(), frames.float(), alpha.float() / 255)
        mixed = mixed.round_().to(torch.uint8)
    else:
        backdrop = backdrop.to(frames) / 255
        mixed = torch.lerp(backdrop, frames, alpha.to(frames) / 255)
    return torch.where(alpha == 0, backdrop, torch.where(alpha == 255, frames, mixed))


class Taken:
    """A frame stream that is taken some frames at a time."""

    def __init__(self, chunks: Iterator[Tensor]):
        self._chunks, self._left = chunks, None

    def take(self, count: int) -> Tensor:
        """The next frames, (count, h, w, 3)."""
        parts, missing = [], count
        while missing > 0:
            if self._left is None or not len(self._left):
                self._left = next(self._chunks)
            part, self._left = self._left[:missing], self._left[missing:]
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts) if parts else torch.empty(0)
