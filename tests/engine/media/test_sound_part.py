"""Sound out of files of every kind, whole and in part."""

from fractions import Fraction

import av
import numpy as np
import pytest

from longtake.engine.container.audio import add_sound, sound_packets
from longtake.engine.media.sound import Sound
from longtake.engine.media.sound_part import SOUND_ENDINGS, open_sound, sound_of
from longtake.models.errors import InputError
from tests.engine.clips import clip

RATE = 8000
EXACT = [("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("flac", "flac"), ("mka", "pcm_s16le")]
LOSSY = [("mp3", "libmp3lame"), ("m4a", "aac"), ("aac", "aac")]


def sweep(seconds: float = 2.0) -> np.ndarray:
    """A tone that rises, so that every moment of it is another one: (1, n) in [-0.5, 0.5]."""
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 + 300 * t) * t)).astype(np.float32)[None]


def written(path, codec, samples=None, muxer=None):
    sound = Sound(sweep() if samples is None else samples, RATE)
    with av.open(path, "w", format=muxer) as container:
        stream = add_sound(container, codec, RATE, sound.layout)
        container.start_encoding()
        for packet in sound_packets(stream, sound.frames()):
            container.mux(packet)
    return path


@pytest.mark.parametrize(("ending", "codec"), EXACT)
def test_a_part_is_cut_to_the_sample(tmp_path, ending, codec):
    path = written(tmp_path / f"a.{ending}", codec, muxer={"mka": "matroska"}.get(ending))
    part = sound_of(path, Fraction(1, 2), Fraction(3, 4))
    assert (part.rate, part.samples.shape) == (RATE, (1, 6000))
    assert np.abs(part.samples - sweep()[:, 4000:10000]).max() < 1e-4
    assert sound_of(path, Fraction(0), Fraction(0)).samples.shape == (1, 16000)


@pytest.mark.parametrize(("ending", "codec"), LOSSY)
def test_what_was_compressed_keeps_its_time(tmp_path, ending, codec):
    path = written(tmp_path / f"a.{ending}", codec, muxer={"aac": "adts", "m4a": "mp4"}.get(ending))
    sound = sound_of(path, Fraction(1), Fraction(1, 2))
    wave, due = sound.samples[0], sweep()[0]
    lags = range(-1100, 1) if ending == "aac" else range(-20, 21)  # adts does not tell its delay
    fits = [np.corrcoef(wave, due[8000 + lag : 8000 + lag + len(wave)])[0, 1] for lag in lags]
    assert max(fits) > 0.9


def test_a_videos_sound_is_read_too(tmp_path):
    clip(str(tmp_path / "a.mp4"), sound=True)
    assert sound_of(tmp_path / "a.mp4", Fraction(0), Fraction(1, 4)).samples.shape == (1, 2000)


def test_what_cannot_be_had_is_said(tmp_path):
    path = written(tmp_path / "a.wav", "pcm_s16le")
    with pytest.raises(InputError, match="no sound from 9 s on"):
        sound_of(path, Fraction(9), Fraction(1))
    clip(str(tmp_path / "mute.mp4"))
    with pytest.raises(InputError, match="mute.mp4 has no sound"):
        sound_of(tmp_path / "mute.mp4", Fraction(0), Fraction(0))
    (tmp_path / "list.mp3").write_text("#EXTM3U\nfile:///etc/passwd\n", encoding="utf-8")
    with pytest.raises(InputError, match="not a file with sound: wav, mp3"):
        sound_of(tmp_path / "list.mp3", Fraction(0), Fraction(0))
    (tmp_path / "cut.flac").write_bytes(b"fLaC")
    with pytest.raises(InputError, match="damaged or cut off"):
        sound_of(tmp_path / "cut.flac", Fraction(0), Fraction(0))


def test_only_files_with_sound_are_listed_and_opened(tmp_path):
    assert len(set(SOUND_ENDINGS)) == len(SOUND_ENDINGS)
    with pytest.raises(InputError, match="does not exist"), open_sound(tmp_path / "none.wav"):
        pass
