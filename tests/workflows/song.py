"""The song that a workflow begins with: four chords, a bass, a tune and drums.

    .venv/bin/python tests/workflows/song.py

writes samples/longtake_song.mp3. It was made for this pack, by this program.
"""

import sys
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from pack import register

    register()

from longtake.engine.take.drums import RATE, drum_beat

TEMPO = 96.0  # beats a minute
BEAT = 60 / TEMPO
BARS = 8
SECONDS = BARS * 4 * BEAT
CHORDS = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))  # A minor, F, C, G; MIDI's notes
TUNE = (76, 72, 69, 72, 74, 72, 69, 65, 67, 72, 76, 79, 74, 71, 67, 71)  # two a bar
BIT_RATE = 48_000
FILE = Path(__file__).resolve().parents[2] / "samples" / "longtake_song.mp3"


def tone(note: int, seconds: float, partials: tuple[float, ...], fall: float) -> NDArray:
    """A note of some overtones, which swells for a moment and dies away."""
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = 440 * 2 ** ((note - 69) / 12)
    wave = sum(a * np.sin(2 * np.pi * pitch * n * t) for n, a in enumerate(partials, 1))
    return wave * np.exp(-t / fall) * np.minimum(1, t / 0.02) * np.minimum(1, (seconds - t) / 0.05)


def song() -> NDArray[np.float32]:
    """(samples,) in [-1, 1] at RATE."""
    whole = 0.55 * drum_beat(TEMPO, SECONDS)[0].astype(np.float64)

    def add(at: float, wave: NDArray) -> None:
        start = round(at * BEAT * RATE)
        part = whole[start : start + len(wave)]
        part += wave[: len(part)]

    for bar in range(BARS):
        chord = CHORDS[bar % 4]
        for note in chord:
            add(4 * bar, 0.06 * tone(note, 4 * BEAT, (1, 0.5, 0.25, 0.12), 3.0))
        for eighth in range(8):
            add(4 * bar + eighth / 2, 0.16 * tone(chord[0] - 24, BEAT / 2, (1, 0.6, 0.3), 0.25))
        for half in range(2) if bar >= 2 else ():
            note = TUNE[(2 * bar + half) % len(TUNE)]
            add(4 * bar + 2 * half, 0.12 * tone(note, 2 * BEAT, (1, 0.2, 0.1), 0.5))
    whole[-RATE // 2 :] *= np.linspace(1, 0, RATE // 2)
    return (0.9 * whole / np.abs(whole).max()).astype(np.float32)


def main() -> None:
    with av.open(FILE, "w") as container:
        stream = container.add_stream("mp3", rate=RATE, layout="mono")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(song()[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


if __name__ == "__main__":
    main()
