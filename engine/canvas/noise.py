"""Noise that belongs to a frame, whatever window or batch the frame is made in.

A long video is sampled in windows, resumed after a crash and edited shot by shot; a frame must meet
the same noise every time. So each latent frame of each video in a batch has a stream of its own,
found by the key (seed, video, frame), and nothing is drawn in sequence from one frame to another.

torch's CPU generator would not do: it looks at the lower 32 bits of its seed only, and its normal
numbers differ with the vector instructions of the machine. numpy's Philox takes a key of 128 bits,
its bits are fixed for good, and the ziggurat method behind `standard_normal` compares and
multiplies, which is the same everywhere; a test pins the numbers.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ...models.errors import InputError

_WORD = 2**32
_IN_FRONT = -(2**30)  # where frames are counted from that are no part of a video
_FAR = 2**128  # blocks of numbers between two draws of a frame


def check_seed(seed: int) -> int:
    """The seed itself. Raises InputError outside 0 … 2⁶⁴ - 1."""
    if not 0 <= seed < 2**64:
        raise InputError(f"seed {seed}: it must be from 0 to {2**64 - 1}.")
    return seed


def frame_noise(
    seed: int, frame: int, shape: tuple[int, ...], video: int = 0, draw: int = 0
) -> Tensor:
    """The noise of one latent frame.

    Args:
        seed: 0 … 2⁶⁴ - 1; every one of them gives other noise.
        frame: number of the latent frame in the whole video, not in a window. May be negative,
            for frames that were put in front of a video later; -2³¹ … 2³¹ - 1.
        shape: (c, h, w), or any other.
        video: position in the batch.
        draw: 0 is what sampling begins with; 1 and on what samplers add on the way.

    Returns:
        `shape` float32 on the CPU, drawn from the normal distribution.
    """
    key = (check_seed(seed), video * _WORD + frame % _WORD)
    stream = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=draw * _FAR)
    numbers = np.random.Generator(stream).standard_normal(shape)
    return torch.from_numpy(numbers.astype(np.float32))


@dataclass(frozen=True)
class WindowNoise:
    """The noise of a window of a video, at first and on the way.

    Attributes:
        frames: the seed and the number of each latent frame, see `frame_noise`.
        shape: (c, h, w) of a latent frame.
        videos: how many; video 0 is the same however many there are.
    """

    frames: Sequence[tuple[int, int]]
    shape: tuple[int, int, int]
    videos: int = 1

    def led_by(self, frames: int) -> "WindowNoise":
        """With so many frames in front that are no part of the video: the same for each window."""
        seed = self.frames[0][0]
        front = [(seed, _IN_FRONT + k) for k in range(frames)]
        return replace(self, frames=[*front, *self.frames])

    def drawn(self, draw: int = 0, check: Callable[[], object] = lambda: None) -> Tensor:
        """(b, c, t, h, w) float32 on the CPU.

        Args:
            draw: as in `frame_noise`.
            check: called for each frame; an exception from it ends the drawing.
        """
        c, h, w = self.shape
        out = torch.empty(self.videos, c, len(self.frames), h, w)
        for video, (k, frame) in product(range(self.videos), enumerate(self.frames)):
            check()
            out[video, :, k] = frame_noise(*frame, self.shape, video, draw)
        return out


def video_noise(
    seed: int, frames: Iterable[int], shape: tuple[int, int, int], videos: int = 1
) -> Tensor:
    """The noise of these latent frames of the first `videos` videos of a batch.

    Args:
        seed: 0 … 2⁶⁴ - 1.
        frames: absolute numbers of the latent frames: range(t) for a whole video, or
            range(start, stop) for a window of it.
        shape: (c, h, w) of a latent frame.
        videos: how many videos; video 0 is the same however many there are.

    Returns:
        (b, c, t, h, w) float32 on the CPU.
    """
    return WindowNoise([(seed, frame) for frame in frames], shape, videos).drawn()
