"""Frames, latents, pixels and seconds."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.rates import frame_rate
from longtake.models.errors import FrameCountError, InputError, SizeError

GRID = CausalGrid(channels=7, stride_t=5, stride_hw=3, patch=11)  # primes: no two can be swapped
WAN = CausalGrid(channels=16)
GRIDS = st.builds(
    CausalGrid,
    channels=st.just(1),
    stride_t=st.integers(1, 9),
    stride_hw=st.integers(1, 16),
    patch=st.integers(1, 3),
)


def test_latents_of_a_clip():
    assert GRID.latent_shape(frames=1 + 5 * 2, height=33, width=66, batch=13) == (13, 7, 3, 11, 22)


@given(grid=GRIDS, latent_frames=st.integers(1, 5000))
def test_frames_and_latent_frames_are_inverse(grid, latent_frames):
    assert grid.latent_frames(grid.frames(latent_frames)) == latent_frames


@given(grid=GRIDS, latent_frame=st.integers(0, 5000))
def test_a_frame_is_in_the_latent_frame_that_begins_with_it_or_before(grid, latent_frame):
    first, after = grid.first_frame(latent_frame), grid.first_frame(latent_frame + 1)
    assert {grid.latent_frame_of(frame) for frame in (first, after - 1)} == {latent_frame}


@given(grid=GRIDS, frames=st.integers(-9, 999))
def test_a_count_fits_the_grid_or_is_refused(grid, frames):
    fits = any(grid.frames(t) == frames for t in range(1, 1001))
    if fits:
        assert grid.frames(grid.latent_frames(frames)) == frames
    else:
        with pytest.raises(FrameCountError):
            grid.latent_frames(frames)


def test_a_refused_count_is_told_its_neighbours():
    with pytest.raises(FrameCountError, match=r"80 frames .* 1 \+ 4·n\. Nearest: 77 or 81\.$"):
        WAN.latent_frames(80)


def test_a_refused_size_is_told_its_neighbours():
    with pytest.raises(SizeError, match=r"height 360 .* multiple of 16\. Nearest: 352 or 368\.$"):
        WAN.check_size(640, 360)


def test_what_never_fits_into_memory_is_refused_before_it_is_tried():
    with pytest.raises(InputError, match=r"1 × 86401 frames of 8192×8192 are 1350 GiB"):
        WAN.latent_shape(86401, 8192, 8192)


@pytest.mark.parametrize("pixels", [0, -16, 8])
def test_a_size_is_at_least_one_token(pixels):
    with pytest.raises(SizeError, match="width"):
        WAN.check_size(pixels, 16)


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [
        (2, 8, 17),  # of 16
        (5, 16, 81),  # of 80
        (5, 24, 121),  # of 120
        (60, 24, 1441),  # of 1440
        (0.01, 24, 1),
        (15 / 16, 16, 17),  # 15 is as near to 13
        (14 / 16, 16, 13),
    ],
)
def test_seconds_become_the_nearest_count(seconds, fps, frames):
    assert WAN.nearest_frames(seconds, Fraction(fps)) == frames


@given(
    grid=GRIDS, seconds=st.floats(1e-3, 600), fps=st.sampled_from([8, 16, 23.976, 24, 29.97, 60])
)
def test_no_other_count_is_nearer(grid, seconds, fps):
    rate = frame_rate(fps)
    frames = grid.nearest_frames(seconds, rate)
    asked = Fraction(seconds) * rate
    grid.latent_frames(frames)  # fits
    if frames > 1:
        assert abs(frames - asked) <= Fraction(grid.stride_t, 2)
    else:
        assert asked < 1 + Fraction(grid.stride_t, 2)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_duration_is_a_number_above_zero(seconds):
    with pytest.raises(InputError, match="seconds"):
        WAN.nearest_frames(seconds, Fraction(24))


@given(grid=GRIDS, pixels=st.floats(1, 9999))
def test_the_nearest_size_fits(grid, pixels):
    size = grid.nearest_size(pixels)
    grid.check_size(size, size)
    assert abs(size - pixels) <= grid.multiple / 2 or size == grid.multiple


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (8, Fraction(8)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (23.99, Fraction(2399, 100)),  # not near enough to be meant as film speed
        (47.95, Fraction(48000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (12.5, Fraction(25, 2)),
        (1e-9, Fraction(1, 1000)),
    ],
)
def test_frame_rates_are_exact(fps, rate):
    assert frame_rate(fps) == rate


@pytest.mark.parametrize("fps", [0, -24, math.nan, math.inf, 1001])
def test_a_frame_rate_is_a_number_above_zero(fps):
    with pytest.raises(InputError, match="frames per second"):
        frame_rate(fps)
