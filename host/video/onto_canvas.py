"""Clips as graphs have them (LATENT, IMAGE or VIDEO) onto a canvas."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import comfy.sd
import numpy as np
import torch
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.guidance import Guidance
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.picture import fit_in_words, fitted
from ...engine.canvas.sound_track import SoundTrack
from ...engine.canvas.timeline import resampled
from ...engine.media.sound import Sound
from ...engine.rates import frame_rate
from ...engine.rounding import nearest
from ...engine.sampling.host_presets import family_with_sound, grid_like
from ...models.errors import InputError
from ..comfyui.latent import to_canvas
from ..comfyui.progress import check_cancelled
from ..comfyui.room import check_images
from ..networks.codec import codec_for
from ..networks.vae import check_encoding
from .footage import Footage, open_footage, sound_from
from .sound import check_audio_vae, encoded_sound

SPARE = 4  # ticks of silence behind a clip's sound, of which an encoder may keep the last to itself


def frames_at(
    clip: Footage, fps: Fraction, height: int, width: int, how: str, limit: int
) -> tuple[Tensor, list[str]]:
    """A clip's frames at a canvas's rate and size.

    Args:
        clip: open.
        fps: of the canvas.
        height, width: of the canvas, in pixels.
        how: one of picture.FITS.
        limit: how many frames at most.

    Returns:
        (n, height, width, 3) float32 in [0, 1], and what there is to say.
    """
    wanted = resampled(clip.frames, clip.fps, fps, limit)
    notes = [*clip.notes]
    if clip.fps != fps:
        notes.append(f"{float(clip.fps):g} fps taken at {float(fps):g}")
    if change := fit_in_words((clip.height, clip.width), height, width, how):
        notes.append(change)
    check_images(len(wanted), width, height, "take a shorter part of the clip", copies=2)
    pieces = picked(clip.pictures(), wanted)
    return torch.cat([fitted(piece, height, width, how) for piece in pieces]), notes


def picked(stream: Iterator[Tensor], wanted: list[int]) -> Iterator[Tensor]:
    """The frames of these numbers, which never decrease, a few at a time: (n, h, w, 3)."""
    at = 0
    for chunk in stream:
        check_cancelled()
        inside = [n - at for n in wanted if at <= n < at + len(chunk)]
        at += len(chunk)
        if inside:
            yield chunk[inside]
        if at > wanted[-1]:
            return


def clip_canvas(
    clip: Any, vae: comfy.sd.VAE, fps: float = 0.0, audio_vae: comfy.sd.VAE | None = None
) -> Canvas:
    """A canvas of a whole clip. One that is a LATENT goes on it as it is, to the bit.

    Of pixels as many frames are taken as fill whole latent frames; a size that the VAE cannot pack
    is scaled to the nearest that it can.

    Args:
        clip: LATENT, IMAGE or VIDEO.
        vae: that of the model.
        fps: of an IMAGE; 0: what the model was made for.
        audio_vae: that of the model, by which a VIDEO's sound stays with its frames; None where it
            makes none, or the sound is to be sampled.
    """
    codec = codec_for(vae)
    if isinstance(clip, Mapping):
        canvas = to_canvas(clip, codec, masked=False)
        if canvas.noise is not None:
            raise InputError(
                f"the clip still holds noise of level {canvas.noise:.3g}: sample it to the end, "
                f"with SIGMAS down to 0."
            )
        sound = canvas.sound and canvas.sound.known()
        kept = canvas.kept if canvas.kept and canvas.kept.still else None
        video, fps = MaskedLatents(canvas.video.latents), canvas.timeline.fps
        guidance = canvas.guidance and canvas.guidance.handed_to(range(canvas.timeline.frames))
        return Canvas(video, codec, fps, guidance=guidance, sound=sound, kept=kept)
    grid = codec.grid
    with open_footage(clip, frame_rate(fps) if fps else codec.fps) as footage:
        rate = footage.fps
        height, width = grid.nearest_size(footage.height), grid.nearest_size(footage.width)
        check_encoding(vae, height, width)
        whole = grid.whole(footage.frames)
        pictures, notes = frames_at(footage, rate, height, width, "crop", whole)
        sound = None if audio_vae is None else footage.samples()
    if left := footage.frames - whole:
        one = "frame" if left == 1 else f"{left} frames"
        notes.append(f"the last {one} fill no latent frame and are left out")
    canvas = Canvas(MaskedLatents(codec.encode(pictures)), codec, rate, notes=tuple(notes))
    if audio_vae is not None:
        return with_own_sound(canvas, sound, audio_vae)
    return canvas.with_sound(codec.sound) if codec.sound else canvas


def with_own_sound(canvas: Canvas, sound: Sound | None, audio_vae: comfy.sd.VAE) -> Canvas:
    """The canvas of a clip with all of its sound known; silence is where it has no more."""
    canvas = with_track(canvas)
    layout = canvas.sound.layout
    check_audio_vae(audio_vae, layout)
    if sound is None:
        return canvas.noted("the clip has no sound: it is sampled, too")
    seconds = Fraction(len(canvas.sound) + SPARE, layout.rate)
    missing = max(0, ceil(seconds * sound.rate) - sound.samples.shape[1])
    whole = Sound(np.pad(sound.samples, ((0, 0), (0, missing))), sound.rate)
    latents = encoded_sound(audio_vae, whole, layout, seconds)
    latents = latents.expand(len(canvas.sound.latents), *latents.shape[1:])
    return replace(canvas, sound=canvas.sound.with_known(0, latents))


def pin_audio(
    canvas: Canvas, audio: Mapping[str, Any], audio_vae: comfy.sd.VAE, at: float
) -> Canvas:
    """A canvas with the sound of some seconds known, which the pictures are sampled to.

    Args:
        canvas: of a model that makes sound.
        audio: AUDIO.
        audio_vae: of that model.
        at: seconds from the canvas's start.

    Raises:
        InputError: for a canvas of pictures alone, another VAE, or a time past the end.
    """
    canvas, sound = with_track(canvas), sound_from(audio)
    track, layout = canvas.sound, canvas.sound.layout
    start = nearest(Fraction(at) * layout.rate)
    room = Fraction(len(track) - start, layout.rate)
    if room <= 0:
        raise InputError(
            f"at {at:g} s is past the end of a canvas of {len(track) / layout.rate:.4g} s: start "
            f"the sound sooner."
        )
    latents = encoded_sound(audio_vae, sound, layout, room)
    latents = latents.expand(len(track.latents), *latents.shape[1:])
    known = latents.shape[layout.axis] / layout.rate
    canvas = replace(canvas, sound=track.with_known(start, latents))
    return canvas.noted(f"sound known from {at:g} s to {at + known:.4g} s")


def with_track(canvas: Canvas) -> Canvas:
    """A canvas with sound, to be sampled if it had none.

    Raises:
        InputError: for latents of no model that makes sound.
    """
    if canvas.sound is not None:
        return canvas
    channels = canvas.video.latents.shape[1]
    family = family_with_sound(channels)
    if family is None:
        raise InputError(
            f"no model of {channels} channels makes sound: for a song under any other, connect it "
            f"to Save Video or Long Take."
        )
    grid, fps = grid_like(channels, with_sound=True), canvas.fps or family.settings.fps
    track = SoundTrack.beside(canvas.video.latents, grid, family.sound, Fraction(fps))
    return replace(canvas, sound=track)


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
    with open_footage(clip, frame_rate(fps) if fps else timeline.fps) as footage:
        pictures, notes = frames_at(footage, timeline.fps, *canvas.size, fit, room)
    canvas = canvas.pin_clip(pictures, first, edges).noted(*notes)
    total = -(-footage.frames * timeline.fps // footage.fps)
    if total > room:
        canvas = canvas.noted(f"{total - room} frames past the canvas's end are left out")
    return canvas


def control_clip(
    canvas: Canvas, clip: Any, strength: float, start: float, seconds: float, fit: str, fps: float
) -> Canvas:
    """A canvas that follows a clip of depth, poses, edges or the like, for VACE's checkpoints.

    Args:
        canvas: whatever is followed on it already.
        clip: IMAGE or VIDEO, of any size and rate.
        strength: how much it counts.
        start, seconds: where on the canvas it is followed; 0 seconds: as long as it is.
        fit: how it is brought to the canvas's size, one of picture.FITS.
        fps: of an IMAGE; 0: the canvas's.

    Raises:
        InputError: for a time outside the canvas.
    """
    timeline = canvas.timeline
    first = timeline.frame_at("start", start)
    room = timeline.frames - first
    wanted = max(1, nearest(Fraction(seconds) * timeline.fps)) if seconds else room
    with open_footage(clip, frame_rate(fps) if fps else timeline.fps) as footage:
        pictures, notes = frames_at(footage, timeline.fps, *canvas.size, fit, min(room, wanted))
        total = -(-footage.frames * timeline.fps // footage.fps)
    guidance = (canvas.guidance or Guidance(canvas.codec)).with_control(pictures, first, strength)
    last = first + len(pictures) - 1
    said = f"frames {first}-{last} of {timeline.frames} follow the clip at strength {strength:g}"
    if seconds and len(pictures) < min(room, wanted):
        notes.append(f"the clip ends {wanted - len(pictures)} frames before the span does")
    if not seconds and total > room:
        notes.append(f"{total - room} frames past the canvas's end are left out")
    return replace(canvas, guidance=guidance).noted(said, *notes)


def reference_images(canvas: Canvas, images: Tensor, strength: float) -> Canvas:
    """A canvas with pictures of a subject or a style, whole on white, for VACE's checkpoints.

    Args:
        canvas: whatever it holds already; references come after those that are there.
        images: (n, h, w, 1, 3 or 4) of any size; what is transparent becomes white.
        strength: how much they count.
    """
    before = canvas.guidance or Guidance(canvas.codec)
    guidance = before.with_references(images, canvas.size, strength)
    new, size = len(guidance.references) - len(before.references), images.shape[1:3]
    said = f"{new} reference{'s' * (new != 1)} at strength {strength:g}"
    if fit := fit_in_words((int(size[0]), int(size[1])), *canvas.size, "pad"):
        said += f", {fit}, on white"
    return replace(canvas, guidance=guidance).noted(said)
