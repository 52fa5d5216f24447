"""A plain drum beat made of noise and sines: sound for trying out music videos without a file."""

import numpy as np
from numpy.typing import NDArray

from ...models.errors import InputError

RATE = 44_100  # samples a second
TEMPI = (30.0, 300.0)  # beats a minute
BAR = 4  # beats


def drum_beat(tempo: float, seconds: float, offset: float = 0.0) -> NDArray[np.float32]:
    """Kick and snare in turns on the beats, a hi-hat on every half.

    Args:
        tempo: beats a minute, within TEMPI.
        seconds: how long.
        offset: when the first beat is.

    Returns:
        (1, samples) in [-1, 1] at RATE; the same every time.

    Raises:
        InputError: for numbers that make no beat.
    """
    if not TEMPI[0] <= tempo <= TEMPI[1]:
        raise InputError(f"tempo {tempo}: choose {TEMPI[0]:g} to {TEMPI[1]:g} beats a minute.")
    if not 0 < seconds <= 36_000 or not 0 <= offset < seconds:
        raise InputError(f"{seconds} seconds of beats from {offset} on: there would be none.")
    wave = np.zeros(round(seconds * RATE), dtype=np.float32)
    kick, snare, hat = _kick(), _snare(), _hat()
    beats = np.arange(offset, seconds, 60 / tempo)
    for number, beat in enumerate(beats):
        _add(wave, kick if number % 2 == 0 else snare, beat, 1.0 if number % BAR == 0 else 0.8)
        _add(wave, hat, beat + 30 / tempo, 0.5)
    return wave[None].clip(-1, 1)


def _add(wave: NDArray[np.float32], sound: NDArray[np.float32], at: float, level: float) -> None:
    start = round(at * RATE)
    part = sound[: max(0, len(wave) - start)]
    wave[start : start + len(part)] += level * part


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _kick() -> NDArray[np.float32]:
    """A sine that falls from 150 to 50 Hz."""
    t = _time(0.25)
    phase = 2 * np.pi * np.cumsum(50 + 100 * np.exp(-t / 0.03)) / RATE
    return (0.8 * np.sin(phase) * np.exp(-t / 0.08)).astype(np.float32)


def _snare() -> NDArray[np.float32]:
    t = _time(0.15)
    noise = np.random.default_rng(1).standard_normal(len(t))
    tone = 0.4 * np.sin(2 * np.pi * 190 * t)
    return ((0.25 * noise + tone) * np.exp(-t / 0.04)).astype(np.float32)


def _hat() -> NDArray[np.float32]:
    """Noise without its lower half."""
    t = _time(0.04)
    noise = np.diff(np.random.default_rng(2).standard_normal(len(t) + 1))
    return (0.08 * noise * np.exp(-t / 0.01)).astype(np.float32)
