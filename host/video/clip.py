"""What a VIDEO is made of: a file, or frames in memory; from any node, of any version."""

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
    """A VIDEO that can be streamed, as often as need be."""

    frames: int
    width: int
    height: int
    fps: Fraction
    stream: Callable[[], Iterator[Tensor]]  # a frame stream from the beginning
    sound: Sound | Path | None
    file: Path | None = None
    facts: MediaFacts | None = None  # of the file

    @property
    def seconds(self) -> float:
        return float(self.frames / self.fps)


@contextmanager
def opened(video: Input.Video) -> Iterator[Footage]:
    """A VIDEO as a clip, which ends with the block.

    Raises:
        InputError: if it holds no pictures, or a file that cannot be read.
    """
    if isinstance(video, InputImpl.VideoFromComponents):
        yield _in_memory(video.get_components())
        return
    with video_file(video) as path:
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


def footage_in(source: Input.Video | Tensor, rate: Fraction) -> AbstractContextManager[Footage]:
    """A VIDEO, or an IMAGE batch of `rate` frames per second, as a clip. Raises InputError."""
    return nullcontext(footage_of(source, rate)) if torch.is_tensor(source) else opened(source)


def _in_memory(whole: Types.VideoComponents) -> Footage:
    sound = None if whole.audio is None else sound_from(whole.audio)
    clip = footage_of(whole.images, frame_rate(float(whole.frame_rate)), sound)
    return replace(clip, stream=lambda: with_even_sides(clip.stream()))


def footage_of(images: Tensor, fps: Fraction, sound: Sound | None = None) -> Footage:
    """ComfyUI's IMAGE as a clip. Raises InputError if there are no frames in it."""
    if images.ndim != 4 or not images.numel() or images.shape[-1] < 3:
        raise InputError(
            f"an IMAGE of shape {tuple(images.shape)} is no video: need (frames, height, width, 3) "
            f"with at least 1 frame."
        )
    frames, height, width = images.shape[:3]
    return Footage(frames, width, height, fps, lambda: image_stream(images), sound)


@contextmanager
def video_file(video: Input.Video) -> Iterator[Path]:
    """The file behind a VIDEO; one that it does not have is made, and gone afterwards."""
    found = _stream_of(video)
    if isinstance(found, str) and Path(found).is_file():
        yield Path(found)
        return
    path = temporary_file("source")
    try:
        if isinstance(found, io.BytesIO):
            with path.open("wb") as file:
                shutil.copyfileobj(found, file)
        else:
            video.save_to(str(path), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _stream_of(video: Input.Video) -> Any:
    """What a VIDEO that is a whole file is read from.

    In newer hosts it may be a part of its file; then only ComfyUI knows which.
    """
    if type(video) is not InputImpl.VideoFromFile or not hasattr(video, "get_stream_source"):
        return None
    parts = {name: value for name, value in vars(video).items() if not name.endswith("__file")}
    return None if any(parts.values()) else video.get_stream_source()


def sound_from(audio: Mapping[str, Any]) -> Sound:
    """ComfyUI's AUDIO, of which the first of a batch is taken.

    Raises:
        InputError: if it is none.
    """
    try:
        waveform, rate = audio["waveform"], int(audio["sample_rate"])
        samples = waveform[0].detach().float().cpu().numpy()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise InputError("audio holds no waveform: connect an AUDIO output.") from None
    return Sound(np.asarray(samples), rate)
