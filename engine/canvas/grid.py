"""From seconds and pixels to the latent grid and back: plain arithmetic, no tensors."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction

from ...models.errors import FrameCountError, InputError, SizeError
from ..rounding import nearest

MAX_VALUES = 2**32  # of a LATENT, 16 GiB: an hour of 720p at 24 frames a second fits


@dataclass(frozen=True)
class Grid(ABC):
    """How a VAE packs pixels into latents, and how the transformer packs latents into tokens.

    In space all are alike; in time each kind of VAE has a rule of its own, which a subclass is.
    Nothing but these classes knows the rule.

    Attributes:
        channels: of a latent frame.
        stride_t: the most pixel frames that one latent frame holds.
        stride_hw: pixels along each side of a latent cell.
        patch: latent cells along each side of a token.
    """

    channels: int
    stride_t: int = 4
    stride_hw: int = 8
    patch: int = 2

    @abstractmethod
    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of `frames` pixel frames. Raises FrameCountError off the grid."""

    @abstractmethod
    def frames(self, latent_frames: int) -> int:
        """Pixel frames that so many latent frames decode to."""

    @abstractmethod
    def first_frame(self, latent_frame: int) -> int:
        """The first pixel frame inside latent frame number `latent_frame`, both from 0."""

    @abstractmethod
    def latent_frame_of(self, frame: int) -> int:
        """The latent frame that holds pixel frame number `frame`, both from 0."""

    @abstractmethod
    def whole(self, frames: float) -> int:
        """The most pixel frames, up to `frames`, that fill whole latent frames; at least one's."""

    @abstractmethod
    def nearest_frames(self, seconds: float, fps: Fraction) -> int:
        """The count on the grid nearest to `seconds` at `fps`; the longer one of two as near.

        Raises:
            InputError: if `seconds` is not a number above 0.
        """

    @abstractmethod
    def nearest_latent_frames(self, seconds: Fraction, fps: Fraction) -> int:
        """Latent frames nearest to a duration somewhere in a video, 1 or more."""

    def nearest_latent_frame(self, frame: int) -> int:
        """The latent frame that begins nearest to pixel frame `frame`; the sooner of two."""
        holds = self.latent_frame_of(frame)
        return min((holds, holds + 1), key=lambda k: abs(self.first_frame(k) - frame))

    @property
    def multiple(self) -> int:
        """Width and height in pixels must be multiples of this."""
        return self.stride_hw * self.patch

    def nearest_size(self, pixels: float) -> int:
        """The width or height on the grid nearest to `pixels`, at least one token."""
        return max(1, nearest(pixels / self.multiple)) * self.multiple

    def check_size(self, width: int, height: int) -> None:
        """Raises SizeError, naming the side and its nearest values, if one is off the grid."""
        for name, pixels in (("width", width), ("height", height)):
            if pixels < self.multiple or pixels % self.multiple:
                raise SizeError(name, pixels, self.multiple)

    def latent_shape(
        self, frames: int, height: int, width: int, batch: int = 1
    ) -> tuple[int, int, int, int, int]:
        """(b, c, t, h, w) of the latents of `batch` clips.

        Raises:
            FrameCountError, SizeError: off the grid.
            InputError: if they would never fit into memory.
        """
        self.check_size(width, height)
        h, w = height // self.stride_hw, width // self.stride_hw
        shape = batch, self.channels, self.latent_frames(frames), h, w
        if (values := math.prod(shape)) > MAX_VALUES:
            raise InputError(
                f"{batch} × {frames} frames of {width}×{height} are {values * 4 / 2**30:.0f} GiB "
                f"of latents; at most {MAX_VALUES * 4 // 2**30} GiB are allowed."
            )
        return shape


class CausalGrid(Grid):
    """The grid of causal video VAEs, Wan's among them: 1 + stride_t·n pixel frames.

    The first pixel frame becomes one latent frame, and every `stride_t` frames after it one more.
    """

    def latent_frames(self, frames: int) -> int:
        if frames < 1 or (frames - 1) % self.stride_t:
            raise FrameCountError(frames, self.stride_t)
        return 1 + (frames - 1) // self.stride_t

    def frames(self, latent_frames: int) -> int:
        if latent_frames < 1:
            raise InputError(f"{latent_frames} latent frames: a video has at least 1.")
        return 1 + (latent_frames - 1) * self.stride_t

    def first_frame(self, latent_frame: int) -> int:
        return 0 if latent_frame == 0 else 1 + (latent_frame - 1) * self.stride_t

    def latent_frame_of(self, frame: int) -> int:
        return (frame + self.stride_t - 1) // self.stride_t

    def whole(self, frames: float) -> int:
        return 1 + max(0, int(frames) - 1) // self.stride_t * self.stride_t

    def nearest_frames(self, seconds: float, fps: Fraction) -> int:
        if not 0 < seconds < math.inf:  # also false for NaN
            raise InputError(f"{seconds} seconds: a duration must be a number above 0.")
        steps = nearest((Fraction(seconds) * fps - 1) / self.stride_t)
        return 1 + max(0, steps) * self.stride_t

    def nearest_latent_frames(self, seconds: Fraction, fps: Fraction) -> int:
        return max(1, round(seconds * fps / self.stride_t))
