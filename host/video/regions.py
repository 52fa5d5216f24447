"""Regions and wider canvases of clips as graphs have them: LATENT, IMAGE or VIDEO."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import comfy.sd
import torch
from comfy_api.latest import Input
from torch import Tensor

from ...engine.canvas.aspect import ASPECTS, FREE
from ...engine.canvas.canvas import Canvas
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.picture import fit_in_words, fitted
from ...engine.canvas.regions import (
    Area,
    Backdrop,
    DecodeLatents,
    KeptPixels,
    Latents,
    Pictures,
    Widened,
    border_area,
    drawn_area,
    held,
    margins_of,
)
from ...engine.canvas.timeline import resampled
from ...engine.frames.stream import few_at_a_time, to_chunk
from ...engine.rates import frame_rate
from ...models.errors import InputError
from ..comfyui.latent import to_canvas
from ..comfyui.progress import check_cancelled
from ..networks.codec import codec_for
from ..networks.vae import encode_stream
from .decoder import frames_of
from .footage import open_footage
from .onto_canvas import picked


@dataclass(frozen=True, eq=False)
class FilmBackdrop:
    """The frames of a VIDEO, read from its file each time they are asked for.

    Attributes:
        video: the VIDEO.
        fps: of the canvas.
        size: (height, width) of the canvas.
        count: frames of it that are shown, at most.
    """

    video: Input.Video
    fps: Fraction
    size: tuple[int, int]
    count: int

    def frames(self, decode: DecodeLatents) -> Iterator[Tensor]:
        with open_footage(self.video, self.fps) as clip:
            wanted = resampled(clip.frames, clip.fps, self.fps, self.count)
            for piece in picked(clip.pictures(), wanted):
                yield to_chunk(fitted(piece, *self.size, "crop"))


class KnownClip(NamedTuple):
    """A clip, as a canvas that is known.

    Attributes:
        canvas: of its length, rate and size; its latents are those of the clip or zeros.
        backdrop: its pixels.
        areas: regions that it has already.
        was: (height, width) before it was brought to the canvas's size.
        encoded: whether the canvas's latents are the clip's.
    """

    canvas: Canvas
    backdrop: Backdrop
    areas: tuple[Area, ...] = ()
    was: tuple[int, int] | None = None
    encoded: bool = False


def clip_of(clip: Any, vae: comfy.sd.VAE, fps: float = 0.0, *, snapped: bool = True) -> KnownClip:
    """What regions are to lie on.

    Args:
        clip: LATENT, IMAGE or VIDEO.
        vae: of the model.
        fps: of an IMAGE; 0: what the model was made for.
        snapped: pixels are brought to the nearest size on the VAE's grid.

    Raises:
        InputError: for a LATENT of which nothing is known.
    """
    codec = codec_for(vae)
    if isinstance(clip, Mapping):
        return _of_canvas(to_canvas(clip, codec))
    with open_footage(clip, frame_rate(fps) if fps else codec.fps) as footage:
        was, rate, notes = (footage.height, footage.width), footage.fps, list(footage.notes)
        frames = codec.grid.whole(footage.frames)
        in_memory = footage.images
        size = tuple(map(codec.grid.nearest_size, was)) if snapped else was
        if left := footage.frames - frames:
            notes.append(f"the last {left} of {footage.frames} frames fill no latent frame")
        if change := fit_in_words(was, *size, "crop"):
            notes.append(change)
        backdrop: Backdrop = FilmBackdrop(clip, rate, size, frames)
        if in_memory is not None:
            shown = []
            for piece in few_at_a_time(in_memory[:frames, ..., :3]):
                check_cancelled()
                shown.append(to_chunk(fitted(piece.cpu(), *size, "crop")))
            backdrop = Pictures(torch.cat(shown))
    canvas = Canvas(MaskedLatents(blank_latents(codec.grid, frames, size)), codec, rate)
    return KnownClip(canvas.noted(*notes), backdrop, was=was)


def blank_latents(grid: Any, frames: int, size: tuple[int, int]) -> Tensor:
    """Zeros that take no memory, of latents on a grid or of the nearest size on it."""
    height, width = map(grid.nearest_size, size)
    return torch.zeros(1).expand(grid.latent_shape(frames, height, width))


def _of_canvas(canvas: Canvas) -> KnownClip:
    if canvas.noise is not None:
        raise InputError(
            f"the clip still holds noise of level {canvas.noise:.3g}: sample it to the end, with "
            f"SIGMAS down to 0."
        )
    kept, pins, latents = canvas.kept, canvas.pins, canvas.video.latents
    if kept is not None:
        return KnownClip(canvas, kept.backdrop, kept.areas, encoded=True)
    if pins is not None and pins.fit(latents):
        order = held([*pins.pixels], canvas.timeline.frames)
        pictures = torch.stack([to_chunk(pins.pixels[k]) for k in sorted(pins.pixels)])
        return KnownClip(canvas, Pictures(pictures, order))
    if not latents.any():
        raise InputError(
            "nothing is known on this canvas, so a region has nothing to lie in: pin an image or a "
            "clip on it first, or connect the clip itself."
        )
    return KnownClip(canvas, Latents(latents[:1]), encoded=True)


def with_region(
    clip: KnownClip,
    vae: comfy.sd.VAE,
    mask: Tensor,
    seconds: tuple[float, float] = (0.0, 0.0),
    strength: float = 1.0,
    *,
    grow: int = 0,
    feather: int = 0,
    invert: bool = False,
) -> Canvas:
    """A canvas on which a region of a clip is to be sampled.

    Args:
        mask: see `drawn_area`, as grow, feather and invert.
        seconds: from when to when it is; an end of 0 is the clip's.
        strength: how far back towards noise it goes; 1: all the way.

    Raises:
        InputError: for a mask or a time that does not fit.
    """
    canvas = clip.canvas
    span, frames = span_of(canvas, *seconds), canvas.timeline.frames
    how = {"grow": grow, "feather": feather, "invert": invert, "check": check_cancelled}
    area = drawn_area(mask, canvas.size, span, frames, was=clip.was, **how)
    notes = [f"a region in frames {span.start}-{span.stop - 1} of {frames}"]
    if tuple(mask.shape[-2:]) != canvas.size:
        notes.append(f"mask of {mask.shape[-1]}×{mask.shape[-2]} scaled to the canvas")
    if mask.ndim == 3 and len(mask) > max(1, frames):
        notes.append(f"the last {len(mask) - frames} masks are left out")
    kept = KeptPixels(clip.backdrop, (*clip.areas, area), frames)
    latents = canvas.video.latents if clip.encoded else kept_latents(kept, vae)
    made = canvas.keeping(kept, latents).noted(*notes)
    most = max(strength, canvas.strength or strength)
    return replace(made, strength=most if most < 1 else None)


def span_of(canvas: Canvas, start: float, end: float) -> range:
    """The pixel frames from one time to another; an end of 0 is the canvas's."""
    timeline = canvas.timeline
    first = timeline.frame_at("start", start)
    whole = not end or end * timeline.fps > timeline.frames - 1
    stop = timeline.frames if whole else timeline.frame_at("end", end)
    if stop <= first:
        raise InputError(
            f"from {start:g} s to {end:g} s there is no frame: end must be after start."
        )
    return range(first, stop)


