"""Clips that a canvas follows, at its rate and size, and what belongs to them frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...engine.canvas.driving import FollowedClip
from ...engine.canvas.picture import fitted, fitted_masks
from ...engine.canvas.regions import as_masks, checked_mask
from ...engine.canvas.timeline import resampled
from ...engine.take.fingerprint import digest
from ...models.errors import InputError
from ..comfyui.file_hash import sha256_of
from ..comfyui.progress import check_cancelled
from .footage import Footage, open_footage
from .onto_canvas import picked


class Wanted(NamedTuple):
    """How a canvas is shown a clip.

    Attributes:
        fps: frames per second.
        size: (height, width).
        fit: one of picture.FITS.
    """

    fps: Fraction
    size: tuple[int, int]
    fit: str

    def numbers(self, frames: int, fps: Fraction) -> list[int]:
        """Which frames of a clip are shown: at each moment the one nearest in time."""
        return resampled(frames, fps, self.fps, ceil((frames + 1) * self.fps / fps))


@dataclass(frozen=True, eq=False)
class ClipReader:
    """Reads frames of a clip at another rate and size.

    Attributes:
        clip: IMAGE or VIDEO.
        clip_fps: of an IMAGE.
        numbers: which of its frames is shown at each moment.
        wanted: its size, and how it is brought to it.
    """

    clip: Any
    clip_fps: Fraction
    numbers: list[int]
    wanted: Wanted

    def __call__(self, frames: Sequence[int]) -> Tensor:
        check_cancelled()
        source = [self.numbers[frame] for frame in frames]
        with open_footage(self.clip, self.clip_fps) as footage:
            stream = footage.pictures(source[0], source[-1] + 1)
            pieces = picked(stream, [number - source[0] for number in source])
            return torch.cat(
                [fitted(piece, *self.wanted.size, self.wanted.fit) for piece in pieces]
            )


@dataclass(frozen=True, eq=False)
class MaskReader:
    """Reads masks of a clip at another rate and size.

    Attributes:
        masks: (n, h, w).
        numbers, wanted: as in ClipReader.
    """

    masks: Tensor
    numbers: list[int]
    wanted: Wanted

    def __call__(self, frames: Sequence[int]) -> Tensor:
        check_cancelled()
        shown = self.masks[[self.numbers[frame] for frame in frames]].cpu().float().clamp(0, 1)
        return fitted_masks(shown, *self.wanted.size, self.wanted.fit)


def followed_clip(clip: Any, footage: Footage, clip_fps: Fraction, wanted: Wanted) -> FollowedClip:
    """A clip to be read at a rate and a size."""
    numbers = wanted.numbers(footage.frames, footage.fps)
    stamp = digest(content_of(clip, footage), numbers, wanted.size, wanted.fit)
    return FollowedClip(len(numbers), ClipReader(clip, clip_fps, numbers, wanted), stamp)


def beside(
    name: str, clip: Any, clip_fps: Fraction, wanted: Wanted, followed: FollowedClip
) -> FollowedClip:
    """A clip that belongs to another, frame by frame. Raises InputError if it is shorter."""
    with open_footage(clip, clip_fps) as footage:
        own = followed_clip(clip, footage, clip_fps, wanted)
    check_length(name, own, followed, wanted.fps)
    return own


def check_length(name: str, own: FollowedClip, followed: FollowedClip, fps: Fraction) -> None:
    """Refuse a clip that ends before the one that it belongs to."""
    if own.frames < followed.frames - 1:
        raise InputError(
            f"{name} lasts {float(own.frames / fps):.3g} s and the clip "
            f"{float(followed.frames / fps):.3g} s: make both of the same frames."
        )


def put_into(
    background: Any, mask: Tensor | None, clip: Footage, wanted: Wanted, followed: FollowedClip
) -> tuple[FollowedClip | None, FollowedClip | None]:
    """What a character is put into, and the masks of where; None and None for neither.

    Args:
        background: IMAGE or VIDEO, as long as the clip; or one picture.
        mask: MASK of it, one for all frames or one for each.
        clip: what is performed.

    Raises:
        InputError: for one without the other, and for lengths or shapes that do not fit.
    """
    if background is None and mask is None:
        return None, None
    if background is None or mask is None:
        raise InputError(
            "background and background_mask belong together: connect the video that the character "
            "is put into and a MASK that is white where it is painted, or leave both."
        )
    with open_footage(background, clip.fps) as footage:
        behind = followed_clip(background, footage, clip.fps, wanted)
        shape, frames, fps = (footage.height, footage.width), footage.frames, footage.fps
    if frames > 1:
        check_length("background", behind, followed, wanted.fps)
    else:  # a picture, in which the masks may move with the clip
        frames, fps = clip.frames, clip.fps
    masks = checked_mask(mask, shape, len(as_masks(mask)))
    if len(masks) not in (1, frames):
        raise InputError(
            f"background_mask has {len(masks)} masks and there are {frames} frames: connect 1 for "
            f"all of them, or {frames}."
        )
    if not masks.any():
        raise InputError(
            "background_mask is empty, so nobody would be painted: make it white where the "
            "character goes."
        )
    numbers = [0] if len(masks) == 1 else wanted.numbers(frames, fps)
    stamp = digest(masks, numbers, wanted.size, wanted.fit)
    return behind, FollowedClip(len(numbers), MaskReader(masks, numbers, wanted), stamp)


def content_of(clip: Any, footage: Footage) -> Any:
    """What tells a clip from any other: its pixels, or its file's and where in it it begins."""
    if footage.images is not None:
        return clip if torch.is_tensor(clip) else footage.images
    path, first = footage.origin
    return sha256_of(path), first
