"""A clip as graphs have it (LATENT, IMAGE or VIDEO) -> frames at a canvas's size and rate."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import comfy.sd
import torch
from comfy_api.latest import Input
from torch import Tensor

from ...engine.canvas.grid import frame_rate
from ...engine.canvas.picture import fitted, opaque, said
from ...engine.canvas.timeline import Timeline, resampled
from ...engine.sampling.presets import defaults_for, fps_for
from ...models.errors import InputError
from ..comfyui.latent import facts_of, samples_of, with_facts
from ..comfyui.progress import check_cancelled
from ..networks.vae import check_latents, encode, grid_of
from .clip import opened


@dataclass(frozen=True)
class Source:
    """A clip of pixels that has not been read yet.

    count: frames; rate: of them in a second, None where nothing says; size: (h, w) in pixels;
    stream: its frames from the beginning, (n, h, w, 3) in [0, 1], a few at a time; notes: what
    there is to say about it.
    """

    count: int
    rate: Fraction | None
    size: tuple[int, int]
    stream: Callable[[], Iterator[Tensor]]
    notes: tuple[str, ...] = ()


@contextmanager
def source_of(clip: Any, fps: float = 0.0) -> Iterator[Source]:
    """An IMAGE or a VIDEO, looked at but not decoded; to be read inside the block.

    Args:
        clip: one of these.
        fps: at which an IMAGE plays; 0 if nobody said. A VIDEO knows its own.

    Raises:
        InputError: if it is neither, or has no frames.
    """
    if torch.is_tensor(clip):
        yield image_source(clip, frame_rate(fps) if fps else None)
    elif isinstance(clip, Input.Video):
        with opened(clip) as video:
            varies = video.facts is not None and not video.facts.constant
            notes = ("its frame rate varies: frames are taken by their times",) if varies else ()
            size = video.height, video.width
            yield Source(video.frames, video.fps, size, lambda: in_floats(video.stream()), notes)
    else:
        raise InputError(
            f"a clip must be a LATENT, an IMAGE or a VIDEO, not {type(clip).__name__}."
        )


def image_source(image: Tensor, rate: Fraction | None) -> Source:
    if image.ndim != 4 or not image.numel():
        raise InputError(
            f"an IMAGE of shape {tuple(image.shape)} has no frames: connect one with at least 1."
        )

    def stream() -> Iterator[Tensor]:
        for piece in image.split(8):
            yield opaque(piece.float().cpu())

    notes = ("what is transparent became black",) if image.shape[-1] == 4 else ()
    return Source(image.shape[0], rate, tuple(image.shape[1:3]), stream, notes)


def in_floats(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    """A frame stream of uint8 as one in [0, 1]."""
    for chunk in chunks:
        check_cancelled()
        yield chunk.float() / 255


def frames_at(
    source: Source, fps: Fraction, height: int, width: int, how: str, limit: int
) -> tuple[Tensor, list[str]]:
    """A clip's frames at a canvas's rate and size.

    Args:
        source: the clip.
        fps: of the canvas.
        height, width: of the canvas, in pixels.
        how: one of picture.FITS.
        limit: how many frames at most.

    Returns:
        (n, height, width, 3) float32 in [0, 1], and what there is to say.
    """
    wanted = resampled(source.count, source.rate or fps, fps, limit)
    notes = [*source.notes]
    if source.rate not in (None, fps):
        notes.append(f"{float(source.rate):g} fps taken at {float(fps):g}")
    if change := said(source.size, height, width, how):
        notes.append(change)
    pieces = picked(source.stream(), wanted)
    return torch.cat([fitted(piece, height, width, how) for piece in pieces]), notes


def picked(stream: Iterator[Tensor], wanted: list[int]) -> Iterator[Tensor]:
    """The frames of these numbers, which never decrease, a few at a time: (n, h, w, 3)."""
    at = 0
    for chunk in stream:
        inside = [n - at for n in wanted if at <= n < at + len(chunk)]
        at += len(chunk)
        if inside:
            yield chunk[inside]
        if at > wanted[-1]:
            return


def rate_of(latent: Mapping[str, Any]) -> Fraction:
    """Frames per second of a LATENT: as a node said, or as its model was trained at."""
    return facts_of(latent).get("fps") or Fraction(fps_for(samples_of(latent).shape[1]))


def window_of(vae: comfy.sd.VAE) -> int:
    """Latent frames that the model belonging to a VAE was made for at a time."""
    grid = grid_of(vae)
    return grid.latent_frames(defaults_for(grid.channels).frames)


def timeline_of(latent: Mapping[str, Any], vae: comfy.sd.VAE) -> Timeline:
    """The timeline of a LATENT. Raises InputError if it is not for this VAE."""
    samples = samples_of(latent)
    check_latents(vae, samples)
    return Timeline(grid_of(vae), rate_of(latent), samples.shape[2])


def as_latent(clip: Any, vae: comfy.sd.VAE, fps: float = 0.0) -> tuple[dict[str, Any], list[str]]:
    """A clip as a LATENT, all of it known: one that is a LATENT stays as it is, to the bit.

    Of pixels as many frames are taken as fill whole latent frames; a size that the VAE cannot pack
    is scaled to the nearest that it can.

    Returns:
        A LATENT without mask that knows its frame rate, and what there is to say.
    """
    if isinstance(clip, Mapping):
        samples = samples_of(clip)
        check_latents(vae, samples)
        return with_facts({"samples": samples}, fps=rate_of(clip)), []
    grid = grid_of(vae)
    with source_of(clip, fps) as source:
        rate = source.rate or Fraction(fps_for(grid.channels))
        height, width = (grid.nearest_size(n) for n in source.size)
        whole = 1 + (source.count - 1) // grid.stride_t * grid.stride_t
        pictures, notes = frames_at(source, rate, height, width, "crop", whole)
    if left := source.count - whole:
        one = "frame" if left == 1 else f"{left} frames"
        notes.append(f"the last {one} fill no latent frame and are left out")
    return with_facts({"samples": encode(vae, pictures)}, fps=rate), notes
