"""From seconds and pixels to the latent grid and back: plain arithmetic, no tensors."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from ...models.errors import FrameCountError, InputError, SizeError
from ..rounding import nearest

# Latent frames encoded before those that are kept, so that the encoder's memory is what it is in
# the middle of a video. Measured on the built-in VAE, a still in the middle comes back at 16.8 dB
# with none, 26.1 with 1, 28.3 with 2 and 28.2 with 3, where its own round trip gives 28.2.
LEAD = 2
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
        alone: latent frames at a video's beginning that can stand nowhere else.
        left_out: latent frames at a clip's beginning that are not part of a loop of it.
        repeated: those after them, at most, that stand at a loop's end too, so that a decoder
            arrives where it began.
    """

    channels: int
    stride_t: int = 4
    stride_hw: int = 8
    patch: int = 2
    alone: ClassVar[int]
    left_out: ClassVar[int]
    repeated: ClassVar[int]

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
        """Latent frames nearest to the duration of a window somewhere in a video, 1 or more."""

    @abstractmethod
    def added(self, seconds: Fraction, fps: Fraction, before: int, joins: bool) -> int:
        """Latent frames nearest to a duration that is added to a video, 1 or more.

        Args:
            before: how many latent frames stand before them.
            joins: whether another clip, from its beginning on, follows them.
        """

    @abstractmethod
    def enough(self, frames: int) -> int:
        """The fewest latent frames of a clip of `frames` pixel frames or more."""

    @abstractmethod
    def as_clip(self, latent_frames: int) -> int:
        """The number of latent frames nearest to this one that are a clip by themselves."""

    @abstractmethod
    def shown(self, latent_frames: range) -> range:
        """The fewest latent frames of a video around some that a model can be shown as a clip."""

    @abstractmethod
    def begins(self, latent_frame: int) -> int:
        """The pixel frame that a clip cut off before a latent frame begins with."""

    @abstractmethod
    def to_encode(self, latent_frames: range) -> tuple[range, int]:
        """What to encode for some latent frames of a video.

        Returns:
            Pixel frames of it, maybe before its first or past its last. And how many latent frames
            to drop from the front of what comes out.
        """

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
    """The grid of causal video VAEs, Wan's and LTX's among them: 1 + stride_t·n pixel frames.

    The first pixel frame becomes one latent frame, and every `stride_t` frames after it one more.
    The first latent frame and, after anything else than it, the second look right only there.
    Frames decode to 28 to 32 dB of what they were in the clip after one latent frame of it, and to
    more than 35 after two.
    """

    alone, left_out, repeated = 1, 2, 3

    def latent_frames(self, frames: int) -> int:
        if frames < 1 or (frames - 1) % self.stride_t:
            raise FrameCountError.causal(frames, self.stride_t)
        return 1 + (frames - 1) // self.stride_t

    def frames(self, latent_frames: int) -> int:
        check_some(latent_frames)
        return 1 + (latent_frames - 1) * self.stride_t

    def first_frame(self, latent_frame: int) -> int:
        return 0 if latent_frame == 0 else 1 + (latent_frame - 1) * self.stride_t

    def latent_frame_of(self, frame: int) -> int:
        return (frame + self.stride_t - 1) // self.stride_t

    def whole(self, frames: float) -> int:
        return 1 + max(0, int(frames) - 1) // self.stride_t * self.stride_t

    def nearest_frames(self, seconds: float, fps: Fraction) -> int:
        check_seconds(seconds)
        steps = nearest((Fraction(seconds) * fps - 1) / self.stride_t)
        return 1 + max(0, steps) * self.stride_t

    def nearest_latent_frames(self, seconds: Fraction, fps: Fraction) -> int:
        return max(1, round(seconds * fps / self.stride_t))

    def added(self, seconds: Fraction, fps: Fraction, before: int, joins: bool) -> int:
        return self.nearest_latent_frames(seconds, fps)

    def enough(self, frames: int) -> int:
        return self.latent_frame_of(frames - 1) + 1

    def as_clip(self, latent_frames: int) -> int:
        return latent_frames

    def shown(self, latent_frames: range) -> range:
        return latent_frames

    def begins(self, latent_frame: int) -> int:
        return latent_frame * self.stride_t

    def to_encode(self, latent_frames: range) -> tuple[range, int]:
        lead = 0 if latent_frames.start == 0 else LEAD
        stop = self.first_frame(latent_frames.stop)
        return range(stop - self.frames(len(latent_frames) + lead), stop), lead


