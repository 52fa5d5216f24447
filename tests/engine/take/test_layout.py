"""Shots on frames: where each begins, what is painted for it, and with which noise."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.take.layout import (
    Span,
    Windowing,
    check_windowing,
    frame_starts,
    noise_frames,
    plan_take,
    shots_in,
)
from longtake.engine.take.storyboard import Shot, StoryboardError, checked
from longtake.engine.take.storyboard_text import parse_storyboard
from longtake.models.errors import InputError

GRID = CausalGrid(channels=24, stride_t=4, stride_hw=16)
WINDOWING = Windowing(length=5, overlap=2)


def plan(text, frames, fps=8, **settings):
    shots = checked(parse_storyboard(text))
    return plan_take(shots, frames, Fraction(fps), GRID, WINDOWING._replace(**settings))


def test_one_shot_is_one_clip_in_windows():
    (clip,) = plan("a", 41).clips
    assert (clip.start, clip.frames, clip.latent_frames) == (0, 41, 11)
    assert [(w.frames[0], w.frames[-1], w.context) for w in clip.windows] == [
        (0, 4, 0),
        (3, 7, 2),
        (6, 10, 2),
    ]


def test_a_cut_begins_a_clip_on_its_very_frame():
    take = plan("[0s] a\n[0.9s cut] b", 17)
    first, second = take.clips
    assert (first.start, first.frames, first.latent_frames) == (0, 7, 3)  # 9 painted, 7 shown
    assert (second.start, second.frames, second.latent_frames) == (7, 10, 4)
    assert second.dissolve == 0
    assert take.windows == 2


def test_a_dissolve_may_fill_its_shot():
    first, second, third = plan("[0s] a\n[1s dissolve 1s] b\n[2s] c", 25).clips
    assert (second.dissolve, second.frames) == (8, 8)
    assert first.start + first.frames == third.start == 16


def test_a_dissolve_is_one_frame_at_least():
    (_, second) = plan("[0s] a\n[1s dissolve 0.001s] b", 17).clips
    assert second.dissolve == 1


def test_under_a_dissolve_both_clips_are_painted():
    first, second = plan("[0s] a\n[1s dissolve 0.5s] b", 17).clips
    assert (first.start, first.frames) == (0, 8 + 4)
    assert (second.start, second.frames, second.dissolve) == (8, 9, 4)


def test_shots_that_share_a_window_change_on_the_nearest_latent_frame():
    (clip,) = plan("[0s] a\n[0.5s cut] b\n[1.4s cut] c", 17, together=True).clips
    assert clip.spans == (Span(0, 0), Span(2, 1), Span(3, 2))  # frames 4 and 11: nearest 5 and 9
    assert [shots_in(clip, w) for w in clip.windows] == [list(clip.spans)]


def test_each_window_knows_the_shots_in_it():
    (clip,) = plan("[0s] a\n[1.2s cut] b\n[3s cut] c", 41, together=True).clips
    assert clip.spans == (Span(0, 0), Span(3, 1), Span(7, 2))
    assert [shots_in(clip, w) for w in clip.windows] == [
        [Span(0, 0), Span(3, 1)],
        [Span(0, 1), Span(4, 2)],
        [Span(0, 1), Span(1, 2)],
    ]


def test_dissolves_and_images_do_not_share():
    text = "[0s] a\n[1s dissolve] b\n[2s cut] c"
    assert len(plan(text, 25, together=True).clips) == 2
    shots = [*parse_storyboard("[0s] a"), Shot(Fraction(1), "b", image="a picture")]
    assert (
        len(plan_take(shots, 25, Fraction(8), GRID, WINDOWING._replace(together=True)).clips) == 2
    )


@given(
    starts=st.lists(st.integers(1, 400), unique=True, max_size=6),
    frames=st.integers(401, 500),
    soft=st.lists(st.integers(0, 30), min_size=6, max_size=6),
    together=st.booleans(),
)
def test_clips_show_every_frame_and_paint_enough(starts, frames, soft, together):
    fps = Fraction(24)
    shots = [Shot(Fraction(0), "a")] + [
        Shot(start / fps, "b", "dissolve" if n else "cut", Fraction(n) / fps)
        for start, n in zip(sorted(starts), soft, strict=False)
    ]
    try:
        take = plan_take(shots, frames, fps, GRID, WINDOWING._replace(together=together))
    except StoryboardError:
        assert together  # a shot too short to share a window
        return
    stop = 0
    for clip in take.clips:
        assert clip.start + clip.dissolve == stop  # with the dissolve, where the one before ends
        assert clip.dissolve <= clip.frames
        stop = clip.start + clip.frames
        painted = GRID.frames(clip.latent_frames)
        assert clip.frames <= painted < clip.frames + GRID.stride_t
        assert clip.windows[-1].frames[-1] == clip.latent_frames - 1
    assert stop == frames


def test_noise_is_the_takes_or_the_shots_own():
    shots = checked(parse_storyboard("[0s] a\n[1s cut seed 5] b\n[2s cut] c"))
    take = plan_take(shots, 25, Fraction(8), GRID, WINDOWING)
    assert [noise_frames(clip, shots, 9, GRID) for clip in take.clips] == [
        [(9, 0), (9, 1), (9, 2)],
        [(5, 0), (5, 1), (5, 2)],
        [(9, 4), (9, 5), (9, 6)],
    ]
    (clip,) = plan_take(shots, 25, Fraction(8), GRID, WINDOWING._replace(together=True)).clips
    assert noise_frames(clip, shots, 9, GRID) == [
        *((9, 0), (9, 1), (9, 2), (5, 0), (5, 1), (9, 5), (9, 6)),
    ]


@pytest.mark.parametrize(
    ("text", "frames", "told"),
    [
        ("[0s] a\n[0.03s cut] b", 17, "line 2, column 1: .* same frame .* at least 0.125s later"),
        ("[0s] a\n[2.2s cut] b", 17, "line 2, column 1: .* only 17 frames, 2.125s"),
    ],
)
def test_shots_that_fall_on_no_frame_of_their_own_are_named(text, frames, told):
    with pytest.raises(StoryboardError, match=told):
        frame_starts(checked(parse_storyboard(text)), frames, Fraction(8))


def test_shots_too_short_to_share_a_window_are_named():
    with pytest.raises(StoryboardError, match="line 3, column 1: .* at least one latent frame"):
        plan("[0s] a\n[0.25s cut] b\n[0.375s cut] c", 17, together=True)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (
            Windowing(5, 5),
            "windows of 17 frames with an overlap of 17: a window has 5 frames or more",
        ),
        (Windowing(1, 1), "windows of 1 frames with an overlap of 1.* at least 4 more"),
    ],
)
def test_windows_that_cannot_hand_over_are_refused(layout, told):
    with pytest.raises(InputError, match=told):
        check_windowing(layout, CausalGrid(6))
