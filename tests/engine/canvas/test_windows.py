"""The window plan, held by its properties for every length that hypothesis can think of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.windows import Window, plan_windows
from longtake.models.errors import InputError


@given(total=st.integers(1, 400), length=st.integers(2, 40), data=st.data())
def test_every_frame_is_painted_once_and_in_order(total, length, data):
    overlap = data.draw(st.integers(1, length - 1))
    windows = plan_windows(total, length, overlap)
    painted = [frame for w in windows for frame in range(w.start + w.known, w.stop)]
    assert painted == list(range(total))


@given(total=st.integers(1, 400), length=st.integers(2, 40), data=st.data())
def test_each_window_is_full_and_has_a_past_at_least_as_long_as_asked(total, length, data):
    overlap = data.draw(st.integers(1, length - 1))
    first, *rest = plan_windows(total, length, overlap)
    assert (first.start, first.known) == (0, 0)
    assert first.stop == min(total, length)
    assert all(w.stop - w.start == length for w in rest)
    assert all(w.known == overlap for w in rest[:-1])
    assert all(overlap <= w.known < length for w in rest)


@given(total=st.integers(1, 400), length=st.integers(2, 40), data=st.data())
def test_there_are_no_more_windows_than_needed(total, length, data):
    overlap = data.draw(st.integers(1, length - 1))
    rest = -(-max(0, total - length) // (length - overlap))
    assert len(plan_windows(total, length, overlap)) == 1 + rest


def test_the_last_window_slides_back():
    assert plan_windows(9, 5, 2) == (Window(0, 5, 0), Window(3, 8, 2), Window(4, 9, 4))


def test_a_short_take_is_one_window_whatever_the_overlap():
    assert plan_windows(3, 5, 0) == (Window(0, 3, 0),)
    assert plan_windows(3, 5, 0)[0].new == 3


@pytest.mark.parametrize(
    ("total", "length", "overlap", "told"),
    [
        (0, 5, 1, "both must be 1 or more"),
        (9, 0, 1, "both must be 1 or more"),
        (9, 5, 5, "an overlap of 5 latent frames in windows of 5: choose 1 to 4"),
        (9, 5, 0, "choose 1 to 4"),
        (9, 5, -1, "choose 1 to 4"),
    ],
)
def test_numbers_that_make_no_plan_are_refused(total, length, overlap, told):
    with pytest.raises(InputError, match=told):
        plan_windows(total, length, overlap)
