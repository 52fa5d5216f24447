"""Latents straight into a VIDEO, in memory that does not grow with its length."""

from fractions import Fraction

import comfy.sd
from comfy_api.latest import Input
from torch import Tensor

from ...engine.frames.prefetch import prefetch
from ...engine.frames.stream import with_a_picture, without_first
from ...engine.media.formats import VISUALLY_LOSSLESS, Quality
from ...engine.media.publish import check_space, writing_bytes
from ...engine.media.writer import write_video
from ..comfyui.films import film, temporary_file
from ..comfyui.progress import cancel_within_networks, check_cancelled, with_progress
from .decoder import VideoDecoder


def decode_to_video(
    vae: comfy.sd.VAE,
    latents: Tensor,
    fps: Fraction,
    quality: Quality = VISUALLY_LOSSLESS,
    skip: int = 0,
) -> Input.Video:
    """Decode one video into a file in ComfyUI's temp folder.

    Args:
        vae: that belongs to the latents.
        latents: (1, c, t, h, w).
        fps: frames per second.
        quality: of the encoder.
        skip: frames to leave out at the front.

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
    frames = without_first(with_a_picture(frames), skip)
    with cancel_within_networks():
        chunks = with_progress(prefetch(frames), total)
        write_video(path, chunks, fps, quality=quality, check=check_cancelled)
    return film(path)
