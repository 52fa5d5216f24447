"""Latents of pictures and sound as core's samplers take them, in every version that does."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import comfy.sample
import torch
from comfy.nested_tensor import NestedTensor
from comfy.utils import pack_latents, unpack_latents
from torch import Tensor

from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.sound_track import SoundTrack

TAKES_MASKS = hasattr(comfy.sample, "prepare_empty_noise")  # of several streams; older hosts do not


class Drawn(Protocol):
    """Noise of one stream."""

    def drawn(self, draw: int = 0, check: Callable[[], object] = ...) -> Tensor:
        """See `engine.canvas.noise`."""


class Noise:
    """The noise of one or several streams."""

    def __init__(self, *streams: Drawn):
        self.streams = streams

    def at_first(self, check: Callable[[], object]) -> Any:
        """For core's guider. `check` is called for each frame; an exception from it ends it."""
        return nested([stream.drawn(check=check) for stream in self.streams])

    def drawn(self, draw: int = 0) -> Tensor:
        """For what runs inside of it, where several streams are one row of numbers."""
        return row([stream.drawn(draw) for stream in self.streams])


def nested(streams: Sequence[Tensor]) -> Any:
    """Streams as the "samples" of a LATENT; a single one as it is."""
    return streams[0] if len(streams) == 1 else NestedTensor(list(streams))


def row(streams: Sequence[Tensor]) -> Tensor:
    """Streams as core's samplers carry them; a single one as it is."""
    return streams[0] if len(streams) == 1 else pack_latents(list(streams))[0]


def streams_of(samples: Any) -> list[Tensor]:
    """The tensors of a LATENT of several, pictures first; one that is plain by itself."""
    if samples is None:
        return []
    return list(samples.unbind()) if getattr(samples, "is_nested", False) else [samples]


def pictures_in(estimate: Any, shapes: Sequence[Sequence[int]]) -> Tensor:
    """The pictures in what a sampler hands to its callback: (b, c, t, h, w)."""
    if len(shapes) > 1 and not getattr(estimate, "is_nested", False):
        return unpack_latents(estimate, [torch.Size(shape) for shape in shapes])[0]
    return streams_of(estimate)[0]


def joint_mask(video: MaskedLatents, sound: SoundTrack | None) -> Any:
    """The mask of a run as the host takes it; None where nothing is known."""
    if sound is None:
        return video.mask
    if video.mask is None and sound.mask is None:
        return None
    masks = [full_mask(video), mask_as(sound)]
    if TAKES_MASKS:
        return NestedTensor(masks)
    streams = video.latents, sound.latents
    return row([mask.expand(x.shape) for mask, x in zip(masks, streams, strict=True)])


def full_mask(video: MaskedLatents) -> Tensor:
    """(b or 1, 1, t, h, w): a mask of the pictures, of ones where nothing is known."""
    _, _, t, h, w = video.latents.shape
    mask = torch.ones(1, 1, t, 1, 1) if video.mask is None else video.mask
    return mask.expand(-1, -1, -1, h, w).contiguous()


def mask_as(sound: SoundTrack) -> Tensor:
    """(1, 1, ...): a mask of sound on all of its axes but the channels."""
    shape = [1, 1, *sound.latents.shape[2:]]
    along = [len(sound) if axis == sound.layout.axis else 1 for axis in range(len(shape))]
    return sound.to_sample.view(along).expand(shape).contiguous()
