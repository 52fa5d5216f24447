"""Images and clips put on a canvas: which latent frames become known, and what is said of it."""

from collections.abc import Mapping
from typing import Any

import comfy.sd
import torch
from torch import Tensor

from ...engine.canvas.picture import fitted, opaque, said
from ...engine.canvas.timeline import Placement, Timeline, in_words, place
from ...models.errors import InputError
from ..comfyui.latent import mask_of, samples_of, with_facts
from ..networks.vae import encode, grid_of
from ..sampling.image_channels import Pins, pins_in
from ..video.frames_of import frames_at, source_of, timeline_of

EDGES = ("paint", "hold")
Noted = tuple[dict[str, Any], list[str]]  # a LATENT, and what there is to say about it


def pin_image(
    latent: Mapping[str, Any],
    image: Tensor,
    vae: comfy.sd.VAE,
    at: float,
    how: str,
    clip_vision: Any = None,
) -> Noted:
    """A canvas with an image at a time.

    Args:
        latent: LATENT, whatever is known of it already.
        image: (1, h, w, 1, 3 or 4), of any size.
        vae: that of the model.
        at: seconds.
        how: it is brought to the canvas's size, one of picture.FITS.
        clip_vision: core's CLIP_VISION_OUTPUT of it, which Wan 2.1 I2V also reads.

    Raises:
        InputError: for a time outside the canvas, no image or several.
    """
    timeline = timeline_of(latent, vae)
    frame = timeline.frame_at("at", at)
    if image.ndim != 4 or image.shape[0] != 1:
        raise InputError(
            f"PinImage takes 1 image, not {image.shape[0]}: for the frames of a clip there is "
            f"PinVideo; ImageFromBatch picks one of several."
        )
    height, width = size_of(latent, vae)
    picture = fitted(opaque(image.cpu()), height, width, how)
    where = place(timeline, frame, 1)
    notes = [f"frame {frame} of {timeline.frames}, {float(frame / timeline.fps):.3g} s"]
    if where.partly:
        notes.append(f"held for {in_words(where.partly, timeline)}, one latent frame")
    notes += [change for change in [said(tuple(image.shape[1:3]), height, width, how)] if change]
    if image.shape[-1] == 4:
        notes.append("what is transparent became black")
    return pinned(latent, picture, vae, where, where.partly, clip_vision), notes


def pin_video(
    latent: Mapping[str, Any],
    clip: Any,
    vae: comfy.sd.VAE,
    at: float,
    how: str,
    edges: str,
    fps: float = 0.0,
) -> Noted:
    """A canvas with the frames of a clip from a time on.

    Args:
        clip: IMAGE or VIDEO.
        edges: what becomes of latent frames that the clip fills a part of: "paint" them, or
            "hold" its nearest frame.
        fps: of an IMAGE; 0: the canvas's.

    Raises:
        InputError: for a time outside the canvas, or a clip that fills no latent frame.
    """
    timeline = timeline_of(latent, vae)
    first = timeline.frame_at("at", at)
    height, width = size_of(latent, vae)
    room = timeline.frames - first
    with source_of(clip, fps) as source:
        pictures, notes = frames_at(source, timeline.fps, height, width, how, room)
    where = place(timeline, first, len(pictures))
    held = where.partly if edges == "hold" else ()
    if not where.wholly and not held:
        raise InputError(
            f"{where.count} frames from frame {first} on fill no latent frame, which is "
            f"{in_words(where.touched, timeline)}: set edges to hold, or take a longer clip."
        )
    notes = [f"frames {first}-{where.stop - 1} of {timeline.frames}", *notes]
    if where.partly:
        done = "its nearest frame is held" if held else "they are painted anew"
        notes.append(f"of {in_words(where.partly, timeline)} it fills a part only: {done}")
    total = -(-source.count * timeline.fps // (source.rate or timeline.fps))
    if total > room:
        notes.append(f"{total - room} frames past the canvas's end are left out")
    return pinned(latent, pictures, vae, where, held), notes


def pinned(
    latent: Mapping[str, Any],
    pictures: Tensor,
    vae: comfy.sd.VAE,
    where: Placement,
    held: tuple[int, ...],
    clip_vision: Any = None,
) -> dict[str, Any]:
    """The LATENT with a clip's latent frames known, and its pixels remembered for I2V models.

    Args:
        pictures: (n, h, w, 3) in [0, 1] at the canvas's size.
        where: they go.
        held: latent frames that it fills a part of, and that are known all the same.
    """
    known = sorted({*where.wholly, *held})
    span = range(known[0], known[-1] + 1)
    shown, lead = where.to_encode(span)
    latents = encode(vae, pictures[shown])[:, :, lead:]
    samples = samples_of(latent).clone()
    samples[:, :, span.start : span.stop] = latents.to(samples)
    mask = mask_of(latent)
    mask = torch.ones(1, 1, samples.shape[2], 1, 1) if mask is None else mask.clone()
    mask[:, :, span.start : span.stop] = 0
    before = pins_in(latent) or Pins(vae)
    covered = range(where.first, where.stop)
    pixels = {**before.pixels, **dict(zip(covered, pictures, strict=False))}
    pins = Pins(
        vae,
        pixels,
        frozenset(k for k in {*before.held, *held} if partly_known(k, pixels, where.timeline)),
        before.clip_vision or clip_vision,
    )
    out = {**latent, "samples": samples, "noise_mask": mask}
    return with_facts(out, pins=pins)


def partly_known(latent_frame: int, pixels: Mapping[int, Tensor], timeline: Timeline) -> bool:
    """Whether some of its pixel frames are not pinned."""
    return not all(frame in pixels for frame in timeline.span(latent_frame))


def size_of(latent: Mapping[str, Any], vae: comfy.sd.VAE) -> tuple[int, int]:
    """(height, width) in pixels of a LATENT's frames."""
    cell = grid_of(vae).stride_hw
    h, w = samples_of(latent).shape[3:]
    return h * cell, w * cell