@dataclass(frozen=True)
class BlockGrid(Grid):
    """The grid of VAEs that know nothing beyond a block of latent frames, such as MiniMax H3's.

    A block's first latent frame holds one pixel frame, each further one `stride_t`. A clip is so
    many blocks and the first latent frames of one more: by default 5·k + 2 latent frames, 17·k + 5
    pixel frames. One can be cut off before any block, and another put there, to the bit.

    Attributes:
        block: latent frames of a block.
        tail: latent frames after a clip's last block.
    """

    block: int = 5
    tail: int = 2
    alone, left_out = 0, 0

    @property
    def repeated(self) -> int:
        return self.tail

    @property
    def block_frames(self) -> int:
        """Pixel frames of a block."""
        return 1 + (self.block - 1) * self.stride_t

    @property
    def tail_frames(self) -> int:
        """Pixel frames of the latent frames after a clip's last block."""
        return self.first_frame(self.tail)

    def latent_frames(self, frames: int) -> int:
        blocks, rest = divmod(frames - self.tail_frames, self.block_frames)
        if frames == 1:  # a picture
            return 1
        if frames < 1 or rest:
            rule = (
                f"this VAE packs {self.block_frames} frames into blocks of {self.block} latent "
                f"frames, so the count must be {self.tail_frames} + {self.block_frames}·n"
            )
            raise FrameCountError(frames, rule, self.whole(frames), self.block_frames)
        return blocks * self.block + self.tail

    def frames(self, latent_frames: int) -> int:
        check_some(latent_frames)
        return self.first_frame(latent_frames)

    def first_frame(self, latent_frame: int) -> int:
        blocks, rest = divmod(latent_frame, self.block)
        return blocks * self.block_frames + (1 + (rest - 1) * self.stride_t if rest else 0)

    def latent_frame_of(self, frame: int) -> int:
        blocks, rest = divmod(frame, self.block_frames)
        return blocks * self.block + (rest + self.stride_t - 1) // self.stride_t

    def whole(self, frames: float) -> int:
        blocks = (int(frames) - self.tail_frames) // self.block_frames
        return 1 if blocks < 0 else blocks * self.block_frames + self.tail_frames

    def nearest_frames(self, seconds: float, fps: Fraction) -> int:
        check_seconds(seconds)
        blocks = nearest((Fraction(seconds) * fps - self.tail_frames) / self.block_frames)
        return max(0, blocks) * self.block_frames + self.tail_frames

    def nearest_latent_frames(self, seconds: Fraction, fps: Fraction) -> int:
        return self.latent_frames(self.nearest_frames(float(seconds), fps))

    def added(self, seconds: Fraction, fps: Fraction, before: int, joins: bool) -> int:
        past = self.first_frame(before)
        fewest = ((0 if joins else self.tail) - before) % self.block or self.block
        rest = seconds * fps - (self.first_frame(before + fewest) - past)
        return fewest + max(0, nearest(rest / self.block_frames)) * self.block

    def enough(self, frames: int) -> int:
        blocks = -(-max(0, frames - self.tail_frames) // self.block_frames)
        return blocks * self.block + self.tail

    def as_clip(self, latent_frames: int) -> int:
        blocks = nearest(Fraction(latent_frames - self.tail, self.block))
        return max(0, blocks) * self.block + self.tail

    def shown(self, latent_frames: range) -> range:
        start = latent_frames.start // self.block * self.block
        blocks = -(-(latent_frames.stop - start - self.tail) // self.block)
        return range(start, start + max(0, blocks) * self.block + self.tail)

    def begins(self, latent_frame: int) -> int:
        return self.first_frame(latent_frame)

    def to_encode(self, latent_frames: range) -> tuple[range, int]:
        whole = self.shown(latent_frames)
        frames = range(self.first_frame(whole.start), self.first_frame(whole.stop))
        return frames, latent_frames.start - whole.start


def check_some(latent_frames: int) -> None:
    if latent_frames < 1:
        raise InputError(f"{latent_frames} latent frames: a video has at least 1.")


def check_seconds(seconds: float) -> None:
    if not 0 < seconds < math.inf:  # also false for NaN
        raise InputError(f"{seconds} seconds: a duration must be a number above 0.")
