"""What is seen around the regions of a canvas, for windows that ask for it one after the other."""

from collections.abc import Collection, Iterator
from itertools import count

import torch
from torch import Tensor

from ...models.cpu.bands import bands
from .grid import Grid
from .regions import KeptPixels, touched


class Surroundings:
    """The pixels around regions, read once where windows follow one another.

    Args:
        kept: of which no pixel must be decoded.
    """

    def __init__(self, kept: KeptPixels):
        self._kept = kept
        self._stream: Iterator[Tensor] = iter(())
        self._read = range(0)  # the frames that are at hand
        self._pictures: list[Tensor] = []

    def regions(self, frames: range) -> Tensor:
        """(n, height, width) bool: where the pixels of some frames are not kept."""
        inside = torch.ones(len(frames), *self._kept.size, dtype=torch.bool)
        there = range(frames.start, min(frames.stop, self._kept.frames))
        if there:
            inside[: len(there)] = self._kept.alpha(there) > 0
        return inside

    def cells(self, grid: Grid, latent_frames: range) -> Tensor:
        """(1, 1, t, h, w) bool: the latent cells that regions touch."""
        spans = [range(grid.first_frame(k), grid.first_frame(k + 1)) for k in latent_frames]
        touching = [touched(self.regions(span).amax(0), grid) for span in spans]
        return torch.stack(touching)[None, None] > 0

    def laid_on(self, pictures: Tensor, frames: range, but: Collection[int]) -> None:
        """Write what is kept of some frames on (n, height, width, 3), in [0, 1].

        Args:
            but: frames of which another picture is known.
        """
        inside = self.regions(frames)
        for n, frame in zip(count(), frames, strict=False):
            if frame < self._kept.frames and frame not in but:
                seen = self._picture(frame, frames.start)
                for out, keep, part in bands(pictures[n], inside[n][..., None], seen, axis=0):
                    torch.where(keep, out, part.float() / 255, out=out)

    def _picture(self, frame: int, earliest: int) -> Tensor:
        """(height, width, 3) uint8 of a frame; those before `earliest` are let go."""
        if frame < self._read.start or not self._read:
            self._stream, self._read, self._pictures = self._frames(), range(0), []
        while frame >= self._read.stop:
            self._pictures.append(next(self._stream))
            self._read = range(self._read.start, self._read.stop + 1)
            while self._read.start < min(earliest, self._read.stop - 1):
                self._pictures.pop(0)
                self._read = range(self._read.start + 1, self._read.stop)
        return self._pictures[frame - self._read.start]

    def _frames(self) -> Iterator[Tensor]:
        for chunk in self._kept.shown(lambda latents: iter(())):
            yield from chunk