def kept_latents(kept: KeptPixels, vae: comfy.sd.VAE) -> Tensor:
    """The latents of what is kept."""
    return encode_stream(vae, lambda: kept.shown(frames_of(vae)), (kept.frames, *kept.size))


def widened(
    clip: KnownClip,
    vae: comfy.sd.VAE,
    margins: tuple[int, int, int, int],
    aspect: str = FREE,
    feather: int = 0,
) -> Canvas:
    """A canvas of a clip and more picture around it, which is to be sampled.

    Args:
        clip: of any size.
        margins: pixels at the left, top, right and bottom, at least.
        aspect: that is reached by more of them, one of ASPECTS or FREE.
        feather: pixels of the clip over which the new fades into it.

    Raises:
        InputError: where nothing is added, or nothing of the clip stays as it is.
    """
    canvas, codec = clip.canvas, codec_for(vae)
    height, width = clip.was or canvas.size
    margins = margins_of((height, width), codec.grid, margins, ASPECTS.get(aspect))
    left, top, right, bottom = margins
    size, frames = (height + top + bottom, width + left + right), canvas.timeline.frames
    areas = tuple(area.widened(margins) for area in clip.areas)
    border = border_area(size, margins, feather, frames, check_cancelled)
    kept = KeptPixels(Widened(clip.backdrop, margins), (*areas, border), frames)
    latents = kept_latents(kept, vae)
    if canvas.guidance is not None:
        if canvas.guidance.control:
            canvas = canvas.noted("the control clip is left out: connect Control Video after this")
        canvas = replace(canvas, guidance=canvas.guidance.widened(margins))
    return canvas.keeping(kept, latents).noted(
        f"{width}×{height} is {size[1]}×{size[0]} now: {left} px at the left, {top} at the top, "
        f"{right} at the right, {bottom} at the bottom"
    )
