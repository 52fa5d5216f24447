"""Sound for a video: samples in memory or frames of a file to packets, in order of time."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from ...models.errors import InputError, NotFiniteError

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}
RATES = (1_000, 768_000)  # lowest and highest, in samples per second
CHUNK = 8192  # samples in a frame that goes to the encoder


@dataclass(frozen=True)
class Sound:
    """Samples in memory, beginning with the first video frame.

    Attributes:
        samples: (channels, n) in [-1, 1].
        rate: samples per second.
    """

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        shape = self.samples.shape
        if len(shape) != 2 or shape[0] not in LAYOUTS:
            raise InputError(
                f"sound of shape {shape}: need (channels, samples) with 1 to 6 or 8 channels."
            )
        if not RATES[0] <= self.rate <= RATES[1]:
            raise InputError(
                f"sound of {self.rate} samples a second: need {RATES[0]} to {RATES[1]}."
            )
        if not np.isfinite(self.samples).all():
            raise NotFiniteError("the sound holds NaN or infinity: check the node before.")

    @property
    def layout(self) -> str:
        return LAYOUTS[self.samples.shape[0]]

    @property
    def seconds(self) -> Fraction:
        return Fraction(self.samples.shape[1], self.rate)

    def frames(self) -> Iterator[av.AudioFrame]:
        """The samples as frames for an encoder."""
        for at in range(0, self.samples.shape[1], CHUNK):
            yield sound_frame(self.samples[:, at : at + CHUNK], self.layout, self.rate, at)


def sound_frame(samples: NDArray[np.float32], layout: str, rate: int, at: int) -> av.AudioFrame:
    """Samples (channels, n) from sample number `at` on, as a frame for an encoder."""
    piece = np.ascontiguousarray(samples, dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(piece.clip(-1, 1), "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return frame


def add_sound(
    container: av.container.OutputContainer, codec: str, rate: int, layout: str
) -> av.AudioStream:
    """A new audio stream, at `rate` or the next higher one that the codec has."""
    encoder = {"opus": "libopus"}.get(codec, codec)
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
    for frame in frames:
        for piece in fit.resample(frame):
            yield from stream.encode(piece)
    for piece in fit.resample(None):
        yield from stream.encode(piece)
    yield from stream.encode(None)
