"""Clips as graphs have them (LATENT, IMAGE or VIDEO) onto a canvas."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import comfy.sd
import torch
from comfy_api.latest import Input
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.grid import frame_rate
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.picture import fit_in_words, fitted, opaque
from ...engine.canvas.timeline import resampled
from ...models.errors import InputError
from ..comfyui.latent import to_canvas
from ..comfyui.progress import check_cancelled
from ..networks.codec import codec_for
from .footage import open_video


@dataclass(frozen=True)
class ClipFrames:
    """The frames of a clip, not read yet.

    Attributes:
        count: how many.
        rate: of them in a second; None where nothing says.
        size: (h, w) in pixels.
        stream: gives them from the beginning, (n, h, w, 3) in [0, 1], a few at a time.
        notes: what there is to say about the clip.
    """

    count: int
    rate: Fraction | None
    size: tuple[int, int]
    stream: Callable[[], Iterator[Tensor]]
    notes: tuple[str, ...] = ()


@contextmanager
def opened_clip(clip: Any, fps: float = 0.0) -> Iterator[ClipFrames]:
    """An IMAGE or a VIDEO, looked at but not decoded; to be read inside the block.

    Args:
        clip: one of these.
        fps: at which an IMAGE plays; 0 if nobody said. A VIDEO knows its own.

    Raises:
        InputError: if it is neither, or has no frames.
    """
    if torch.is_tensor(clip):
        yield image_frames(clip, frame_rate(fps) if fps else None)
    elif isinstance(clip, Input.Video):
        with open_video(clip) as video:
            varies = video.facts is not None and not video.facts.constant
            notes = ("its frame rate varies: frames are taken by their times",) if varies else ()
            size = video.height, video.width
            yield ClipFrames(
                video.frames, video.fps, size, lambda: in_floats(video.stream()), notes
            )
    else:
        raise InputError(
            f"a clip must be a LATENT, an IMAGE or a VIDEO, not {type(clip).__name__}."
        )


def image_frames(image: Tensor, rate: Fraction | None) -> ClipFrames:
    if image.ndim != 4 or not image.numel():
        raise InputError(
            f"an IMAGE of shape {tuple(image.shape)} has no frames: connect one with at least 1."
        )

    def stream() -> Iterator[Tensor]:
        for piece in image.split(8):
            yield opaque(piece.float().cpu())

    notes = ("what is transparent became black",) if image.shape[-1] == 4 else ()
    return ClipFrames(image.shape[0], rate, tuple(image.shape[1:3]), stream, notes)


def in_floats(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    """A frame stream of uint8 as one in [0, 1]."""
    for chunk in chunks:
        check_cancelled()
        yield chunk.float() / 255


def frames_at(
    frames: ClipFrames, fps: Fraction, height: int, width: int, how: str, limit: int
) -> tuple[Tensor, list[str]]:
    """A clip's frames at a canvas's rate and size.

    Args:
        frames: of the clip.
        fps: of the canvas.
        height, width: of the canvas, in pixels.
        how: one of picture.FITS.
        limit: how many frames at most.

    Returns:
        (n, height, width, 3) float32 in [0, 1], and what there is to say.
    """
    wanted = resampled(frames.count, frames.rate or fps, fps, limit)
    notes = [*frames.notes]
    if frames.rate not in (None, fps):
        notes.append(f"{float(frames.rate):g} fps taken at {float(fps):g}")
    if change := fit_in_words(frames.size, height, width, how):
        notes.append(change)
    pieces = picked(frames.stream(), wanted)
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


def clip_canvas(clip: Any, vae: comfy.sd.VAE, fps: float = 0.0) -> Canvas:
    """A canvas of a whole clip. One that is a LATENT goes on it as it is, to the bit.

    Of pixels as many frames are taken as fill whole latent frames; a size that the VAE cannot pack
    is scaled to the nearest that it can.

    Args:
        clip: LATENT, IMAGE or VIDEO.
        vae: that of the model.
        fps: of an IMAGE; 0: what the model was made for.
    """
    codec = codec_for(vae)
    if isinstance(clip, Mapping):
        canvas = to_canvas(clip, codec, masked=False)
        return Canvas(MaskedLatents(canvas.video.latents), codec, canvas.timeline.fps)
    grid = codec.grid
    with opened_clip(clip, fps) as frames:
        rate = frames.rate or codec.fps
        height, width = (grid.nearest_size(n) for n in frames.size)
        whole = grid.whole(frames.count)
        pictures, notes = frames_at(frames, rate, height, width, "crop", whole)
    if left := frames.count - whole:
        one = "frame" if left == 1 else f"{left} frames"
        notes.append(f"the last {one} fill no latent frame and are left out")
    return Canvas(MaskedLatents(codec.encode(pictures)), codec, rate, notes=tuple(notes))


def pin_clip(
    canvas: Canvas, clip: Any, at: float, fit: str, edges: str, fps: float = 0.0
) -> Canvas:
    """A canvas with the frames of a clip from a time on.

    Args:
        canvas: whatever is known of it already.
        clip: IMAGE or VIDEO, of any size and rate.
        at: seconds.
        fit: how it is brought to the canvas's size, one of picture.FITS.
        edges: one of canvas.EDGES.
        fps: of an IMAGE; 0: the canvas's.

    Raises:
        InputError: for a time outside the canvas, or a clip that fills no latent frame.
    """
    timeline = canvas.timeline
    first = timeline.frame_at("at", at)
    room = timeline.frames - first
    with opened_clip(clip, fps) as frames:
        pictures, notes = frames_at(frames, timeline.fps, *canvas.size, fit, room)
    canvas = canvas.pin_clip(pictures, first, edges).noted(*notes)
    total = -(-frames.count * timeline.fps // (frames.rate or timeline.fps))
    if total > room:
        canvas = canvas.noted(f"{total - room} frames past the canvas's end are left out")
    return canvas
