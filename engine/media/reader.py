"""Video files that may come from strangers: what is in them, and their frames.

Nothing a file claims is trusted. The size and length it claims must be within limits before a frame
is decoded, and frames are counted as they are read.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.errors import InputError
from ..container.audio import can_be_heard
from ..container.formats import MAX_SIDE
from ..container.opening import MATROSKA, MOV, codec_of, container_of, open_media
from ..container.salvage import salvage_command
from ..rates import MAX_RATE
from ..rounding import nearest
from .displayed import Look, displayed, look_of

CRF = re.compile(rb"[ /]crf=([0-9]{1,2}(?:\.[0-9]+)?)")
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave it out
CHUNK = 2**27  # bytes of frames at a time, at most
SEEK_BACK = 3  # seconds before a frame from which to decode, so that a keyframe comes first


@dataclass(frozen=True)
class MediaLimits:
    """The most that a file may hold.

    Attributes:
        side: pixels along the longer side of a frame.
        pixels: of one frame.
        seconds: from the first frame to the last.
        frames: in all.
        decoded: bytes of all frames as RGB.
    """

    side: int = MAX_SIDE
    pixels: int = MAX_SIDE * MAX_SIDE
    seconds: int = 4 * 3600
    frames: int = 600_000
    decoded: int = 4 * 2**40


LIMITS = MediaLimits()


@dataclass(frozen=True)
class MediaFacts:
    """What is in a video file.

    Attributes:
        frames: number of frames at times n / fps; at a constant rate, those in the file.
        width, height: in pixels, as displayed.
        fps: frames per second.
        constant: whether the file has one frame at each of these times, and no other.
        codec: of the video stream: h264, hevc, av1, vp9...
        pixel_format: FFmpeg's name for it.
        look: how stored frames are displayed.
        container: MOV (also mp4), MATROSKA (also webm), AVI or GIF.
        sound: whether there is sound that can be read.
        unheard: whether there is only sound that cannot be.
        times: of the frames in the file, in ticks and in order.
        tick: unit of the stream's times, in seconds.
    """

    frames: int
    width: int
    height: int
    fps: Fraction
    constant: bool
    codec: str
    pixel_format: str
    look: Look
    container: str
    sound: bool
    unheard: bool
    times: tuple[int, ...] = field(repr=False)
    tick: Fraction

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps

    @property
    def start(self) -> int:
        """The time of the first frame, in ticks."""
        return self.times[0]

    def frame_at(self, pts: int) -> int:
        """The number of the frame nearest to a time in ticks."""
        return nearest((pts - self.start) * self.tick * self.fps)

    def frames_between(self, start: float, stop: float | None) -> range:
        """The numbers of the frames from one time on and before another; None: to the end.

        Times are seconds of the file's own clock, in which its first frame may be late. As ComfyUI
        does it, they are rounded down to ticks.
        """
        first, last = (None if time is None else int(time / self.tick) for time in (start, stop))
        begin = self._frames_before(first)
        return range(begin, self.frames if last is None else max(begin, self._frames_before(last)))

    def _frames_before(self, pts: int) -> int:
        if self.constant:
            return bisect_left(self.times, pts)
        due = math.ceil((pts - self.start) * self.tick * self.fps)
        return min(max(0, due), self.frames)


def media_facts(path: Path, limits: MediaLimits = LIMITS) -> MediaFacts:
    """Read a file's index and its first frame.

    Raises:
        InputError: if it is not a video, is damaged or cut off, or exceeds the limits.
    """
    with open_media(path) as container:
        stream = container.streams.video[0]
        _check_claims(path, container, stream, limits)
        times = _times(path, container, stream, limits)
    with open_media(path) as container:
        return _facts(path, container, times, limits)


def _check_claims(path: Path, container: Any, stream: Any, limits: MediaLimits) -> None:
    if stream.codec_context is None:
        raise InputError(f"{path.name} is damaged, or its codec is not supported here.")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not (width > 0 and height > 0):
        raise InputError(f"{path.name} does not say how large its frames are: it is damaged.")
    _check_size(path, width, height, limits)
    seconds = (container.duration or 0) / av.time_base
    frames = stream.frames or seconds * float(stream.average_rate or 0)
    if seconds > limits.seconds or frames > limits.frames:
        raise _too_long(path, limits)
    if frames * width * height * 3 > limits.decoded:
        raise InputError(
            f"{path.name} would decode to {frames * width * height * 3 / 2**40:.1f} TiB: at most "
            f"{limits.decoded / 2**40:.0f} TiB can be read. Cut it into shorter files."
        )


def _check_size(path: Path, width: int, height: int, limits: MediaLimits) -> None:
    if max(width, height) > limits.side or width * height > limits.pixels:
        raise InputError(
            f"{path.name} has frames of {width}×{height}: at most {limits.side} pixels a side "
            f"and {limits.pixels / 1e6:.0f} megapixels can be read."
        )


def _too_long(path: Path, limits: MediaLimits) -> InputError:
    return InputError(
        f"{path.name} is too long: at most {limits.seconds / 3600:g} hours and {limits.frames} "
        f"frames can be read."
    )


def _times(path: Path, container: Any, stream: Any, limits: MediaLimits) -> list[int]:
    """The time of each frame, in ticks and in order. Nothing is decoded."""
    times, intact = [], 0
    for packet in container.demux(stream):
        time = packet.dts if packet.pts is None else packet.pts
        intact += bool(packet.size) and not packet.is_corrupt
        if packet.size and time is not None and not packet.is_discard:
            times.append(time)
        if len(times) > limits.frames:
            raise _too_long(path, limits)
    if times and "mov" in container.format.name and intact < stream.frames:
        raise InputError(
            f"{path.name} is cut off: {intact} of its {stream.frames} frames are there. "
            f"The node Salvage recovers them, or: {salvage_command(path)}"
        )
    if not times:
        raise InputError(f"{path.name} has no frames.")
    times.sort()
    if (times[-1] - times[0]) * stream.time_base > limits.seconds:
        raise _too_long(path, limits)
    return times


def _facts(path: Path, container: Any, times: list[int], limits: MediaLimits) -> MediaFacts:
    stream = container.streams.video[0]
    first = next(_frames(container, stream), None)
    if first is None:
        raise InputError(f"{path.name} has no frame that can be decoded: it is damaged.")
    look = look_of(stream, first)
    width, height = look.size
    _check_size(path, width, height, limits)
    fps, constant = _rate(stream, times)
    heard = [can_be_heard(sound) for sound in container.streams.audio[:1] if sound.codec_context]
    tick = Fraction(stream.time_base)
    last = nearest((times[-1] - times[0]) * tick * fps)
    if last >= limits.frames:
        raise _too_long(path, limits)
    return MediaFacts(
        frames=last + 1,
        width=width,
        height=height,
        fps=fps,
        constant=constant,
        codec=codec_of(stream),
        pixel_format=first.format.name,
        look=look,
        container=container_of(path),
        sound=any(heard),
        unheard=heard == [False],
        times=tuple(times),
        tick=tick,
    )


def _rate(stream: Any, times: list[int]) -> tuple[Fraction, bool]:
    """Frames per second, and whether every frame is at its time, as exactly as ticks allow."""
    claimed = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    rates = [Fraction(rate) for rate in claimed if rate and 0 < rate <= MAX_RATE]
    for fps in rates:
        ticks = 1 / (fps * stream.time_base)  # of one frame
        if all(abs(time - times[0] - n * ticks) <= 1 for n, time in enumerate(times)):
            return fps, True
    if rates:
        return rates[min(1, len(rates) - 1)], False
    if len(times) > 1 and times[-1] > times[0]:
        average = (len(times) - 1) / ((times[-1] - times[0]) * Fraction(stream.time_base))
        return min(Fraction(MAX_RATE), average.limit_denominator(1001)), False
    return Fraction(1), True


def crf_in(path: Path) -> int | None:
    """The crf that x264 or x265 recorded in a file; None if there is none."""
    with open_media(path) as container:
        packet = next(container.demux(container.streams.video[0]))
        found = CRF.search(bytes(packet)[:4096]) if packet.size else None
    return round(float(found[1])) if found and float(found[1]).is_integer() else None


def read_frames(
    path: Path,
    start: int = 0,
    stop: int | None = None,
    size: int | None = None,
    limits: MediaLimits = LIMITS,
) -> Iterator[Tensor]:
    """A file's frames as a frame stream, at the constant rate that `media_facts` gives.

    Where the file's own rate varies, each frame is repeated until the next one's time. Frames are
    shown as `Look` says: turned, in square pixels, in the colours of SDR, opaque.

    Args:
        path: of the video.
        start, stop: which frames, as in a slice: start=-9 for the last nine.
        size: frames in a chunk; by default 8, and fewer of large ones.
        limits: the most that the file may hold.

    Raises:
        InputError: as `media_facts` does, and for damage further on in the file.
    """
    facts = media_facts(path, limits)
    first, last, _ = slice(start, stop).indices(facts.frames)
    size = size or max(1, min(8, CHUNK // (3 * facts.width * facts.height)))
    chunk = []
    for frame in _at_constant_rate(path, facts, first, last):
        chunk.append(frame)
        if len(chunk) == size:
            yield torch.from_numpy(np.stack(chunk))
            chunk = []
    if chunk:
        yield torch.from_numpy(np.stack(chunk))


def _at_constant_rate(
    path: Path, facts: MediaFacts, first: int, stop: int
) -> Iterator[NDArray[np.uint8]]:
    """Frames `first` to `stop` - 1 of the constant rate, (h, w, 3)."""
    number, current = first, None  # of the next frame to give; the one on display until then
    with closing(_decoded(path, facts, first)) as frames:
        for frame in frames:
            due = number if frame.pts is None else facts.frame_at(frame.pts)
            while number < min(due, stop):
                yield current if current is not None else displayed(frame, facts.look, path.name)
                number += 1
            if number >= stop:
                return
            if due >= first or current is None or not facts.constant:
                current = displayed(frame, facts.look, path.name)
    if current is None:
        raise InputError(f"{path.name} has no frame that can be decoded: it is damaged.")
    for _ in range(number, stop):
        yield current


def _decoded(path: Path, facts: MediaFacts, first: int) -> Iterator[av.VideoFrame]:
    """Frames in order of time, beginning at number `first` or earlier."""
    with open_media(path) as container:
        # PyAV's default decodes one frame at a time. With frame threads, closing a stream before
        # its end was seen to hang.
        stream = container.streams.video[0]
        before = first - SEEK_BACK * math.ceil(facts.fps)
        if before > 0 and facts.container in (MOV, MATROSKA):
            container.seek(facts.start + round(before / facts.fps / facts.tick), stream=stream)
        yield from _frames(container, stream)


def _frames(container: Any, stream: Any) -> Iterator[av.VideoFrame]:
    """Frames in order of time, with the alpha channel that VP8 and VP9 keep beside the packets."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    alpha = ALPHA_DECODERS.get(codec_of(stream)) if tags.get("alpha_mode") == "1" else None
    if alpha not in av.codecs_available:
        yield from container.decode(stream)
        return
    decoder = av.CodecContext.create(alpha, "r")
    for packet in container.demux(stream):
        yield from decoder.decode(packet)
