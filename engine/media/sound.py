"""Sound in memory, as frames for an encoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from ...models.errors import InputError, NotFiniteError
from ..container.audio import LAYOUTS

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
                f"sound of shape {shape}: need (channels, samples) with 1 to 8 channels."
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
    # Interleaved, because PyAV cannot fill eight channels one by one.
    piece = np.ascontiguousarray(samples.T.clip(-1, 1), dtype=np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(piece, "flt", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return frame


def channels_in(frame: av.AudioFrame, channels: int) -> NDArray[np.float32]:
    """The samples of a frame in the format "flt", interleaved: (channels, n)."""
    return frame.to_ndarray().reshape(-1, channels).T
