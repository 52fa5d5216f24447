"""Sound in step with pictures: which ticks are whose, moved, cut and joined with their frames."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.codec import Codec
from longtake.engine.canvas.grid import BlockGrid, CausalGrid
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.sound_track import SoundLayout, SoundNoise, SoundTrack, Ticks
from longtake.models.errors import InputError

LTX, H3 = CausalGrid(3, stride_t=8), BlockGrid(3)
ROWS_LAST, TIME_LAST = SoundLayout((8, 16), axis=2, rate=25), SoundLayout((32, 2), axis=3, rate=40)
IN_BLOCKS = Ticks(H3, Fraction(40, 24))
IN_EIGHTS = Ticks(LTX, Fraction(25, 25))
KINDS = [(TIME_LAST, IN_BLOCKS), (ROWS_LAST, IN_EIGHTS), (ROWS_LAST, Ticks(LTX, Fraction(25, 24)))]
both_kinds = pytest.mark.parametrize(("layout", "ticks"), KINDS, ids=["H3", "LTX", "LTX at 24"])


def counted(layout, ticks, latent_frames):
    """A track whose latents say which tick they are of."""
    silent = SoundTrack.silent(layout, ticks, latent_frames)
    shape = [1] * 4
    shape[layout.axis] = len(silent)
    numbers = torch.arange(len(silent)).float().view(shape).expand(silent.latents.shape)
    return SoundTrack(numbers.clone(), layout, ticks).known()


def numbers_in(track):
    """Which ticks a counted track is made of."""
    return track.latents.movedim(track.layout.axis, 0).flatten(1)[:, 0].int().tolist()


def test_ticks_are_as_many_as_the_models_say():
    """Written out: comfy_extras/nodes_minimax_h3.py and comfy/ldm/lightricks/vae/audio_vae.py."""
    for k in range(1, 60):
        assert IN_BLOCKS.count(5 * k + 2) == round((17 * k + 5) / 24 * 40)
        assert IN_EIGHTS.count(k) == round((1 + 8 * (k - 1)) / 25 * 25)
    assert [IN_BLOCKS.count(15 * m + 12) for m in range(5)] == [85 * m + 65 for m in range(5)]


@both_kinds
def test_each_tick_belongs_to_one_latent_frame(layout, ticks):
    all_of_them = [tick for k in range(40) for tick in ticks.of(k)]
    assert all_of_them == list(range(ticks.count(40)))


@both_kinds
def test_a_whole_video_is_shown_as_it_is(layout, ticks):
    track = counted(layout, ticks, 32)
    assert numbers_in(track.at(range(32))) == list(range(len(track)))


@given(start=st.integers(0, 6), blocks=st.integers(1, 6))
def test_windows_that_begin_on_a_tick_show_what_is_there_to_the_tick(start, blocks):
    """Frames and ticks of H3 meet every 51 frames, of LTX at 25 frames a second at each latent."""
    for ticks, window in (
        (IN_BLOCKS, range(15 * start, 15 * start + 5 * blocks + 2)),
        (IN_EIGHTS, range(start, start + blocks + 1)),
    ):
        shown = ticks.shown(window)
        assert len(shown) == ticks.count(len(window))
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        assert shown[-1] == ticks.of(window[-1])[-1]


@both_kinds
@given(data=st.data())
def test_a_window_shows_as_many_ticks_as_a_clip_has_and_gives_each_back(layout, ticks, data):
    grid, t = ticks.grid, 32
    start = data.draw(st.integers(0, 20))
    window = grid.shown(range(start, start + data.draw(st.integers(2, 9))))
    track = counted(layout, ticks, t)
    part = track.at(window)
    assert len(part) == ticks.count(len(window))
    new = [k for k in window if k >= window[0] + max(1, len(window) // 2)]
    wiped = SoundTrack.silent(layout, ticks, t).with_new(window, new, part.latents)
    got = numbers_in(wiped)
    for tick in (tick for k in new for tick in ticks.of(k) if tick < len(track)):
        assert abs(got[tick] - tick) <= 1
        assert wiped.mask[tick] == 0
    outside = [tick for k in range(t) if k not in new for tick in ticks.of(k)]
    assert all(wiped.mask[tick] == 1 for tick in outside)


@both_kinds
def test_sound_that_is_known_stays_and_the_rest_is_to_be_sampled(layout, ticks):
    track = SoundTrack.silent(layout, ticks, 12)
    assert track.mask is None
    song = counted(layout, ticks, 32).latents
    known = track.with_known(5, song)
    assert numbers_in(known)[5:] == list(range(len(track) - 5))
    assert known.mask.tolist() == [1] * 5 + [0] * (len(track) - 5)
    with pytest.raises(InputError, match="start it sooner"):
        track.with_known(len(track), song)


def canvas_of(grid, layout, t, known=True):
    """A clip of t latent frames at 24 or 25 a second, its sound counted."""
    fps = Fraction(24) if grid is H3 else Fraction(25)
    codec = Codec(grid, lambda pictures: torch.zeros(1, 3, 1, 1, 1), fps, window=12)
    ticks = Ticks(grid, layout.rate / fps)
    latents = torch.arange(t).float().view(1, 1, t, 1, 1).expand(1, 3, t, 2, 2)
    sound = counted(layout, ticks, t) if known else SoundTrack.silent(layout, ticks, t)
    return Canvas(MaskedLatents(latents.clone()), codec, fps, sound=sound)


@pytest.mark.parametrize(("grid", "layout"), [(H3, TIME_LAST), (LTX, ROWS_LAST)], ids=["H3", "LTX"])
def test_sound_goes_where_its_frames_go(grid, layout):
    """Known pictures are numbered by their frame, known sound by its tick: they stay together."""
    clip = canvas_of(grid, layout, 12)
    one = float(51 / clip.fps)
    for longer in (
        clip.extend("forwards", one),
        clip.extend("backwards", one),
        clip.fill(0.4, 0.9),
        clip.bridge(clip, one),
        clip.loop(one),
    ):
        track, video = longer.sound, longer.video
        assert len(track) == track.ticks.count(video.latents.shape[2])
        heard = numbers_in(track)
        for k in range(video.latents.shape[2]):
            ticks = [tick for tick in track.ticks.of(k) if tick < len(track)]
            if k not in video.known:
                assert all(track.mask[tick] == 1 for tick in ticks)
                continue
            source = int(video.latents[0, 0, k, 0, 0])
            there = list(track.ticks.of(source))
            near = [heard[tick] for tick in ticks if track.mask[tick] == 0]
            assert len(near) >= len(ticks) - 1
            assert all(abs(a - b) <= 1 for a, b in zip(near, there, strict=False))


def test_a_clip_without_sound_of_its_own_has_none_that_is_known():
    silent = canvas_of(H3, TIME_LAST, 12, known=False)
    assert silent.extend("forwards", 1.0).sound.mask.eq(1).all()
    both = canvas_of(H3, TIME_LAST, 12).bridge(silent, 1.2)
    assert both.sound.mask[: both.sound.ticks.count(12)].eq(0).all()
    assert both.sound.mask[both.sound.ticks.count(12) :].eq(1).all()


@both_kinds
def test_noise_of_sound_belongs_to_its_frame(layout, ticks):
    grid = ticks.grid
    whole = SoundNoise([(7, k) for k in range(32)], layout, ticks).drawn()
    assert whole.shape == layout.shape(ticks.count(32))
    assert abs(whole.std() - 1) < 0.05
    window = grid.shown(range(15, 21))
    part = SoundNoise([(7, k) for k in window], layout, ticks).drawn()
    assert part.shape == layout.shape(ticks.count(len(window)))
    if ticks.per_frame.denominator == 1 or grid is H3:  # frames begin on the same ticks there
        track = SoundTrack(whole, layout, ticks)
        assert torch.equal(track.at(window).latents, part)
    other = SoundNoise([(7, k) for k in range(32)], layout, ticks, videos=2).drawn()
    assert torch.equal(other[:1], whole)
    assert not torch.equal(other[1:], whole)
    assert not torch.equal(SoundNoise([(7, k) for k in range(32)], layout, ticks).drawn(1), whole)
