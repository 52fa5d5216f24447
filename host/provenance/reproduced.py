"""A video through the VAE that is loaded, and once more."""

from contextlib import closing
from fractions import Fraction
from typing import Any

import comfy.sd
import torch
from torch import Tensor

from ...engine.levels import as_numbers
from ...engine.recognition.reproduction import (
    Reproduction,
    gathered,
    middle_part,
    reproduction,
    starts,
)
from ...models.errors import InputError
from ..comfyui.progress import check_cancelled, with_progress
from ..networks.vae import encode, grid_of
from ..video.footage import open_footage

LATENT_FRAMES = 3  # of a window
ANY_RATE = Fraction(1)


def reproduced(vae: comfy.sd.VAE, video: Any) -> Reproduction:
    """How well a VAE reproduces a VIDEO or IMAGE. A few short pieces of it are in memory.

    Raises:
        InputError: for a VAE of pictures, or frames smaller than a cell of its latents.
    """
    grid = grid_of(vae)
    step = grid.stride_hw * grid.patch
    with open_footage(video, ANY_RATE) as footage:
        if min(footage.height, footage.width) < step:
            raise InputError(f"frames of {footage.width}×{footage.height} are too small for it.")
        window = _window(grid, footage.frames)
        places = starts(footage.frames, window, grid.stride_t)
        begins = {*places[0], *(p + way for p in places[1] for way in places[0])}
        begins = {begin for begin in begins if begin + window <= footage.frames}
        wanted = {begin + n for begin in begins for n in range(window)}
        with closing(with_progress(footage.stream(), footage.frames)) as chunks:
            frames = gathered((middle_part(chunk, step) for chunk in chunks), wanted)
    last = max(begins)

    def window_at(start: int) -> Tensor:
        at = min(start, last)
        return torch.stack([frames[at + n] for n in range(window)])

    return reproduction(window_at, places, lambda pixels: _through(vae, pixels))


def _window(grid: Any, frames: int) -> int:
    """Frames of a window: those of LATENT_FRAMES, or fewer of a video that has no more."""
    fitting = [grid.frames(n) for n in range(1, LATENT_FRAMES + 1)]
    return max((count for count in fitting if count <= frames), default=1)


def _through(vae: comfy.sd.VAE, frames: Tensor) -> Tensor:
    """Encoded, decoded and rounded: uint8 (frames, h, w, 3)."""
    check_cancelled()
    pixels = vae.decode(encode(vae, as_numbers(frames)))
    return pixels.reshape(frames.shape).mul(255).round().clamp(0, 255).to(torch.uint8).cpu()
