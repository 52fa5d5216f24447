"""Beats found in music that the test makes itself, so that they are known."""

from fractions import Fraction

import numpy as np
import pytest

from longtake.engine.take.beats import mono, rhythm, snapped
from longtake.engine.take.drums import RATE, drum_beat
from longtake.models.errors import InputError, NotFiniteError


def clicks(tempo, offset, seconds, rate=44_100, *, noise=0.0, melody=0.0, seed=1):
    """Short decaying tones on every beat, over noise and a held chord; beats in seconds."""
    rng = np.random.default_rng(seed)
    beats = np.arange(offset, seconds, 60 / tempo)
    time = np.arange(int(seconds * rate)) / rate
    wave = noise * rng.standard_normal(len(time))
    wave += melody * sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330)) / 3
    tone_time = np.arange(int(0.06 * rate)) / rate
    for number, beat in enumerate(beats):
        tone = np.sin(2 * np.pi * (1200 if number % 4 else 800) * tone_time)
        at = round(beat * rate)
        part = (0.8 * tone * np.exp(-tone_time / 0.015))[: len(wave) - at]
        wave[at : at + len(part)] += part
    return wave, beats


@pytest.mark.parametrize(
    ("tempo", "offset"), [(70, 0.4), (96, 0.1), (120, 0.0), (128, 0.31), (150, 0.2), (174, 0.05)]
)
def test_beats_of_a_click_track(tempo, offset):
    wave, truth = clicks(tempo, offset, 12)
    found = rhythm(wave, 44_100)
    assert found.tempo == pytest.approx(tempo, rel=0.02)
    inner = truth[(truth > 0.2) & (truth < 11.5)]
    errors = [np.abs(found.beats - beat).min() for beat in inner]
    assert max(errors) < 0.02  # half a frame at 24 a second
    assert len(found.beats) <= len(truth) + 1


def test_beats_under_noise_and_music():
    wave, truth = clicks(104, 0.25, 20, 22_050, noise=0.02, melody=0.3)
    found = rhythm(np.stack((wave, 0.5 * wave)), 22_050)
    errors = [np.abs(found.beats - beat).min() for beat in truth[1:-1]]
    assert np.quantile(errors, 0.9) < 0.03


def test_silence_and_a_blip_have_no_beats():
    assert len(rhythm(np.zeros(44_100), 44_100).beats) == 0
    assert rhythm(np.zeros((2, 300)), 44_100).tempo == 0


@pytest.mark.parametrize("seconds", [0.07, 0.3, 0.73])
def test_a_sound_shorter_than_what_is_usual_is_listened_to_all_the_same(seconds):
    wave, _ = clicks(120, 0.03, seconds)
    assert (rhythm(wave, 44_100).beats <= seconds).all()


def test_what_is_no_sound_is_refused():
    with pytest.raises(NotFiniteError, match="NaN"):
        rhythm(np.array([0.0, np.nan]), 44_100)
    with pytest.raises(InputError, match="0 samples"):
        rhythm(np.zeros((2, 0)), 44_100)
    with pytest.raises(InputError, match="at 0 a second"):
        rhythm(np.zeros(5), 0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 48_000])
def test_any_rate_becomes_the_one_it_works_at(rate):
    time = np.arange(rate) / rate
    wave = mono(np.sin(2 * np.pi * 100 * time), rate)
    expected = np.sin(2 * np.pi * 100 * np.arange(len(wave)) / 11_025)
    assert len(wave) == 11_025
    assert np.abs(wave - expected)[50:-50].max() < 0.05


def test_cuts_move_to_the_nearest_free_beat():
    beats = np.arange(0, 20, 0.5)
    starts = [Fraction(n) for n in ("0", "0.6", "0.7", "3.1", "9.99")]
    moved = snapped(starts, beats, 0.5, Fraction(12))
    assert [float(start) for start in moved] == [0, 0.5, 1.0, 3.0, 10.0]


def test_a_beat_that_is_taken_is_not_free_again():
    """As a fraction, which may be a little less, it seemed to be."""
    starts, beats = [Fraction(n) for n in (0, 6, 9)], np.array([6.079153506095523, 14.75])
    moved = snapped(starts, beats, 9.0, Fraction(40))
    assert [round(float(start), 3) for start in moved] == [0, 6.079, 14.75]


def test_cuts_with_no_beat_near_stay_and_none_leaves_the_take():
    starts = [Fraction(n) for n in ("0", "4.3", "9.8")]
    assert snapped(starts, np.array([1.0, 10.0]), 0.5, Fraction(10)) == starts
    assert snapped(starts, np.zeros(0), 9.0, Fraction(10)) == starts


@pytest.mark.parametrize(("tempo", "offset"), [(84, 0.2), (120, 0.0), (140, 0.33)])
def test_our_own_drum_beat_has_the_beats_it_says(tempo, offset):
    wave = drum_beat(tempo, 12.0, offset)
    assert wave.shape == (1, 12 * RATE)
    assert 0.5 < np.abs(wave).max() <= 1
    found = rhythm(wave, RATE)
    assert found.tempo == pytest.approx(tempo, rel=0.02)
    truth = np.arange(offset, 12, 60 / tempo)
    inner = truth[(truth > 0.3) & (truth < 11.5)]
    assert max(np.abs(found.beats - beat).min() for beat in inner) < 0.03


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((10, 5, 0), "tempo 10"),
        ((float("nan"), 5, 0), "tempo nan"),
        ((120, 0, 0), "there would be none"),
        ((120, 5, 5), "there would be none"),
        ((120, 5, -1), "there would be none"),
    ],
)
def test_numbers_that_make_no_beat_are_refused(numbers, told):
    with pytest.raises(InputError, match=told):
        drum_beat(*numbers)
