"""Sound streams: what their channels are, and frames to packets, in order of time."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Protocol

import av

from ...models.errors import OutputError

LAYOUTS = dict(enumerate(("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"), start=1))
# FFmpeg's encoder of Opus puts these channels in the wrong places; its decoders of AAC differ.
ENCODED_AS = {("opus", "5.0"): "5.1", ("opus", "6.1"): "7.1", ("aac", "6.1"): "7.1"}


class SoundSource(Protocol):
    """Sound that is to be encoded, beginning with the first video frame.

    Attributes:
        rate: samples per second.
        layout: of its channels, as FFmpeg calls it.
    """

    @property
    def rate(self) -> int: ...

    @property
    def layout(self) -> str: ...

    def frames(self) -> Iterator[av.AudioFrame]:
        """The samples as frames for an encoder."""


def layout_of(stream: Any) -> str | None:
    """The layout of a file's sound as one of LAYOUTS; None for sound that cannot be decoded.

    Sound that does not say where its channels belong has as many as it has. PyAV frees a layout
    with an order of its own twice, which ends the process, once for each frame: this one is never
    freed, and no frame of such sound may be decoded.
    """
    layout = stream.codec_context.layout
    if " channels (" in layout.name:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
        return None
    return layout.name if layout.name in LAYOUTS.values() else LAYOUTS.get(layout.nb_channels)


def can_be_heard(stream: Any) -> bool:
    """Whether a file's sound can be decoded."""
    return bool(stream.sample_rate) and layout_of(stream) is not None


def add_sound(
    container: av.container.OutputContainer, codec: str, rate: int, layout: str
) -> av.AudioStream:
    """A new audio stream, at `rate` or the next higher one that the codec has."""
    encoder = {"opus": "libopus"}.get(codec, codec)
    layout = ENCODED_AS.get((codec, layout), layout)
    if codec == "opus":
        rate = 48_000  # at which Opus is decoded, whatever it was made of
    else:
        rates = av.Codec(encoder, "w").audio_rates or [rate]
        rate = min((allowed for allowed in rates if allowed >= rate), default=48_000)
    stream = container.add_stream(encoder, rate=rate, layout=layout)
    stream.codec_context.bit_rate = 96_000 * max(1, stream.codec_context.layout.nb_channels)
    return stream


def sound_packets(stream: av.AudioStream, frames: Iterator[av.AudioFrame]) -> Iterator[av.Packet]:
    """Encode audio frames. The container's `start_encoding` must have been called."""
    context = stream.codec_context
    fit = av.AudioResampler(
        context.format, context.layout, context.sample_rate, context.frame_size or None
    )
    for frame in chain(frames, [None]):
        with writing():
            pieces = fit.resample(frame)
        for piece in pieces:
            yield from packets_of(stream, piece)
    yield from packets_of(stream, None)


def packets_of(stream: Any, frame: Any) -> Iterator[av.Packet]:
    """The packets that a frame completes; None for those that remain at the end.

    One by one: an encoder holds back dozens of frames, and of large ones each takes a second.
    """
    with writing():
        for packet in stream.codec_context.encode_lazy(frame):
            packet.stream = stream
            yield packet


@contextmanager
def writing() -> Iterator[None]:
    """Tells what goes wrong inside as an error of the new file, never of the one that is read."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, EOFError):
            raise
        raise OutputError(
            f"the new file cannot be written: its encoder or container refuses what it is given "
            f"({error.strerror}). Choose another format."
        ) from error
