"""The canvas: latents of which some frames are known and the rest are to be painted.

Text to video, an image set in motion, extension, infill and loops are one operation on it; they
differ in which frames are known.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from .grid import LatentGrid


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
