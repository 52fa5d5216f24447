"""Seconds, pixel frames and latent frames of one canvas, and where clips and images lie on it.

Pixel frames and latent frames are different grids, see `engine.canvas.grid`. Plain arithmetic, no
tensors.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from ...models.errors import InputError
from ..rounding import nearest
from .grid import Grid

LONGEST = 3600.0  # seconds of anything that is added to a canvas


@dataclass(frozen=True)
class Timeline:
    """`latent_frames` of a video at `fps` pixel frames per second."""

    grid: Grid
    fps: Fraction
    latent_frames: int

    @property
    def frames(self) -> int:
        """Pixel frames."""
        return self.grid.frames(self.latent_frames)

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps

    def span(self, latent_frame: int) -> range:
        """The pixel frames that a latent frame holds."""
        return range(self.grid.first_frame(latent_frame), self.grid.first_frame(latent_frame + 1))

    def frame_at(self, name: str, seconds: float) -> int:
        """The pixel frame shown at a time, the nearest one; the very end is the last frame.

        Raises:
            InputError: for a time that is not on the canvas, with the nearest that is.
        """
        if not 0 <= seconds <= self.seconds + Fraction(1, 1000):  # also false for NaN
            raise InputError(
                f"{name} {seconds:g} s is not on a canvas of {float(self.seconds):.4g} s: its "
                f"first frame is at 0 s, its last at {float((self.frames - 1) / self.fps):.4g} s."
            )
        return min(nearest(Fraction(seconds) * self.fps), self.frames - 1)

    def touched(self, first: int, stop: int) -> range:
        """The latent frames that hold any of the pixel frames [first, stop)."""
        return range(self.grid.latent_frame_of(first), self.grid.latent_frame_of(stop - 1) + 1)

    def latent_frames_in(self, seconds: float) -> int:
        """Latent frames nearest to the duration of a window, 1 or more.

        Raises:
            InputError: if it is not above 0, or longer than LONGEST.
        """
        return self.grid.nearest_latent_frames(checked_seconds(seconds), self.fps)

    def added(self, seconds: float, before: int, joins: bool) -> int:
        """Latent frames nearest to a duration that is added, 1 or more. See `Grid.added`.

        Raises:
            InputError: as `latent_frames_in`.
        """
        return self.grid.added(checked_seconds(seconds), self.fps, before, joins)

    def in_words(self, latent_frames: Iterable[int]) -> str:
        """The pixel frames of some latent frames: "frames 5-8, 13-16"."""
        parts: list[list[int]] = []
        for k in latent_frames:
            span = self.span(k)
            if parts and parts[-1][1] + 1 == span.start:
                parts[-1][1] = span[-1]
            else:
                parts.append([span.start, span[-1]])
        words = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
        one = len(parts) == 1 and parts[0][0] == parts[0][1]
        return f"frame {words}" if one else f"frames {words}"


@dataclass(frozen=True)
class Placement:
    """A clip of `count` pixel frames whose first is pixel frame `first` of the canvas.

    What reaches past the canvas's end is not on it.
    """

    timeline: Timeline
    first: int
    count: int

    def __post_init__(self):
        if self.count < 1:
            raise InputError("the clip has no frames: connect one with at least 1.")
        if not 0 <= self.first < self.timeline.frames:
            raise InputError(
                f"frame {self.first} is not on a canvas of {self.timeline.frames} frames: choose 0 "
                f"to {self.timeline.frames - 1}."
            )

    @property
    def stop(self) -> int:
        """The pixel frame after its last one on the canvas."""
        return min(self.first + self.count, self.timeline.frames)

    @property
    def touched(self) -> range:
        """The latent frames that hold any of it."""
        return self.timeline.touched(self.first, self.stop)

    @property
    def partly(self) -> tuple[int, ...]:
        """The latent frames that it fills only in part: none, the first, the last or both."""
        ends = sorted({self.touched[0], self.touched[-1]})
        return tuple(k for k in ends if not self._fills(k))

    @property
    def wholly(self) -> range:
        """The latent frames that it fills."""
        inner = [k for k in self.touched if self._fills(k)]
        return range(inner[0], inner[-1] + 1) if inner else range(0)

    def _fills(self, latent_frame: int) -> bool:
        span = self.timeline.span(latent_frame)
        return self.first <= span.start and span.stop <= self.stop

    def to_encode(self, latent_frames: range) -> tuple[list[int], int]:
        """What to encode for some latent frames.

        Returns:
            Which of the clip's frames, in order; the nearest stands in for those it lacks. And how
            many latent frames to drop from the front of what comes out.
        """
        shown, lead = self.timeline.grid.to_encode(latent_frames)
        return [min(max(frame - self.first, 0), self.count - 1) for frame in shown], lead


def checked_seconds(seconds: float) -> Fraction:
    """The duration, exactly. Raises InputError if it is not above 0, or longer than LONGEST."""
    if not 0 < seconds <= LONGEST:  # also false for NaN
        raise InputError(f"{seconds} seconds: choose a duration above 0, up to {LONGEST:g}.")
    return Fraction(seconds)


def resampled(count: int, rate: Fraction, fps: Fraction, limit: int) -> list[int]:
    """Which frames of a clip at `rate` to show at `fps`: at each time the nearest, at most `limit`.

    As many as fill the clip's duration, and one at least if it has any.
    """
    wanted = max(1, nearest(count * fps / rate)) if count else 0
    step = rate / fps
    return [min(nearest(n * step), count - 1) for n in range(min(wanted, limit))]
