"""What is followed on a canvas besides what is known of it: references, clips, a performance."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.cpu import bands
from ..opaque import opaque
from .codec import Codec
from .driving import Driving


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture of a subject or a style.

    Attributes:
        picture: (h, w, 3) in [0, 1], of the canvas's size.
        strength: how much it counts.
    """

    picture: Tensor
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Guidance:
    """What is to be followed on a canvas, besides what of it is known.

    Attributes:
        codec: makes latents of it.
        control: by pixel frame, (h, w, 3) in [0, 1]: depth, a pose, edges.
        strengths: of control, by pixel frame.
        references: in the order in which they are shown.
        handed_on: whether it came with a clip that another canvas was made of, so that a model
            which cannot follow it may leave it out.
        driving: a clip that a character performs; None if there is none.
    """

    codec: Codec
    control: Mapping[int, Tensor] = field(default_factory=dict)
    strengths: Mapping[int, float] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    handed_on: bool = False
    driving: Driving | None = None

    def as_control(self) -> "Guidance":
        """With a performance as VACE's checkpoints follow it: the character is a reference."""
        driving = self.driving
        if driving is None or not driving.refers:
            return self
        one = Reference(driving.character)
        return replace(self, references=(*self.references, one))

    def shown_in(self, frames: range) -> dict[int, Tensor]:
        """What is followed in some pixel frames, by frame: a control clip, else a performance."""
        clip = {f: self.control[f] for f in frames if f in self.control}
        if self.driving is not None and len(clip) < len(frames):
            performed = self.driving.at(frames)
            clip = {f: clip.get(f, own) for f, own in zip(frames, performed, strict=True)}
        return clip

    def strengths_in(self, frames: range) -> list[float]:
        """How much what is followed counts, of those pixel frames in which anything is."""
        rest = None if self.driving is None else self.driving.strength
        found = [self.strengths.get(f, rest) for f in frames]
        return [strength for strength in found if strength is not None]

    def with_references(self, images: Tensor, size: tuple[int, int], strength: float) -> "Guidance":
        """With pictures after those that are there.

        Args:
            images: (n, h, w, 1, 3 or 4) in [0, 1], of any size; what is transparent becomes white.
            size: (height, width) of the canvas.
            strength: how much they count.
        """
        pictures = opaque(images.cpu(), over=1.0)
        own = tuple(Reference(on_white(one, *size), strength) for one in pictures)
        return replace(self, references=(*self.references, *own), handed_on=False)

    def with_control(self, pictures: Tensor, first: int, strength: float) -> "Guidance":
        """With a clip from pixel frame `first` on, in the place of what was there.

        Args:
            pictures: (n, h, w, 3) in [0, 1], of the canvas's size and rate.
            strength: how much it counts.
        """
        frames = range(first, first + len(pictures))
        return replace(
            self,
            control={**self.control, **dict(zip(frames, pictures, strict=True))},
            strengths={**self.strengths, **dict.fromkeys(frames, strength)},
            handed_on=False,
        )

    def from_frame(self, start: int) -> "Guidance":
        """That of a clip that begins at a pixel frame of this one."""
        moved = ({f - start: x for f, x in by.items() if f >= start} for by in self._by_frame)
        driving = self.driving and self.driving.from_frame(start)
        both = dict(zip(("control", "strengths"), moved, strict=True))
        return replace(self, **both, driving=driving)

    def handed_to(self, frames: Collection[int]) -> "Guidance | None":
        """What a canvas that this one's clip becomes a part of has of it; None for nothing.

        References stay, a performance does not. Of a control clip stays what is to be followed:
        where frames are known, it has been.

        Args:
            frames: pixel frames that lie there as here, and are sampled there.
        """
        kept = ({f: x for f, x in by.items() if f in frames} for by in self._by_frame)
        both = dict(zip(("control", "strengths"), kept, strict=True))
        left = replace(self, **both, driving=None)
        return replace(left, handed_on=True) if left.references or left.control else None

    def widened(self, margins: tuple[int, int, int, int]) -> "Guidance | None":
        """That of a canvas with more pixels at the left, top, right and bottom.

        References are whole on white there as here. A control clip says nothing of what is outside
        of it, and is left out.
        """
        left, top, right, bottom = margins
        wider = [
            replace(one, picture=F.pad(one.picture, (0, 0, left, right, top, bottom), value=1.0))
            for one in self.references
        ]
        return replace(self, references=tuple(wider)).handed_to(())

    def followed_by(self, other: "Guidance | None") -> "Guidance":
        """With the references of another, but for those that are here."""
        more = other.references if other else ()
        new = (one for one in more if not any(one is own for own in self.references))
        return replace(self, references=(*self.references, *new))

    def deciding(self, frames: range) -> tuple[Any, ...]:
        """All of it that may decide what is seen in some pixel frames."""
        shown = ({f: x for f, x in by.items() if f in frames} for by in self._by_frame)
        performed = [] if self.driving is None else [self.driving.deciding(frames)]
        return *shown, self.references, *performed

    @property
    def _by_frame(self) -> tuple[Mapping[int, Any], Mapping[int, Any]]:
        return self.control, self.strengths


def on_white(picture: Tensor, height: int, width: int) -> Tensor:
    """A reference at a canvas's size: (height, width, 3), all of it, on white.

    Args:
        picture: (h, w, 3) in [0, 1].

    Source: prepare_source in vace/models/wan/wan_vace.py, ali-vilab/VACE.
    """
    h, w = picture.shape[:2]
    scale = min(height / h, width / w)
    size = max(1, int(h * scale)), max(1, int(w * scale))
    pixels = rearrange(picture.float(), "h w c -> 1 c h w")
    resized = pixels
    if size != (h, w):
        resized = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    out = torch.ones(height, width, 3)
    place = out[top : top + size[0], left : left + size[1]]
    bands.fill(place, rearrange(resized, "1 c h w -> h w c"), axis=0)
    return out
