"""Where clips lie on a canvas, frame by frame."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.grid import LEAD, CausalGrid
from longtake.engine.canvas.timeline import Placement, Timeline, resampled
from longtake.models.errors import InputError

GRID = CausalGrid(channels=7, stride_t=5, stride_hw=3, patch=11)  # primes: no two can be swapped
WAN = Timeline(CausalGrid(channels=16), Fraction(8), 5)
TIMELINES = st.builds(
    Timeline,
    grid=st.builds(CausalGrid, channels=st.just(1), stride_t=st.integers(1, 7)),
    fps=st.fractions(Fraction(1, 3), 240),
    latent_frames=st.integers(1, 40),
)


@st.composite
def placements(draw):
    timeline = draw(TIMELINES)
    first = draw(st.integers(0, timeline.frames - 1))
    return Placement(timeline, first, draw(st.integers(1, 200)))


@given(timeline=TIMELINES)
def test_latent_frames_hold_all_pixel_frames_once_and_in_order(timeline):
    held = [frame for k in range(timeline.latent_frames) for frame in timeline.span(k)]
    assert held == list(range(timeline.frames))


@given(timeline=TIMELINES, data=st.data())
def test_a_frame_is_found_at_the_time_it_is_shown(timeline, data):
    frame = data.draw(st.integers(0, timeline.frames - 1))
    assert timeline.frame_at("at", float(frame / timeline.fps)) == frame


@pytest.mark.parametrize(("seconds", "frame"), [(0, 0), (0.06, 0), (0.07, 1), (2, 16), (2.125, 16)])
def test_the_nearest_frame_is_taken_and_the_end_is_the_last(seconds, frame):
    assert WAN.frame_at("at", seconds) == frame


@pytest.mark.parametrize("seconds", [-0.1, 2.2, 1e9, float("nan"), float("inf")])
def test_a_time_off_the_canvas_is_told_what_is_on_it(seconds):
    with pytest.raises(
        InputError, match=r"at .* s is not on a canvas of 2\.125 s.* its last at 2 s"
    ):
        WAN.frame_at("at", seconds)


@given(where=placements())
def test_each_frame_of_a_clip_is_counted_once(where):
    """Wholly filled latent frames, by the definition written out."""
    covered = set(range(where.first, where.stop))
    whole = [k for k in range(where.timeline.latent_frames)
             if set(where.timeline.span(k)) <= covered]  # fmt: skip
    some = [k for k in range(where.timeline.latent_frames)
            if set(where.timeline.span(k)) & covered]  # fmt: skip
    assert list(where.wholly) == whole
    assert list(where.touched) == some
    assert list(where.partly) == [k for k in some if k not in whole]


@given(where=placements(), data=st.data())
def test_what_is_encoded_ends_with_the_frames_of_those_latent_frames(where, data):
    span = data.draw(st.sampled_from([where.touched, where.wholly or where.touched]))
    shown, dropped = where.to_encode(span)
    grid = where.timeline.grid
    assert grid.latent_frames(len(shown)) == len(span) + dropped  # on the grid
    assert dropped == (0 if span.start == 0 else LEAD)
    kept = shown[-sum(len(where.timeline.span(k)) for k in span) :]
    frames = [frame for k in span for frame in where.timeline.span(k)]
    for n, frame in zip(kept, frames, strict=True):
        nearest = min(max(frame, where.first), where.first + where.count - 1)
        assert where.first + n == nearest
    assert shown == sorted(shown)


def test_a_still_in_the_middle_is_encoded_as_a_still_film():
    where = Placement(WAN, 8, 1)
    assert (where.partly, list(where.wholly)) == ((2,), [])
    assert where.to_encode(where.touched) == ([0] * 9, 2)


def test_the_first_frame_needs_nothing_before_it():
    assert Placement(WAN, 0, 1).to_encode(range(1)) == ([0], 0)


def test_frames_before_a_latent_frame_are_what_the_encoder_remembers():
    where = Placement(Timeline(GRID, Fraction(1), 9), 4, 100)  # frames 1-5 partly; 6-10 wholly
    assert where.partly == (1,)
    shown, dropped = where.to_encode(where.wholly)
    assert dropped == 2
    assert shown[:8] == [0, 0, 0, 0, 0, 1, 2, 3]  # 0, 1 lie before frame 6; the rest stands in


@pytest.mark.parametrize(("first", "count", "words"), [
    (0, 0, "no frames"), (-1, 3, "frame -1 is not on a canvas of 17"), (17, 3, "frame 17"),
])  # fmt: skip
def test_what_cannot_be_placed(first, count, words):
    with pytest.raises(InputError, match=words):
        Placement(WAN, first, count)


@given(count=st.integers(0, 300), rate=st.fractions(1, 240), fps=st.fractions(1, 240))
def test_resampling_keeps_time(count, rate, fps):
    shown = resampled(count, rate, fps, 10_000)
    assert shown == sorted(shown)
    assert bool(shown) == bool(count)
    for n, source in enumerate(shown):
        assert abs(Fraction(source) / rate - Fraction(n) / fps) <= max(1 / rate, 1 / fps)
    if count:
        assert abs(len(shown) / fps - count / rate) <= 1 / fps
        assert resampled(count, rate, rate, 10_000) == list(range(count))
        assert len(resampled(count, rate, fps, 3)) <= 3


def test_words():
    assert WAN.in_words((0,)) == "frame 0"
    assert WAN.in_words((1, 2, 4)) == "frames 1-8, 13-16"
