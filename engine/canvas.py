"""The canvas: latents of which some frames are known and the rest are to be painted.

Text to video, an image set in motion, extension, infill and loops are one operation on it; they
differ in which frames are known.
"""

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from ..models.errors import InputError
from .size import LatentGrid


@dataclass(frozen=True)
class Canvas:
    """Latents (b, c, t, h, w), of which the frames marked in known: (t,) bool must not change."""

    latents: Tensor
    known: Tensor

    def __post_init__(self):
        if self.latents.ndim != 5:
            raise InputError(
                f"latents of shape {tuple(self.latents.shape)} are not a video: "
                f"need (batch, channels, frames, height, width)."
            )
        if self.known.shape != self.latents.shape[2:3]:
            raise InputError(
                f"{self.latents.shape[2]} latent frames, but {tuple(self.known.shape)} marks "
                f"that say which of them are known: need one for each."
            )

    @classmethod
    def blank(
        cls, grid: LatentGrid, frames: int, height: int, width: int, batch: int = 1
    ) -> "Canvas":
        """An empty canvas for `frames` pixel frames of height × width pixels.

        Raises:
            FrameCountError, SizeError: if they are off the grid, with the nearest that fit.
        """
        latents = torch.zeros(grid.latent_shape(frames, height, width, batch))
        return cls(latents, torch.zeros(latents.shape[2], dtype=torch.bool))

    def pin(self, at: int, latents: Tensor) -> "Canvas":
        """A copy whose latent frames from `at` on are `latents`: (b or 1, c, t', h, w), and known.

        Raises:
            InputError: if they are of another size or reach past either end.
        """
        start, stop = at, at + latents.shape[2]
        if not 0 <= start < stop <= self.latents.shape[2]:
            raise InputError(
                f"latent frames {start} to {stop} are not on a canvas of "
                f"{self.latents.shape[2]}: start at 0 or later, end at that or sooner."
            )
        new, known = self.latents.clone(), self.known.clone()
        b, c, _, h, w = new.shape
        if latents.shape[0] not in (1, b) or (latents.shape[1], *latents.shape[3:]) != (c, h, w):
            raise InputError(
                f"latents of shape {tuple(latents.shape)} do not go on a canvas of "
                f"{tuple(new.shape)}: batch (or 1), channels, height and width must be the same."
            )
        new[:, :, start:stop] = latents.to(new)
        known[start:stop] = True
        return replace(self, latents=new, known=known)

    def keep_known(self, x: Tensor) -> Tensor:
        """x: (b, c, t, h, w) with the known frames put back."""
        known = rearrange(self.known, "t -> t 1 1").to(x.device)
        return torch.where(known, self.latents.to(x), x)
