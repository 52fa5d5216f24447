"""Beats of a piece of music, and cuts moved onto them: a few lines of numpy.

Loudness that rises from one moment to the next, summed over all pitches ("spectral flux"), peaks
where notes begin. The tempo is how far apart such peaks are; the beats are the path through the
peaks that is both strong and even.

Source:
    Ellis 2007, "Beat Tracking by Dynamic Programming", J. New Music Research 36(1).
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...models.errors import InputError, NotFiniteError

RATE = 11_025  # samples a second; beats need no treble
WINDOW, HOP = 512, 128  # samples: 46 ms, every 12 ms
PIECE = 60 * RATE  # samples that are made at a time
USUAL_OVER = 65  # moments, 0.75 s, whose mean is what is usual
LATE = WINDOW / 2 / RATE  # seconds from where a window begins to the note in its middle
TEMPI = (55.0, 210.0)  # beats a minute
USUAL, OCTAVES = 120.0, 0.6  # of several tempi that fit, those about this far from it count most
EVENNESS = 100.0  # how much an uneven step costs, against the strength of its peak


Check = Callable[[], object]
"""Called again and again while there is work; an exception from it ends that."""


class Rhythm(NamedTuple):
    """Beats in seconds, ascending, and their tempo in beats a minute, 0 if there are none."""

    beats: NDArray[np.float64]
    tempo: float


def rhythm(waveform: NDArray[np.floating], sample_rate: int, check: Check = lambda: None) -> Rhythm:
    """The beats of a piece of music.

    Args:
        waveform: (samples,) or (channels, samples), about -1 … 1.
        sample_rate: samples a second.
        check: see Check.

    Raises:
        NotFiniteError: for NaN or infinite samples.
        InputError: for no sound at all, or a sample rate that is none.
    """
    strength, per_second = onset_strength(mono(waveform, sample_rate, check), RATE, check)
    if len(strength) < 4 or strength.max() <= 0:
        return Rhythm(np.zeros(0), 0.0)
    period = _period(strength, per_second)
    beats = _track(strength / strength.std(), period, check)
    return Rhythm(beats / per_second + LATE, 60 * per_second / period)


def mono(
    waveform: NDArray[np.floating], sample_rate: int, check: Check = lambda: None
) -> NDArray[np.float64]:
    """One channel at RATE, by linear interpolation after a mean over what is left out."""
    waves = np.atleast_2d(waveform)
    samples = waves.shape[1]
    if not samples or sample_rate < 1:
        raise InputError(f"{samples} samples at {sample_rate} a second are no sound.")
    width, step = max(1, sample_rate // RATE), sample_rate / RATE
    out = np.empty(int(samples * RATE / sample_rate))
    if not np.isfinite(waves[:, -2 * width :]).all():  # of which the last are not all used
        raise _not_finite()
    for first in range(0, len(out), PIECE):  # hours of sound, a minute at a time
        check()
        at = np.arange(first, min(first + PIECE, len(out))) * step
        begin, end = max(0, int(at[0]) - width), min(samples, int(at[-1]) + width + 2)
        wave = waves[:, begin:end].astype(np.float64).mean(0)
        if not np.isfinite(wave).all():
            raise _not_finite()
        if width > 1:
            wave = np.convolve(wave, np.full(width, 1 / width), mode="same")
        out[first : first + len(at)] = np.interp(at, np.arange(begin, begin + len(wave)), wave)
    return out


def _not_finite() -> NotFiniteError:
    return NotFiniteError("the sound holds NaN or infinite samples: check the node before.")


def onset_strength(
    wave: NDArray[np.float64], rate: int, check: Check = lambda: None
) -> tuple[NDArray[np.float64], float]:
    """How much begins at each moment, less what is usual around it; and moments a second."""
    if len(wave) < WINDOW + HOP:
        return np.zeros(0), rate / HOP
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    flux, last = np.zeros(len(frames)), None  # a rise is heard when it has come about
    for part in np.array_split(np.arange(len(frames)), _parts(frames)):
        check()
        loudness = _loudness(frames[part[0] : part[-1] + 1])
        rise = np.diff(loudness, axis=0, prepend=loudness[:1] if last is None else last)
        flux[part] = np.maximum(rise, 0).sum(1)
        last = loudness[-1:]
    width = min(USUAL_OVER, len(flux))
    usual = np.convolve(flux, np.full(width, 1 / width), mode="same")
    return np.maximum(flux - usual, 0), rate / HOP


def _parts(frames: NDArray[np.float64]) -> int:
    return max(1, len(frames) // 4096)  # so that hours of sound fit into memory


def _loudness(frames: NDArray[np.float64]) -> NDArray[np.float32]:
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW)))
    return np.log1p(10 * spectrum).astype(np.float32)


def _period(strength: NDArray[np.float64], per_second: float) -> float:
    """Moments from beat to beat: the lag at which the strength is most like itself."""
    size = 1 << (2 * len(strength) - 1).bit_length()
    spectrum = np.fft.rfft(strength, size)
    alike = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(strength)]
    longest = min(len(alike) - 1, int(60 * per_second / TEMPI[0]) + 1)
    lags = np.arange(max(2, int(60 * per_second / TEMPI[1])), max(3, longest + 1))
    lags = lags[lags < len(alike)]
    if not len(lags):
        return 60 * per_second / USUAL
    octaves = np.log2(60 * per_second / lags / USUAL)
    score = alike[lags] * np.exp(-0.5 * (octaves / OCTAVES) ** 2)
    best = int(score.argmax())
    return float(lags[best]) + _between(alike, int(lags[best]))


def _between(curve: NDArray[np.float64], peak: int) -> float:
    """Where between its samples a peak lies, by a parabola: -0.5 … 0.5."""
    if not 0 < peak < len(curve) - 1:
        return 0.0
    before, here, after = curve[peak - 1 : peak + 2]
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _track(strength: NDArray[np.float64], period: float, check: Check) -> NDArray[np.float64]:
    """The moments of the beats: the best path through the strength at steps of about `period`."""
    steps = np.arange(round(period / 2), round(2 * period) + 1)
    cost = EVENNESS * np.log(steps / period) ** 2
    total, source = strength.copy(), np.full(len(strength), -1)
    for t in range(len(strength)):
        if t % 4096 == 0:
            check()
        past = t - steps
        past = past[past >= 0]
        if len(past):
            paths = total[past] - cost[: len(past)]
            best = int(paths.argmax())
            if paths[best] > 0:
                total[t], source[t] = strength[t] + paths[best], past[best]
    beats = [len(total) - 1 - int(total[::-1][: round(2 * period)].argmax())]
    while source[beats[-1]] >= 0:
        beats.append(int(source[beats[-1]]))
    return np.array([t + _between(strength, t) for t in beats[::-1]])


def snapped(
    starts: Sequence[Fraction], beats: NDArray[np.float64], most: float, end: Fraction
) -> list[Fraction]:
    """Starts of shots, each moved to the nearest beat that no shot before it has taken.

    Args:
        starts: seconds, ascending; the first stays where it is.
        beats: seconds, ascending.
        most: how many seconds a start may be moved; those with no beat so near stay.
        end: of the take; no start is moved there or beyond.
    """
    out: list[Fraction] = list(starts[:1])
    last = float(out[0]) if out else 0.0  # a beat itself: as a fraction it may seem free again
    for i, start in enumerate(starts[1:], start=1):
        ceiling = end if i + 1 == len(starts) else max(start, starts[i + 1])
        free = [b for b in beats if last < b < float(ceiling) and abs(b - start) <= most]
        nearest = min(free, key=lambda beat: abs(beat - float(start)), default=None)
        out.append(start if nearest is None else Fraction(float(nearest)).limit_denominator(10**6))
        last = float(start if nearest is None else nearest)
        if out[-1] <= out[-2]:
            out[-1], last = start, float(start)
    return out
