"""Which latent frames a model is shown in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.passes import (
    Pass,
    backwards,
    between,
    check_overlap,
    forwards,
    usual_overlap,
)
from longtake.models.errors import InputError

WINDOWS = st.integers(2, 31).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w - 1)))


def painted(passes, known: set[int]) -> set[int]:
    """What is known at the end; each pass must meet the rules that Sample goes by."""
    known = set(known)
    for frames, scratch in passes:
        new = set(frames) - known
        assert new, "a pass that paints nothing"
        assert scratch in (0, 1)
        if frames[0] not in known and frames[0] != 0:
            assert scratch == 1  # painted as a first frame, so it has to be painted again
        assert set(frames) & known, "a pass that sees nothing known"
        known |= set(frames[scratch:])
    return known


@given(known=st.integers(1, 50), new=st.integers(1, 90), sizes=WINDOWS)
def test_forwards_paints_all_and_nothing_twice(known, new, sizes):
    window, overlap = sizes
    passes = forwards(known, known + new, window, min(overlap, known))
    assert painted(passes, set(range(known))) == set(range(known + new))
    for frames, scratch in passes:
        assert scratch == 0
        assert list(frames) == list(range(frames[0], frames[-1] + 1))
        assert len(frames) == min(window, known + new)


@given(unknown=st.integers(1, 90), known=st.integers(1, 50), sizes=WINDOWS)
def test_backwards_paints_all(unknown, known, sizes):
    window, overlap = sizes
    total, overlap = unknown + known, min(overlap, known)
    if window - overlap < 2 and unknown > window - overlap:
        with pytest.raises(InputError, match="painted again by the next"):
            backwards(unknown, total, window, overlap)
        return
    passes = backwards(unknown, total, window, overlap)
    assert painted(passes, set(range(unknown, total))) == set(range(total))
    assert passes[-1].frames[0] == 0
    assert all(len(frames) == min(window, total) for frames, _ in passes)


@given(
    before=st.integers(1, 40), gap=st.integers(1, 60), after=st.integers(1, 40),
    window=st.integers(3, 31),
)  # fmt: skip
def test_a_gap_is_painted_from_one_side_and_closed_towards_the_other(before, gap, after, window):
    order = list(range(before + gap + after))
    sides = tuple(order[:before]), tuple(order[before : before + gap]), tuple(order[-after:])
    passes = between(*sides, window, usual_overlap(window))
    assert painted(passes, {*sides[0], *sides[2]}) == set(order)
    assert passes[-1].frames[-1] in sides[2], "the last pass does not see where to arrive"
    assert max(len(frames) for frames, _ in passes) <= window


def test_a_loop_may_jump():
    (only,) = between((0, 1, 2, 3, 4), (5, 6), (7,), 5, 2)
    assert only == Pass((3, 4, 5, 6, 7))


def test_both_sides_of_a_gap_are_seen_alike():
    (one,) = between((0, 1, 2, 3, 4), (5, 6), (7, 8, 9, 10), 5, 2)
    assert one == Pass((4, 5, 6, 7, 8))
    (many,) = between(tuple(range(21)), (21, 22, 23), tuple(range(24, 45)), 21, 4)
    assert many == Pass(tuple(range(12, 33)))


def test_backwards_in_numbers():
    """Windows of 5 with 2 known: each paints 3, of which the first is painted again."""
    assert backwards(4, 8, 5, 2) == (
        Pass((1, 2, 3, 4, 5), scratch=1),
        Pass((0, 1, 2, 3, 4)),
    )


@pytest.mark.parametrize(("window", "overlap"), [(5, 2), (21, 4), (31, 6), (25, 5), (2, 1)])
def test_the_usual_overlap(window, overlap):
    assert usual_overlap(window) == check_overlap(overlap, window)


@pytest.mark.parametrize("overlap", [0, -1, 5, 6])
def test_an_overlap_as_long_as_the_window_is_refused(overlap):
    with pytest.raises(InputError, match=f"an overlap of {overlap} .* choose 1 to 4"):
        forwards(5, 9, 5, overlap)
