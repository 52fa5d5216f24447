"""Sizes from an aspect ratio and a number of pixels."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.aspect import ASPECTS, aspect_in_words, fitting_size
from longtake.engine.canvas.grid import CausalGrid

WAN, FIVE_B = CausalGrid(16), CausalGrid(48, stride_hw=16)


@given(
    ratio=st.sampled_from(sorted(ASPECTS.values())), pixels=st.integers(1, 8_000_000),
    stride=st.integers(1, 17),
)  # fmt: skip
def test_it_is_on_the_grid(ratio, pixels, stride):
    grid = CausalGrid(1, stride_hw=stride)
    grid.check_size(*fitting_size(grid, ratio, pixels))


@given(ratio=st.sampled_from(sorted(ASPECTS.values())), pixels=st.integers(200_000, 8_000_000))
def test_large_ones_have_the_ratio_and_the_pixels(ratio, pixels):
    width, height = fitting_size(WAN, ratio, pixels)
    assert width / height == pytest.approx(float(ratio), rel=0.04)
    assert width * height == pytest.approx(pixels, rel=0.12)


@pytest.mark.parametrize(
    ("grid", "name", "pixels", "size"),
    [
        (WAN, "16:9", 1280 * 720, (1280, 720)),
        (WAN, "9:16", 1280 * 720, (720, 1280)),
        (WAN, "1:1", 480 * 480, (480, 480)),
        (WAN, "4:3", 640 * 480, (640, 480)),
        (FIVE_B, "1:1", 960 * 960, (960, 960)),
    ],
)
def test_known_sizes(grid, name, pixels, size):
    assert fitting_size(grid, ASPECTS[name], pixels) == size


def test_a_tiny_budget_is_one_token():
    assert fitting_size(WAN, Fraction(1), 1) == (16, 16)


@pytest.mark.parametrize(
    ("size", "aspect", "said"),
    [
        ((1280, 720), "16:9", ""),
        ((832, 480), "free", ""),
        ((832, 480), "16:9", "832×480 is nearest to 16:9 here: 1.73 to 1, not 1.78"),
        ((32, 32), "16:9", "32×32 is nearer to 1:1 than to 16:9: take more pixels"),
    ],
)
def test_a_size_that_is_not_what_was_asked_for_says_so(size, aspect, said):
    assert aspect_in_words(*size, aspect) == said
