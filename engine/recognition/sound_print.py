"""A fingerprint of sound that outlasts lossy codecs, other rates and loudness.

After Haitsma and Kalker (2002, "A Highly Robust Audio Fingerprinting System"): of 33 bands from 300
to 2,000 Hz, whether the difference of two neighbours grew or shrank since the moment before: 32
bits. A ledger holds eight of them a second instead of 86; what is looked up has them at eight times
as many moments, one of which is near each that was kept.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import av
import numpy as np
from numpy.typing import NDArray

RATE = 8000  # samples a second of what is listened to
WINDOW = 3072  # samples of a moment: 0.38 s
KEPT = RATE // 8  # samples from one kept moment to the next
SOUGHT = KEPT // 8  # the same for a sound that is looked up
BANDS = 33
BYTES = (BANDS - 1) // 8
EDGES = np.geomspace(300, 2000, BANDS + 1)  # in Hz
SILENCE = 1e-4  # of full scale; a moment that is quieter has no bits
BLOCK = 30 * RATE  # samples that are looked at together


def listened(frames: Iterable[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    """Sound as `sound_print` takes it: one channel at RATE, a piece at a time."""
    low = av.AudioResampler("flt", "mono", RATE)
    for frame in chain(frames, [None]):
        for piece in low.resample(frame):
            yield piece.to_ndarray()[0]


def sound_print(pieces: Iterable[NDArray[np.float32]], hop: int = KEPT) -> NDArray[np.uint8]:
    """The fingerprint of a sound.

    Args:
        pieces: its samples, (n,) each, at RATE a second.
        hop: samples from one moment to the next: KEPT, or SOUGHT for a sound that is looked up.

    Returns:
        (moments, BYTES); zeros for moments of silence.
    """
    found = [_bits(block, hop) for block in _blocks(pieces, hop)]
    return np.concatenate(found) if found else np.zeros((0, BYTES), np.uint8)


def _blocks(pieces: Iterable[NDArray[np.float32]], hop: int) -> Iterator[NDArray[np.float32]]:
    """The samples in blocks; each begins with what is needed of the block before."""
    held = np.zeros(0, np.float32)
    for piece in pieces:
        held = np.concatenate((held, piece))
        while len(held) >= BLOCK:
            yield held[:BLOCK]
            moments = (BLOCK - WINDOW - KEPT) // hop + 1
            held = held[moments * hop :]
    if len(held) >= WINDOW + KEPT:
        yield held


def _bits(samples: NDArray[np.float32], hop: int) -> NDArray[np.uint8]:
    """The bits of the moments in a block; each is compared with what was KEPT samples before."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::hop]
    energy = np.abs(np.fft.rfft(windows * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    of_bin = np.searchsorted(EDGES, np.fft.rfftfreq(WINDOW, 1 / RATE)) - 1
    bands = np.stack([energy[:, of_bin == band].sum(1) for band in range(BANDS)], axis=1)
    slope = np.log(bands[:, :-1] + 1e-9) - np.log(bands[:, 1:] + 1e-9)
    back = KEPT // hop
    bits = slope[back:] > slope[:-back]
    heard = np.sqrt((windows[back:] ** 2).mean(1)) >= SILENCE
    return np.packbits(bits & heard[:, None], axis=1)
