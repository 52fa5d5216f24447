"""The sound of a part of a file: decoded from there on, and cut to the sample."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ...models.cpu.bands import look
from ...models.errors import InputError
from ..container.audio import LAYOUTS, layout_of
from ..container.opening import GIF, MATROSKA, MOV, container_of, opened_as
from ..rounding import nearest
from .reader import SEEK_BACK
from .sound import Sound, channels_in, sound_frame

LONGEST_SOUND = 3 * 3600  # seconds in memory: 4 GB of stereo
READABLE_SOUND = "wav, mp3, flac, ogg, opus, m4a, aac and aiff, and mp4, mov, mkv, webm and avi"
SOUND_ENDINGS = (
    *(".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".mka"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"),
)


@dataclass(frozen=True)
class SoundPart:
    """The first sound of a file between two times, to be encoded as Sound is.

    Attributes:
        path: of the file, which has sound.
        start: where it begins, in seconds of the file's own clock.
        seconds: how long it is.
        rate: samples per second.
        layout: of its channels, as FFmpeg calls it.
    """

    path: Path
    start: Fraction
    seconds: Fraction
    rate: int
    layout: str

    def frames(self) -> Iterator[av.AudioFrame]:
        """The samples as frames for an encoder; sound that begins later keeps its time."""
        total = nearest(self.seconds * self.rate)
        for frame in self._decoded():
            at = nearest((frame.pts * frame.time_base - self.start) * self.rate)
            if at >= total:
                return
            samples = channels_in(frame, frame.layout.nb_channels)[:, max(0, -at) : total - at]
            if samples.shape[1]:
                yield sound_frame(samples, self.layout, self.rate, max(0, at))

    def _decoded(self) -> Iterator[av.AudioFrame]:
        with open_sound(self.path) as container:
            stream = container.streams.audio[0]
            before = self.start - SEEK_BACK
            if before > 0 and kind_of(self.path) in (MOV, MATROSKA):
                container.seek(round(before / stream.time_base), stream=stream)
            floats = av.AudioResampler("flt", self.layout, self.rate)
            for frame in container.decode(stream):
                if frame.pts is not None:
                    yield from floats.resample(frame)


def sound_part(path: Path, start: Fraction, seconds: Fraction) -> SoundPart:
    """The sound of a file from a time on. Raises InputError if the file is damaged."""
    with open_sound(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path.name} has no sound.")
        stream = container.streams.audio[0]
        layout = layout_of(stream)
        if layout is None:
            raise InputError(
                f"the sound of {path.name} has channels in an order of their own, which cannot be "
                f"read: convert it to one of {', '.join(LAYOUTS.values())}."
            )
        return SoundPart(path, start, seconds, stream.sample_rate, layout)


def sound_of(path: Path, start: Fraction, seconds: Fraction) -> Sound:
    """The sound of an audio or video file in memory.

    Args:
        start: seconds from the file's beginning.
        seconds: how long; 0 for all there is.

    Raises:
        InputError: if the file is damaged, holds no sound or too much, or none from `start` on.
    """
    with open_sound(path) as container:
        begins = Fraction(container.start_time or 0, av.time_base)
    part = sound_part(path, begins + start, seconds or Fraction(LONGEST_SOUND + 1))
    if (sound := in_memory(part)) is None:
        raise InputError(f"{path.name} has no sound from {float(start):g} s on: begin sooner.")
    return sound


def in_memory(part: SoundPart) -> Sound | None:
    """The samples of a part of a file; None if there are none in it.

    Raises:
        InputError: if it holds too much, or the file is damaged.
    """
    channels = av.AudioLayout(part.layout).nb_channels
    pieces = []
    for frame in part.frames():
        look()
        pieces.append((frame.pts, channels_in(frame, channels)))
    if not pieces:
        return None
    length = pieces[-1][0] + pieces[-1][1].shape[1]
    if length > LONGEST_SOUND * part.rate:
        raise InputError(
            f"{part.path.name} holds more than {LONGEST_SOUND // 3600} hours of sound: choose "
            f"fewer seconds of it."
        )
    samples = np.zeros((pieces[0][1].shape[0], length), np.float32)
    for at, piece in pieces:
        look()
        samples[:, at : at + piece.shape[1]] = piece
    return Sound(samples, part.rate)


def open_sound(path: Path) -> AbstractContextManager[av.container.InputContainer]:
    """Open an audio or video file as what its first bytes say it is. Raises as `kind_of` does."""
    return opened_as(kind_of(path), path)


def kind_of(path: Path) -> str:
    """The kind of audio or video file, by its first bytes.

    Raises:
        InputError: if it is not a regular file, or none of READABLE_SOUND.
    """
    if not path.is_file():
        raise InputError(f"{path.name} does not exist, or is not a file.")
    with path.open("rb") as file:
        kind = _sound_kind(file.read(12))
    if kind is None:
        with suppress(InputError):
            kind = container_of(path)
    if kind is None or kind == GIF:
        raise InputError(f"{path.name} is not a file with sound: {READABLE_SOUND} files can be.")
    return kind


def _sound_kind(head: bytes) -> str | None:
    """The kind of audio file by its first 12 bytes, as libavformat calls it; None for others."""
    marks = {b"fLaC": "flac", b"OggS": "ogg"}
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:3] == b"ID3":
        return "mp3"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0:  # a frame's first bits
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    return marks.get(head[:4])
