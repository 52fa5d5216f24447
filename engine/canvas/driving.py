"""A clip that a character performs: read when it is needed, the part of one window at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from .grid import Grid

Words = Callable[[Tensor, Tensor], Any]
"""(h, w, 3) and (n, h, w, 3) in [0, 1] -> what a model hears of both; never looked into."""
ReadFrames = Callable[[Sequence[int]], Tensor]
"""Numbers of frames, which never decrease -> (n, h, w, 3) in [0, 1]; of masks (n, h, w)."""


@dataclass(frozen=True, eq=False)
class FollowedClip:
    """A clip at a canvas's frame rate and size.

    Attributes:
        frames: how many it has; the last of them is held after that.
        read: gives some of them.
        stamp: tells it from any other clip.
    """

    frames: int
    read: ReadFrames
    stamp: str

    def at(self, frames: range) -> Tensor:
        """Those of some frames of the canvas: (n, h, w, 3)."""
        return self.read([min(max(frame, 0), self.frames - 1) for frame in frames])


@dataclass(frozen=True, eq=False)
class Driving:
    """Who performs what.

    Attributes:
        clip: what is performed, of the canvas's size.
        character: who performs it: (h, w, 3) in [0, 1], of the canvas's size.
        strength: how much the clip counts; 1 as trained.
        refers: checkpoints that know references are shown the character as one. Where the canvas
            begins with it, they need none.
        face: its face in the clip, 512 × 512, for checkpoints that read faces; None for none.
        masks: who is where in the clip, in colours, of the canvas's size; None for none.
        character_mask: the same of the character's picture, (h, w, 3).
        replaces: the character takes the place of somebody in the clip, whose surroundings stay.
        clip_vision: core's CLIP_VISION_OUTPUT of the character, or None; never looked into.
        words: the prompt beside the character and a part of the clip, for checkpoints that are told
            of both by their text encoder; None for none.
        said: tells those words from any others.
        first: frame of the clip that the canvas begins with.
        background: what the character is put into, of the canvas's size; None for nothing.
        background_mask: masks of it, 1 where the character is painted; None with no background.
    """

    clip: FollowedClip
    character: Tensor
    strength: float = 1.0
    refers: bool = True
    face: FollowedClip | None = None
    masks: FollowedClip | None = None
    character_mask: Tensor | None = None
    replaces: bool = False
    clip_vision: Any = None
    words: Words | None = None
    said: str = ""
    first: int = 0
    background: FollowedClip | None = None
    background_mask: FollowedClip | None = None

    def from_frame(self, start: int) -> "Driving":
        """That of a clip that begins at a pixel frame of this one's canvas."""
        return replace(self, first=self.first + start)

    def at(self, frames: range, of: FollowedClip | None = None) -> Tensor:
        """The clip, or another that belongs to it, at some pixel frames of the canvas."""
        moved = range(frames.start + self.first, frames.stop + self.first)
        return (of or self.clip).at(moved)

    def deciding(self, frames: range) -> tuple[Any, ...]:
        """All of it that may decide what is seen in some pixel frames."""
        stamps = [clip and clip.stamp for clip in (self.clip, self.face, self.masks)]
        own = self.character, self.strength, self.refers, self.character_mask, self.replaces
        behind = [one.stamp for one in (self.background, self.background_mask) if one]
        told = self.clip_vision, self.said
        return frames.start + self.first, len(frames), stamps, *own, *told, *behind


def seen_frames(span: range, grid: Grid) -> range:
    """The 1 + 4·n pixel frames that a model takes latent frames of a video for.

    The first latent frame of a window stands for the last of the pixel frames that it holds: so the
    next follows it as the second of a video follows the first.
    """
    return range(grid.first_frame(span.start + 1) - 1, grid.first_frame(span.stop))
