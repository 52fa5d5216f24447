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

from ...engine.files import discard
from ...engine.frames.stream import few_at_a_time, image_stream, with_even_sides
from ...engine.levels import as_numbers
from ...engine.media.reader import MediaFacts, media_facts, read_frames
from ...engine.media.sound import Sound
from ...engine.media.sound_part import SoundPart, in_memory, sound_part
from ...engine.opaque import opaque
from ...engine.rates import frame_rate
from ...models.errors import InputError
from ..comfyui.films import UNTRIMMED, file_source, temporary_file, window_of
from ..comfyui.media_folders import check_there
from ..comfyui.progress import check_cancelled


@dataclass(frozen=True)
class Footage:
    """A VIDEO, or a part of one, that can be read.

    Attributes:
        frames: how many.
        width, height: in pixels.
        fps: frames per second.
        stream: gives a frame stream at each call: of all of it, or of a part, as a slice.
        sound: in memory, a part of a file's, or the file that holds it; None without any.
        file: with exactly these frames, where there is one.
        facts: of `file`.
        images: the frames, where they are an IMAGE in memory.
        origin: else the file that they are read from, and which frame of it is the first.
        notes: what there is to say about how it is read.
    """

    frames: int
    width: int
    height: int
    fps: Fraction
    stream: Callable[..., Iterator[Tensor]]
    sound: Sound | SoundPart | Path | None
    file: Path | None = None
    facts: MediaFacts | None = None
    images: Tensor | None = None
    origin: tuple[Path, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return float(self.frames / self.fps)

    def pictures(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Frames as exactly as they are known: (n, h, w, 3) in [0, 1], a few at a time."""
        if self.images is None:
            yield from map(as_numbers, self.stream(start, stop))
        else:
            yield from (
                opaque(piece.float().cpu()) for piece in few_at_a_time(self.images[start:stop])
            )

    def samples(self) -> Sound | None:
        """Its sound in memory; None without any."""
        if not isinstance(self.sound, Path):
            return in_memory(self.sound) if isinstance(self.sound, SoundPart) else self.sound
        begins = self.facts.start * self.facts.tick
        return in_memory(sound_part(self.sound, begins, self.frames / self.fps))


@contextmanager
def open_video(video: Input.Video) -> Iterator[Footage]:
    """A VIDEO as footage, to be read inside the block.

    Raises:
        InputError: if it has no frames, or its file cannot be read.
    """
    if isinstance(video, InputImpl.VideoFromComponents):
        yield _in_memory(video.get_components())
        return
    window = window_of(video)
    with _video_file(video, window) as path:
        whole = _whole_file(path)
        yield whole if window in (None, UNTRIMMED) else _part_of(whole, *window)


def _whole_file(path: Path) -> Footage:
    facts = media_facts(path)
    notes = () if facts.constant else ("its frame rate varies: frames are taken by their times",)
    notes += facts.look.notes
    return Footage(
        facts.frames,
        facts.width,
        facts.height,
        facts.fps,
        lambda start=0, stop=None: with_even_sides(read_frames(path, start, stop)),
        path if facts.sound else None,
        path,
        facts,
        origin=(path, 0),
        notes=notes,
    )


def _part_of(whole: Footage, start: float, seconds: float) -> Footage:
    """The frames that ComfyUI shows of a trimmed file, and the sound from the first of them on.

    It is no file, so it is never copied: it need not begin with a keyframe.
    """
    path, facts = whole.file, whole.facts
    part = facts.frames_between(start, start + seconds if seconds else None)
    if not part:
        length = f" for {seconds:g} s" if seconds else ""
        raise InputError(
            f"the VIDEO is trimmed to {path.name} from {start:g} s on{length}, where it has no "
            f"frame: it lasts {float(facts.seconds):.2f} s."
        )
    sound = None
    if facts.sound:
        begins = facts.start * facts.tick + part.start / facts.fps
        sound = sound_part(path, begins, len(part) / facts.fps)

    def stream(start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        asked = part[start:stop]
        return with_even_sides(read_frames(path, asked.start, asked.stop))

    return replace(
        whole,
        frames=len(part),
        stream=stream,
        sound=sound,
        file=None,
        facts=None,
        origin=(path, part.start),
    )


def open_footage(clip: Any, fps: Fraction) -> AbstractContextManager[Footage]:
    """A VIDEO, or an IMAGE batch at `fps` frames per second, as footage.

    Raises:
        InputError: if it is neither, or has no frames.
    """
    if torch.is_tensor(clip):
        return nullcontext(footage_of(clip, fps))
    if isinstance(clip, Input.Video):
        return open_video(clip)
    raise InputError(f"need an IMAGE or a VIDEO, not {type(clip).__name__}.")


def _in_memory(video: Types.VideoComponents) -> Footage:
    sound = heard(video.audio)
    footage = footage_of(video.images, frame_rate(float(video.frame_rate)), sound)
    return replace(footage, stream=lambda *part: with_even_sides(footage.stream(*part)))


def footage_of(images: Tensor, fps: Fraction, sound: Sound | None = None) -> Footage:
    """An IMAGE batch as footage. Raises InputError if there are no frames in it."""
    if images.ndim != 4 or not images.numel() or images.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"an IMAGE of shape {tuple(images.shape)} is not a video: need (frames, height, width, "
            f"3) with at least 1 frame."
        )
    if images.shape[-1] == 1:
        images = images.expand(-1, -1, -1, 3)
    frames, height, width = images.shape[:3]

    def stream(start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        for chunk in image_stream(images[start:stop]):
            check_cancelled()
            yield chunk

    transparent = images.shape[-1] == 4 and bool(images[..., 3].amin() < 1)
    notes = ("what is transparent became black",) if transparent else ()
    return Footage(frames, width, height, fps, stream, sound, images=images, notes=notes)


@contextmanager
def _video_file(video: Input.Video, window: tuple[float, float] | None) -> Iterator[Path]:
    """The file behind a VIDEO; a VIDEO without one is written to one for the time of the block."""
    source = file_source(video)
    if isinstance(source, str):
        check_there(Path(source))
        if window is not None:
            yield Path(source)
            return
    path = temporary_file("source")
    try:
        if window is not None and isinstance(source, io.BytesIO):
            with path.open("wb") as file:
                shutil.copyfileobj(source, file)
        else:
            _save(video, path)
        yield path
    finally:
        discard(path)


def _save(video: Input.Video, path: Path) -> None:
    """Have a VIDEO write itself. Raises InputError for one of another pack's that cannot."""
    try:
        video.save_to(str(path), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264)
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"the VIDEO cannot be written to a file: {type(error).__name__}: {error}. Look at the "
            f"node that it comes from."
        ) from error


def heard(audio: Mapping[str, Any] | None) -> Sound | None:
    """An optional AUDIO, the first of a batch; None for one without a sample."""
    sound = None if audio is None else sound_from(audio)
    return sound if sound is not None and sound.samples.size else None


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
