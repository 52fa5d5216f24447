"""Video files that may come from strangers: what is in them, their frames and their sound.

Nothing about a file is believed before it is looked at: its container must be one of a few, and it
is opened as that one, so that no text file with a video's name can lead to other files; what it
claims to hold must be within bounds before a picture is decoded, and is counted while it is.
"""

import math
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

from ...models.errors import InputError
from ..rounding import nearest
from .sound import LAYOUTS, Sound

MOV, MATROSKA, AVI, GIF = "mov", "matroska", "avi", "gif"  # as libavformat calls them
_CRF = re.compile(rb"[ /]crf=([0-9]{1,2}(?:\.[0-9]+)?)")
_COLOURS = {  # by their number in a file
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_MOV_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
READABLE = "mp4, mov, mkv, webm, avi and gif"
FASTEST = 240  # frames per second
MOST_SAMPLES = 2**29  # of sound in memory, 2 GiB: 93 minutes of stereo at 48 kHz
REACH = 3  # seconds before a frame that decoding starts, to come by a keyframe


@dataclass(frozen=True)
class MediaLimits:
    """What a file may claim to hold."""

    side: int = 8192  # pixels
    pixels: int = 8192 * 4608  # of one frame
    seconds: int = 4 * 3600
    frames: int = 600_000
    decoded: int = 4 * 2**40  # bytes


LIMITS = MediaLimits()


@dataclass(frozen=True)
class MediaFacts:
    """What is in a video file; sizes are as it is shown, times count from the first picture."""

    frames: int  # on the grid n / fps, which for a constant rate are those in the file
    width: int
    height: int
    fps: Fraction
    constant: bool  # every frame of the file lies on the grid, one to each place
    rotation: int  # degrees counterclockwise by which stored frames are turned: 0, 90, 180, 270
    codec: str  # of the pictures: h264, hevc, av1, vp9...
    pixel_format: str
    container: str  # mov (also mp4), matroska (also webm), avi, gif
    sound: bool
    start: int  # of the first picture, in the stream's ticks
    tick: Fraction  # seconds

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps

    def place(self, pts: int) -> int:
        """The frame of the grid that is nearest to a time in ticks."""
        return nearest((pts - self.start) * self.tick * self.fps)


def container_of(path: Path) -> str:
    """The kind of container by a file's first bytes.

    Raises:
        InputError: if it is no regular file, or not one of READABLE.
    """
    if not path.is_file():
        raise InputError(f"{path.name} is not a file that is there.")
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in _MOV_BOXES:
        return MOV
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return MATROSKA
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return AVI
    if head[:4] == b"GIF8":
        return GIF
    what = "is empty" if not head else "is not a video that can be read"
    raise InputError(f"{path.name} {what}: {READABLE} files are.")


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """A video file opened as what it is, with pictures in it.

    Raises:
        InputError: if it is damaged, or has no pictures; also for damage found while it is open.
    """
    kind = container_of(path)
    try:
        with av.open(str(path), format=kind, options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise InputError(f"{path.name} has no pictures in it, so it is not a video.")
            yield container
    except av.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, EOFError):
            raise
        raise InputError(
            f"{path.name} is damaged or cut off ({error.strerror}): make or fetch it again."
        ) from error


def codec_of(stream: Any) -> str:
    """The codec's own name, whichever program decodes it: av1, not libdav1d."""
    codec = stream.codec_context.codec
    return getattr(codec, "canonical_name", codec.name)


def media_facts(path: Path, limits: MediaLimits = LIMITS) -> MediaFacts:
    """Look through a file's index, and at its first picture.

    Raises:
        InputError: if it is no video, is damaged or cut off, or is beyond the limits.
    """
    with open_media(path) as container:
        stream = container.streams.video[0]
        _check_claims(path, container, stream, limits)
        times = _times(path, container, stream, limits)
    with open_media(path) as container:
        return _facts(path, container, times, limits)


def _check_claims(path: Path, container: Any, stream: Any, limits: MediaLimits) -> None:
    if stream.codec_context is None:
        raise InputError(f"{path.name} is of a codec that is not known here, or damaged.")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not (width > 0 and height > 0):
        raise InputError(f"{path.name} does not say how large its pictures are: it is damaged.")
    if max(width, height) > limits.side or width * height > limits.pixels:
        raise InputError(
            f"{path.name} has pictures of {width}×{height}: at most {limits.side} pixels a side "
            f"and {limits.pixels / 1e6:.0f} megapixels are read."
        )
    seconds = (container.duration or 0) / av.time_base
    frames = stream.frames or seconds * float(stream.average_rate or 0)
    if seconds > limits.seconds or frames > limits.frames:
        raise _too_long(path, limits)
    if frames * width * height * 3 > limits.decoded:
        raise InputError(
            f"{path.name} would be {frames * width * height * 3 / 2**40:.1f} TiB of pictures: at "
            f"most {limits.decoded / 2**40:.0f} TiB are read. Cut it into shorter files."
        )


def _too_long(path: Path, limits: MediaLimits) -> InputError:
    return InputError(
        f"{path.name} is too long: at most {limits.seconds / 3600:g} hours and {limits.frames} "
        f"frames are read."
    )


def _times(path: Path, container: Any, stream: Any, limits: MediaLimits) -> list[int]:
    """When each picture is shown, in ticks and in order. Nothing is decoded."""
    times, whole = [], 0
    for packet in container.demux(stream):
        time = packet.dts if packet.pts is None else packet.pts
        whole += bool(packet.size) and not packet.is_corrupt
        if packet.size and time is not None and not packet.is_discard:
            times.append(time)
        if len(times) > limits.frames:
            raise _too_long(path, limits)
    if times and "mov" in container.format.name and whole < stream.frames:
        raise InputError(
            f"{path.name} is cut off: {whole} of its {stream.frames} frames are there. They can "
            f"be saved with `python dev.py salvage`."
        )
    if not times:
        raise InputError(f"{path.name} has no pictures in it, so it is not a video.")
    times.sort()
    if (times[-1] - times[0]) * stream.time_base > limits.seconds:
        raise _too_long(path, limits)
    return times


def _facts(path: Path, container: Any, times: list[int], limits: MediaLimits) -> MediaFacts:
    stream = container.streams.video[0]
    first = next(container.decode(stream), None)
    if first is None:
        raise InputError(f"{path.name} has no picture that can be decoded: it is damaged.")
    turned = round(getattr(first, "rotation", 0) / 90) % 4
    size = (first.width, first.height) if turned % 2 == 0 else (first.height, first.width)
    fps, constant = _rate(stream, times)
    tick = Fraction(stream.time_base)
    last = nearest((times[-1] - times[0]) * tick * fps)
    if last >= limits.frames:
        raise _too_long(path, limits)
    return MediaFacts(
        frames=last + 1,
        width=size[0],
        height=size[1],
        fps=fps,
        constant=constant,
        rotation=turned * 90,
        codec=codec_of(stream),
        pixel_format=first.format.name,
        container=container_of(path),
        sound=_has_sound(container),
        start=times[0],
        tick=tick,
    )


def _has_sound(container: Any) -> bool:
    streams = container.streams.audio
    return bool(streams) and streams[0].codec_context is not None and bool(streams[0].sample_rate)


def _rate(stream: Any, times: list[int]) -> tuple[Fraction, bool]:
    """Frames per second, and whether every frame keeps to it as exactly as the ticks allow."""
    claimed = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    rates = [Fraction(rate) for rate in claimed if rate and 0 < rate <= FASTEST]
    for fps in rates:
        ticks = 1 / (fps * stream.time_base)  # of one frame
        if all(abs(time - times[0] - n * ticks) <= 1 for n, time in enumerate(times)):
            return fps, True
    if rates:
        return rates[min(1, len(rates) - 1)], False
    if len(times) > 1 and times[-1] > times[0]:
        average = (len(times) - 1) / ((times[-1] - times[0]) * Fraction(stream.time_base))
        return min(Fraction(FASTEST), average.limit_denominator(1001)), False
    return Fraction(1), True


def crf_in(path: Path) -> int | None:
    """The crf that x264 or x265 noted in a file; None if it did not."""
    with open_media(path) as container:
        packet = next(container.demux(container.streams.video[0]))
        found = _CRF.search(bytes(packet)[:4096]) if packet.size else None
    return round(float(found[1])) if found and float(found[1]).is_integer() else None


def read_frames(
    path: Path,
    start: int = 0,
    stop: int | None = None,
    size: int = 8,
    limits: MediaLimits = LIMITS,
) -> Iterator[Tensor]:
    """A file's pictures as a frame stream, at the constant rate that media_facts says.

    Of a file whose rate varies, each picture is shown until the next one's time. Pictures are
    turned as the file says; ten bits become eight, and what is transparent becomes black.

    Args:
        path: of the video.
        start, stop: which frames, as in a slice: start=-9 are the last nine.
        size: frames in a chunk.
        limits: of what is read.

    Raises:
        InputError: as media_facts does, or for a file that is damaged further on.
    """
    facts = media_facts(path, limits)
    first, last, _ = slice(start, stop).indices(facts.frames)
    chunk = []
    for picture in _placed(path, facts, first, last):
        chunk.append(picture)
        if len(chunk) == size:
            yield torch.from_numpy(np.stack(chunk))
            chunk = []
    if chunk:
        yield torch.from_numpy(np.stack(chunk))


def _placed(path: Path, facts: MediaFacts, first: int, last: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures of the grid's places first to last - 1."""
    at, held = first, None  # the place to be filled next; the picture shown until the next one
    with closing(_decoded(path, facts, first)) as frames:
        for frame in frames:
            place = at if frame.pts is None else facts.place(frame.pts)
            while at < min(place, last):
                yield held if held is not None else _rgb(path, frame, facts)
                at += 1
            if at >= last:
                return
            if place >= first or held is None or not facts.constant:
                held = _rgb(path, frame, facts)
    if held is None:
        raise InputError(f"{path.name} has no picture that can be decoded: it is damaged.")
    for _ in range(at, last):
        yield held


def _decoded(path: Path, facts: MediaFacts, first: int) -> Iterator[av.VideoFrame]:
    """Frames in order of time, from `first` of the grid or earlier."""
    with open_media(path) as container:
        stream = container.streams.video[0]  # its frames are decoded one after another: threads
        # that decode several at once have been seen not to end when a stream is left early
        before = first - REACH * math.ceil(facts.fps)
        if before > 0 and facts.container in (MOV, MATROSKA):
            container.seek(facts.start + round(before / facts.fps / facts.tick), stream=stream)
        yield from container.decode(stream)


def _rgb(path: Path, frame: av.VideoFrame, facts: MediaFacts) -> NDArray[np.uint8]:
    """(h, w, 3) as it is shown."""
    turned = facts.rotation // 90
    size = (frame.width, frame.height)[:: -1 if turned % 2 else 1]
    if size != (facts.width, facts.height):
        raise InputError(
            f"{path.name} changes from {facts.width}×{facts.height} to {size[0]}×{size[1]} on the "
            f"way: a video has one size."
        )
    alpha = any(component.is_alpha for component in frame.format.components)
    picture = VideoReformatter().reformat(
        frame,
        format="rgba" if alpha else "rgb24",
        src_colorspace=_colours(frame),
    )
    pixels = picture.to_ndarray()
    if alpha:
        seen = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * seen + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(pixels, turned))


def _colours(frame: av.VideoFrame) -> Colorspace | None:
    """What the numbers of a frame mean; where it does not say, what players assume."""
    if frame.format.is_rgb or frame.format.has_palette:
        return None
    usual = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    return _COLOURS.get(int(frame.colorspace), usual)


def sound_of(path: Path) -> Sound | None:
    """The sound of a video in memory, from its first picture on; None if it has none.

    Raises:
        InputError: if the file is no video or is damaged, or the sound is too much.
    """
    with open_media(path) as container:
        if not _has_sound(container):
            return None
        pictures, stream = container.streams.video[0], container.streams.audio[0]
        begin = float((pictures.start_time or 0) * pictures.time_base)
        rate = stream.sample_rate
        layout = LAYOUTS.get(stream.layout.nb_channels, "stereo")
        fit = av.AudioResampler("fltp", layout, rate)
        pieces, samples, at = [], 0, None
        for frame in container.decode(stream):
            if at is None:
                at = round((float(frame.time or 0) - begin) * rate)
            samples += frame.samples * stream.layout.nb_channels
            if samples > MOST_SAMPLES:
                raise InputError(f"{path.name} has too much sound to be held in memory.")
            pieces += [piece.to_ndarray() for piece in fit.resample(frame)]
        pieces += [piece.to_ndarray() for piece in fit.resample(None)]
    if not pieces:
        return None
    samples = np.concatenate(pieces, axis=1)
    early = np.zeros((len(samples), max(0, at)), np.float32)
    return Sound(np.concatenate([early, samples[:, max(0, -at) :]], axis=1), rate)
