"""The sound of a part of a file: decoded from there on, and cut to the sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from ..rounding import nearest
from .reader import MATROSKA, MOV, SEEK_BACK, container_of, open_media
from .sound import sound_frame


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
            samples = frame.to_ndarray()[:, max(0, -at) : total - at]
            if samples.shape[1]:
                yield sound_frame(samples, self.layout, self.rate, max(0, at))

    def _decoded(self) -> Iterator[av.AudioFrame]:
        with open_media(self.path) as container:
            stream = container.streams.audio[0]
            before = self.start - SEEK_BACK
            if before > 0 and container_of(self.path) in (MOV, MATROSKA):
                container.seek(round(before / stream.time_base), stream=stream)
            planar = av.AudioResampler("fltp", self.layout, self.rate)
            for frame in container.decode(stream):
                if frame.pts is not None:
                    yield from planar.resample(frame)


def sound_part(path: Path, start: Fraction, seconds: Fraction) -> SoundPart:
    """The sound of a file from a time on. Raises InputError if the file is damaged."""
    with open_media(path) as container:
        stream = container.streams.audio[0]
        return SoundPart(path, start, seconds, stream.sample_rate, stream.layout.name)
