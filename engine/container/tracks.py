"""The streams of a file that is being written, each a source of packets in order of time."""

import heapq
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av

from ...models.errors import InputError
from ..rounding import nearest
from .audio import SoundSource, add_sound, can_be_heard, layout_of, sound_packets, writing
from .formats import Format
from .opening import codec_of, open_media


class Track(NamedTuple):
    """A stream of the file, and what goes into it.

    Attributes:
        stream: of the container that is being written.
        packets: in order of time, made lazily.
    """

    stream: Any
    packets: Iterator[av.Packet]

    def first(self, number: int) -> "Track":
        """Only so many of its packets."""
        return self._replace(packets=islice(self.packets, number))

    def until_damage(self) -> "Track":
        """Its packets before the first that is damaged."""
        return self._replace(packets=_until_damage(self.packets))


def _until_damage(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    with suppress(av.FFmpegError):
        for packet in packets:
            if packet.is_corrupt:
                return
            yield packet


def copied_track(
    stack: ExitStack,
    container: av.container.OutputContainer,
    source: Path,
    kind: str,
    codecs: tuple[str, ...],
) -> list[Track]:
    """The first stream of a kind of another file, copied.

    Times are shifted so that the first video frame is at 0. Audio of another codec is encoded anew.

    Args:
        stack: keeps the other file open.
        container: the file that is being written.
        source: the other file.
        kind: "video" or "audio".
        codecs: that the new file may hold; audio is encoded with the first of them.

    Returns:
        One track, or none if there is no such stream.

    Raises:
        InputError: for video of another codec.
    """
    old = stack.enter_context(open_media(source))
    streams = [s for s in old.streams if s.type == kind and s.codec_context is not None]
    if not streams or (kind == "audio" and not can_be_heard(streams[0])):
        return []
    stream, video = streams[0], old.streams.video[0]
    start = (video.start_time or 0) * video.time_base
    if codec_of(stream) in codecs:
        copy = container.add_stream_from_template(stream, opaque=True)
        if kind == "video" and container.format.name != "mp4":
            copy.codec_context.codec_tag = "\0\0\0\0"
        return [Track(copy, _copied(old, stream, copy, start))]
    if kind == "video":
        raise InputError(f"{source.name} is {codec_of(stream)}, which cannot be copied here.")
    new = add_sound(container, codecs[0], stream.sample_rate, layout_of(stream))
    return [Track(new, sound_packets(new, _decoded(old, stream, start)))]


def encoded_track(
    container: av.container.OutputContainer, sound: SoundSource, form: Format
) -> Track:
    """Sound, encoded with the codec of a format."""
    stream = add_sound(container, form.sound_codecs[0], sound.rate, sound.layout)
    return Track(stream, sound_packets(stream, sound.frames()))


def _copied(old: Any, stream: Any, copy: Any, start: Fraction) -> Iterator[av.Packet]:
    shift, rate = round(start / stream.time_base), getattr(stream, "average_rate", None)
    for packet in _with_decode_times(old.demux(stream)):
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        if rate and not packet.duration:  # AV1 in mp4, with FFmpeg 7: the last would be cut off
            packet.duration = round(1 / (rate * stream.time_base))
        packet.stream = copy
        yield packet


def _with_decode_times(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """All packets that hold anything, each with the time at which it is decoded.

    Matroska stores none, and FFmpeg cannot tell that of the first packets where frames are stored
    out of order: they are decoded one after another before the first of which it can.
    """
    early: list[av.Packet] = []
    for packet in packets:
        if packet.dts is not None:
            yield from _decoded_before(packet.dts, early)
            yield packet
            early = []
        elif packet.size:  # the last packet is empty and only flushes the stream
            early.append(packet)
    if early:  # so few that it could tell of none
        yield from _decoded_before(min(packet.pts for packet in early) + 1, early)


def _decoded_before(dts: int, packets: list[av.Packet]) -> list[av.Packet]:
    for packet in reversed(packets):
        dts -= packet.duration or 1
        packet.dts = dts
    return packets


def _decoded(old: Any, stream: Any, start: Fraction) -> Iterator[av.AudioFrame]:
    for frame in old.decode(stream):
        if frame.pts is not None:
            # In samples: AVI may count in blocks of a thousand, too coarse for an encoder's frames.
            frame.pts = nearest((frame.pts * frame.time_base - start) * frame.sample_rate)
            frame.time_base = Fraction(1, frame.sample_rate)
            yield frame


def _decode_time(packet: av.Packet) -> Fraction:
    return packet.dts * packet.time_base


def mux(
    container: av.container.OutputContainer,
    tracks: list[Track],
    *,
    cut: bool = False,
    check: Callable[[], Any] = lambda: None,
) -> int:
    """Write all packets of all tracks in order of time.

    Args:
        container: open for writing, with the streams of the tracks.
        tracks: the video first.
        cut: whether to leave out sound after the end of the video.
        check: called for each packet.

    Returns:
        How many video packets were written.
    """
    frames, left = 0, [True]
    with writing():
        container.start_encoding()
    end, step = Fraction(0), Fraction(0)
    if rate := tracks[0].stream.average_rate:
        step = 1 / Fraction(rate)
    pictures = _telling(tracks[0].packets, left)
    for packet in heapq.merge(pictures, *(t.packets for t in tracks[1:]), key=_decode_time):
        check()
        if packet.stream.type == "video":
            length = packet.duration * packet.time_base if packet.duration else step
            end = max(end, packet.pts * packet.time_base + length)
            frames += 1
        elif cut and packet.pts * packet.time_base >= end:
            if not left:
                break  # an hour of sound may follow a second of video
            continue
        with writing():
            container.mux(packet)
    return frames


def _telling(packets: Iterator[av.Packet], left: list[bool]) -> Iterator[av.Packet]:
    """The packets; `left` is emptied when there are no more of them."""
    yield from packets
    left.clear()
