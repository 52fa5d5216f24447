"""A camera's path over footage, into a VIDEO."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from comfy_api.latest import Input
from PIL import Image
from torch import Tensor

from ...engine.container.publish import check_space, writing_bytes
from ...engine.frames.prefetch import prefetch
from ...engine.media.writer import write_video
from ...engine.motion.camera import CameraPath, Move, frame_times
from ...engine.motion.drawn_path import drawn_path
from ...engine.motion.moved_picture import View, picture_for, seen_by_camera, still_frames
from ...models.errors import InputError
from ..comfyui.films import film, temporary_file
from ..comfyui.progress import check_cancelled, with_progress
from .footage import Footage

SIDES = (16, 8192)  # pixels
MOST_FRAMES = 1_000_000
LIKE_IT = 0.02  # by how much the ratios of a picture's and a depth map's sides may differ


@dataclass(frozen=True)
class Lens:
    """How a camera sees.

    Attributes:
        width, height: of its frames in pixels; 0 is as the picture is.
        degrees: that it takes in from left to right.
        parallax: see View.
    """

    width: int
    height: int
    degrees: float
    parallax: float

    def view(self, footage: Footage) -> View:
        """For frames of a size that fits footage, with even sides."""
        width, height = self.width, self.height
        if not width and not height:
            width, height = footage.width, footage.height
        width = width or round(height * footage.width / footage.height)
        height = height or round(width * footage.height / footage.width)
        least, most = SIDES
        if not least <= min(width, height) <= max(width, height) <= most:
            raise InputError(f"frames of {width}×{height}: sides are {least} to {most} pixels.")
        width, height = width - width % 2, height - height % 2
        return View.of_degrees(width, height, self.degrees, self.parallax)


def length_of(footage: Footage, seconds: float, fps: Fraction) -> tuple[int, Fraction]:
    """How many frames a camera's path over footage has, and their rate.

    Args:
        seconds, fps: of a still; a clip has its own.
    """
    if footage.frames > 1:
        return footage.frames, footage.fps
    count = max(1, round(Fraction(seconds) * fps))
    if count > MOST_FRAMES:
        raise InputError(f"{count} frames: at most {MOST_FRAMES} are made of a still.")
    return count, fps


def move_camera(
    footage: Footage,
    moves: tuple[Move, ...],
    lens: Lens,
    seconds: float,
    fps: Fraction,
    depth: Tensor | None = None,
) -> tuple[Input.Video, Image.Image, str]:
    """Footage as a moving camera sees it.

    Args:
        seconds, fps: of a still; a clip has its own.
        depth: IMAGE, white is near: one map, or one for each frame; None for a flat picture.

    Returns:
        A VIDEO in ComfyUI's temp folder, with the clip's sound; the path as a picture; a line on
        what was done.

    Raises:
        InputError: for a path beyond the end or past the edges, or a map of something else.
        OutputError: if the file cannot be written.
    """
    count, rate = length_of(footage, seconds, fps)
    path, view = CameraPath(moves, count / rate), lens.view(footage)
    times, size = frame_times(count, rate), (footage.width, footage.height)
    maps = None if depth is None else nearness_maps(depth, count, size)
    picture = picture_for(path, view, size, times, depth is not None)
    file = temporary_file("camera_path")
    check_space(file.parent, writing_bytes(count, view.width, view.height))
    first = next(iter(footage.stream()))[:1]
    source = still_frames(first, count) if footage.frames == 1 else footage.stream()
    frames = seen_by_camera(source, path, view, picture, times, maps, check_cancelled)
    shown = with_progress(prefetch(frames), count)
    write_video(file, shown, rate, sound=footage.sound, check=check_cancelled)
    drawn = drawn_path(path, view, picture, Image.fromarray(first[0].numpy()))
    cropped = f", {picture.crop:.3g} times as large as a frame" if picture.crop > 1.005 else ""
    note = f"{view.width}×{view.height}, {count} frames, {float(count / rate):.2f} s"
    return film(file), drawn, "\n".join((f"{note}, of a picture{cropped}", *footage.notes))


def nearness_maps(depth: Tensor, frames: int, size: tuple[int, int]) -> Iterator[Tensor]:
    """(h, w) in [0, 1] for each frame, as large as the picture, of size (width, height).

    Raises:
        InputError: for a map of a picture of another shape, or for another number of frames.
    """
    if depth.ndim != 4:
        raise InputError(
            f"a depth map of shape {tuple(depth.shape)} is no IMAGE: need (frames, height, width, "
            f"3), as a depth node makes it."
        )
    count, high, wide = depth.shape[:3]
    width, height = size
    if count not in (1, frames):
        raise InputError(
            f"the depth map has {count} frames and the video {frames}: connect one map, or one for "
            f"each frame."
        )
    if abs(wide * height / (high * width) - 1) > LIKE_IT:
        raise InputError(
            f"the depth map is {wide}×{high}, of another shape than the picture, which is "
            f"{width}×{height}: make it from this picture."
        )
    if not torch.isfinite(depth).all():
        raise InputError("the depth map holds NaN or infinite numbers: make it anew.")
    return _maps(depth, frames, size)


def _maps(depth: Tensor, frames: int, size: tuple[int, int]) -> Iterator[Tensor]:
    for piece in depth.split(1) if len(depth) > 1 else repeat(depth, frames):
        grey = piece[..., :3].float().cpu().mean(-1)[None]
        resized = F.interpolate(grey, size[::-1], mode="bilinear", align_corners=False)
        yield resized[0, 0].clamp(0, 1)


def draw_path(moves: tuple[Move, ...], lens: Lens, seconds: float) -> Image.Image:
    """The path of a camera over a grid, where there is no picture."""
    width, height = lens.width or 1280, lens.height or (lens.width or 1280) * 9 // 16
    view = View.of_degrees(width, height, lens.degrees, lens.parallax)
    path = CameraPath(moves, Fraction(seconds))
    times = [seconds * n / 32 for n in range(33)]
    return drawn_path(path, view, picture_for(path, view, (width, height), times))


def image_of(picture: Image.Image) -> Tensor:
    """A picture as IMAGE: (1, h, w, 3) in [0, 1]."""
    return torch.from_numpy(np.asarray(picture.convert("RGB")).copy())[None].float() / 255
