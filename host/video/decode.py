"""Latents straight into a VIDEO, in memory that does not grow with its length."""

from collections.abc import Iterator
from fractions import Fraction

import comfy.sd
import torch
from comfy_api.latest import Input
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.regions import KeptPixels
from ...engine.container.formats import VISUALLY_LOSSLESS, Quality
from ...engine.container.publish import check_space, writing_bytes
from ...engine.frames.composite import composited
from ...engine.frames.prefetch import prefetch
from ...engine.frames.stream import with_a_picture, without_first
from ...engine.media.sound import Sound
from ...engine.media.writer import write_video
from ...engine.rounding import nearest
from ...models.errors import InputError
from ..comfyui.films import film, temporary_file
from ..comfyui.node_text import show_text
from ..comfyui.progress import cancel_within_networks, check_cancelled, with_progress
from ..networks.vae import decode_frames
from .decoder import VideoDecoder, frames_of
from .sound import decoded_sound


def decode_canvas(
    vae: comfy.sd.VAE,
    canvas: Canvas,
    fps: Fraction,
    quality: Quality = VISUALLY_LOSSLESS,
    audio_vae: comfy.sd.VAE | None = None,
) -> list[Input.Video]:
    """Each video of a canvas, with its sound where there is an audio VAE for it.

    Args:
        vae, audio_vae: that belong to the latents.
        canvas: sampled.
        fps: frames per second.
        quality: of the encoder.

    Raises:
        InputError: for an audio VAE where there is no sound, or of another model.
        As `decode_to_video`.
    """
    sounds: list[Sound | None] = [None] * len(canvas.video.latents)
    if audio_vae is not None:
        sounds = list(sounds_of(canvas, audio_vae))
    elif canvas.sound is not None:
        show_text("these latents have sound, too: connect audio_vae to hear it")
    if audio_vae is not None and fps != canvas.timeline.fps:
        show_text(f"the sound is of {float(canvas.timeline.fps):g} fps, and the pictures are not")
    skip = canvas.left_out
    return [
        decode_to_video(vae, one, fps, quality, skip, sound, canvas.kept)
        for one, sound in zip(canvas.video.latents.split(1), sounds, strict=True)
    ]


def decoded_frames(vae: comfy.sd.VAE, canvas: Canvas) -> Tensor:
    """All frames of a canvas as an IMAGE (n, h, w, 3), one video after another."""
    skip, kept = canvas.left_out, canvas.kept
    videos = canvas.video.latents.split(1 if skip or kept else len(canvas.video.latents))
    frames = (decode_frames(vae, video) for video in videos)
    if kept is not None:
        laid = (composited(video.split(8), kept, frames_of(vae)) for video in frames)
        frames = (torch.cat(list(chunks)) for chunks in laid)
    return torch.cat([video[skip:] for video in frames])


def sounds_of(canvas: Canvas, audio_vae: comfy.sd.VAE) -> Iterator[Sound]:
    """The sound of each video of a canvas, from the first frame that is shown."""
    if canvas.sound is None:
        raise InputError(
            "an audio VAE is connected, and these latents have no sound: disconnect it, or sample "
            "with a model that makes sound."
        )
    for latents in canvas.sound.latents.split(1):
        sound = decoded_sound(audio_vae, latents, canvas.sound.layout)
        start = nearest(canvas.left_out * sound.rate / canvas.timeline.fps)
        yield Sound(sound.samples[:, start:], sound.rate)


def decode_to_video(
    vae: comfy.sd.VAE,
    latents: Tensor,
    fps: Fraction,
    quality: Quality = VISUALLY_LOSSLESS,
    skip: int = 0,
    sound: Sound | None = None,
    kept: KeptPixels | None = None,
) -> Input.Video:
    """Decode one video into a file in ComfyUI's temp folder.

    Args:
        vae: that belongs to the latents.
        latents: (1, c, t, h, w).
        fps: frames per second.
        quality: of the encoder.
        skip: frames to leave out at the front.
        sound: from the first frame that is left on.
        kept: what is laid over the frames outside of its regions.

    Raises:
        InputError: if the latents are of more than one video.
        NotFiniteError: if a pixel is NaN or infinite.
        NoPictureError: if all frames are one colour.
        OutputError: if the file cannot be written.
    """
    decoder = VideoDecoder(vae)
    total = decoder.grid.frames(latents.shape[2]) - skip
    height, width = (side * decoder.grid.stride_hw for side in latents.shape[3:])
    path = temporary_file("longtake")
    check_space(path.parent, writing_bytes(total, width, height))
    frames = decoder.frames([latents], latents.shape[2])
    frames = composited(frames, kept, frames_of(vae))
    frames = without_first(with_a_picture(frames), skip)
    with cancel_within_networks():
        chunks = with_progress(prefetch(frames), total)
        write_video(path, chunks, fps, quality=quality, sound=sound, check=check_cancelled)
    if decoder.note:
        show_text(decoder.note)
    return film(path)
