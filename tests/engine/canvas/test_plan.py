"""Which latent frames a model is shown in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.plan import (
    Window,
    backwards,
    between,
    check_overlap,
    consecutive,
    forwards,
    usual_overlap,
)
from longtake.models.errors import InputError

WINDOWS = st.integers(2, 31).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w - 1)))


def sampled(plan, known: set[int]) -> set[int]:
    """What is known at the end; each window must meet the rules that Sample goes by."""
    known = set(known)
    for frames, context in plan:
        assert set(frames) - known, "a window that samples nothing"
        assert set(frames) & known, "a window that sees nothing known"
        if frames[0] not in known and frames[0] != 0:
            assert context == 1  # sampled as a first frame, so it has to be done again
        else:
            assert set(frames[:context]) <= known
        known |= set(frames[context:])
    return known


@given(known=st.integers(1, 50), new=st.integers(1, 90), sizes=WINDOWS)
def test_forwards_gives_all(known, new, sizes):
    window, overlap = sizes
    plan = forwards(known, known + new, window, min(overlap, known))
    assert sampled(plan, set(range(known))) == set(range(known + new))
    for frames, _ in plan:
        assert list(frames) == list(range(frames[0], frames[-1] + 1))
        assert len(frames) == min(window, known + new)


@given(unknown=st.integers(1, 90), known=st.integers(1, 50), sizes=WINDOWS)
def test_backwards_gives_all(unknown, known, sizes):
    window, overlap = sizes
    total, overlap = unknown + known, min(overlap, known)
    if window - overlap < 2 and unknown > window - overlap:
        with pytest.raises(InputError, match="sampled again by the next"):
            backwards(unknown, total, window, overlap)
        return
    plan = backwards(unknown, total, window, overlap)
    assert sampled(plan, set(range(unknown, total))) == set(range(total))
    assert plan[-1].frames[0] == 0
    assert all(len(frames) == min(window, total) for frames, _ in plan)


@given(
    before=st.integers(1, 40), gap=st.integers(1, 60), after=st.integers(1, 40),
    window=st.integers(3, 31),
)  # fmt: skip
def test_a_gap_is_filled_from_one_side_and_closed_towards_the_other(before, gap, after, window):
    order = list(range(before + gap + after))
    sides = tuple(order[:before]), tuple(order[before : before + gap]), tuple(order[-after:])
    plan = between(*sides, window, usual_overlap(window))
    assert sampled(plan, {*sides[0], *sides[2]}) == set(order)
    assert plan[-1].frames[-1] in sides[2], "the last window does not see where to arrive"
    assert max(len(frames) for frames, _ in plan) <= window


def test_a_loop_may_jump():
    (only,) = between((0, 1, 2, 3, 4), (5, 6), (7,), 5, 2)
    assert only == Window((3, 4, 5, 6, 7))


def test_both_sides_of_a_gap_are_seen_alike():
    (one,) = between((0, 1, 2, 3, 4), (5, 6), (7, 8, 9, 10), 5, 2)
    assert one == Window((4, 5, 6, 7, 8))
    (many,) = between(tuple(range(21)), (21, 22, 23), tuple(range(24, 45)), 21, 4)
    assert many == Window(tuple(range(12, 33)))


def test_backwards_in_numbers():
    """Windows of 5 with 2 known: each samples 3, of which the first is sampled again."""
    assert backwards(4, 8, 5, 2) == (
        Window((1, 2, 3, 4, 5), context=1),
        Window((0, 1, 2, 3, 4)),
    )


@pytest.mark.parametrize(("window", "overlap"), [(5, 2), (21, 4), (31, 6), (25, 5), (2, 1)])
def test_the_usual_overlap(window, overlap):
    assert usual_overlap(window) == check_overlap(overlap, window)


@pytest.mark.parametrize("overlap", [0, -1, 5, 6])
def test_an_overlap_as_long_as_the_window_is_refused(overlap):
    with pytest.raises(InputError, match=f"an overlap of {overlap} .* choose 1 to 4"):
        forwards(5, 9, 5, overlap)


LENGTHS = {"total": st.integers(1, 400), "window": st.integers(2, 40), "data": st.data()}


@given(**LENGTHS)
def test_consecutive_windows_give_every_frame_once_and_in_order(total, window, data):
    plan = consecutive(total, window, data.draw(st.integers(1, window - 1)))
    assert [frame for one in plan for frame in one.new] == list(range(total))


@given(**LENGTHS)
def test_each_is_full_and_its_context_at_least_as_long_as_asked(total, window, data):
    overlap = data.draw(st.integers(1, window - 1))
    first, *rest = consecutive(total, window, overlap)
    assert first == Window(tuple(range(min(total, window))))
    assert all(
        list(one.frames) == list(range(one.frames[0], one.frames[0] + window)) for one in rest
    )
    assert all(one.context == overlap for one in rest[:-1])
    assert all(overlap <= one.context < window for one in rest)


@given(**LENGTHS)
def test_there_are_no_more_windows_than_needed(total, window, data):
    overlap = data.draw(st.integers(1, window - 1))
    rest = -(-max(0, total - window) // (window - overlap))
    assert len(consecutive(total, window, overlap)) == 1 + rest


def test_the_last_window_slides_back():
    assert consecutive(9, 5, 2) == (
        Window((0, 1, 2, 3, 4)),
        Window((3, 4, 5, 6, 7), context=2),
        Window((4, 5, 6, 7, 8), context=4),
    )


def test_a_short_take_is_one_window_whatever_the_overlap():
    assert consecutive(3, 5, 0) == (Window((0, 1, 2)),)


@pytest.mark.parametrize(
    ("total", "window", "overlap", "words"),
    [
        (0, 5, 1, "both must be 1 or more"),
        (9, 0, 1, "both must be 1 or more"),
        (9, 5, 5, "an overlap of 5 latent frames in windows of 5: choose 1 to 4"),
        (9, 5, 0, "choose 1 to 4"),
        (9, 5, -1, "choose 1 to 4"),
    ],
)
def test_numbers_that_make_no_plan_are_refused(total, window, overlap, words):
    with pytest.raises(InputError, match=words):
        consecutive(total, window, overlap)
