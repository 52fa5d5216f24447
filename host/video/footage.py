"""Footage: what a VIDEO from any node consists of, to be read as often as need be."""

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy_api.latest import Input, InputImpl, Types
from torch import Tensor

from ...engine.canvas.grid import frame_rate
from ...engine.frames.stream import image_stream, with_even_sides
from ...engine.media.reader import MediaFacts, media_facts, read_frames
from ...engine.media.sound import Sound
from ...models.errors import InputError
from ..comfyui.output import temporary_file


@dataclass(frozen=True)
class Footage:
    """A VIDEO, or a part of one, that can be read.

    Attributes:
        frames: how many.
        width, height: in pixels.
        fps: frames per second.
        stream: gives a frame stream from the first frame on, at each call.
        sound: in memory, or the file that holds it; None without any.
        file: with exactly these frames, where there is one.
        facts: of `file`.
    """

    frames: int
    width: int
    height: int
    fps: Fraction
    stream: Callable[[], Iterator[Tensor]]
    sound: Sound | Path | None
    file: Path | None = None
    facts: MediaFacts | None = None

    @property
    def seconds(self) -> float:
        return float(self.frames / self.fps)


@contextmanager
def open_video(video: Input.Video) -> Iterator[Footage]:
    """A VIDEO as footage, to be read inside the block.

    Raises:
        InputError: if it has no frames, or its file cannot be read.
    """
    if isinstance(video, InputImpl.VideoFromComponents):
        yield _in_memory(video.get_components())
        return
    with _video_file(video) as path:
        facts = media_facts(path)
        yield Footage(
            facts.frames,
            facts.width,
            facts.height,
            facts.fps,
            lambda: with_even_sides(read_frames(path)),
            path if facts.sound else None,
            path,
            facts,
        )


def open_footage(video: Input.Video | Tensor, fps: Fraction) -> AbstractContextManager[Footage]:
    """A VIDEO, or an IMAGE batch at `fps` frames per second, as footage. Raises InputError."""
    return nullcontext(footage_of(video, fps)) if torch.is_tensor(video) else open_video(video)


def _in_memory(video: Types.VideoComponents) -> Footage:
    sound = None if video.audio is None else sound_from(video.audio)
    footage = footage_of(video.images, frame_rate(float(video.frame_rate)), sound)
    return replace(footage, stream=lambda: with_even_sides(footage.stream()))


def footage_of(images: Tensor, fps: Fraction, sound: Sound | None = None) -> Footage:
    """An IMAGE batch as footage. Raises InputError if there are no frames in it."""
    if images.ndim != 4 or not images.numel() or images.shape[-1] < 3:
        raise InputError(
            f"an IMAGE of shape {tuple(images.shape)} is not a video: need (frames, height, width, "
            f"3) with at least 1 frame."
        )
    frames, height, width = images.shape[:3]
    return Footage(frames, width, height, fps, lambda: image_stream(images), sound)


@contextmanager
def _video_file(video: Input.Video) -> Iterator[Path]:
    """The file behind a VIDEO; a VIDEO without one is written to one for the time of the block."""
    source = _source_of(video)
    if isinstance(source, str) and Path(source).is_file():
        yield Path(source)
        return
    path = temporary_file("source")
    try:
        if isinstance(source, io.BytesIO):
            with path.open("wb") as file:
                shutil.copyfileobj(source, file)
        else:
            video.save_to(str(path), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _source_of(video: Input.Video) -> Any:
    """The path or bytes of a VIDEO that is a whole file; None for any other.

    In newer hosts a VIDEO may be a part of its file, which only ComfyUI can cut out.
    """
    if type(video) is not InputImpl.VideoFromFile or not hasattr(video, "get_stream_source"):
        return None
    cut = {name: value for name, value in vars(video).items() if not name.endswith("__file")}
    return None if any(cut.values()) else video.get_stream_source()


def sound_from(audio: Mapping[str, Any]) -> Sound:
    """ComfyUI's AUDIO, the first of a batch.

    Raises:
        InputError: if it is not one.
    """
    try:
        waveform, rate = audio["waveform"], int(audio["sample_rate"])
        samples = waveform[0].detach().float().cpu().numpy()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise InputError("audio holds no waveform: connect an AUDIO output.") from None
    return Sound(np.asarray(samples), rate)
