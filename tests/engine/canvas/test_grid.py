"""Frames, latents, pixels and seconds."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.grid import BlockGrid, CausalGrid
from longtake.engine.rates import frame_rate
from longtake.models.errors import FrameCountError, InputError, SizeError

GRID = CausalGrid(channels=7, stride_t=5, stride_hw=3, patch=11)  # primes: no two can be swapped
WAN = CausalGrid(channels=16)
H3 = BlockGrid(channels=24, stride_hw=16)
BLOCKS = st.builds(
    BlockGrid,
    channels=st.just(1),
    stride_t=st.integers(1, 5),
    block=st.integers(3, 7),
    tail=st.integers(1, 2),
)
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


def test_blocks_are_those_of_minimax_h3():
    """Written out: comfy_extras/nodes_minimax_h3.py, Comfy-Org/ComfyUI."""
    for k in range(40):
        assert H3.frames(5 * k + 2) == 17 * k + 5
        assert H3.latent_frames(17 * k + 5) == 5 * k + 2
    held = [1 if t % 5 == 0 else 4 for t in range(50)]
    assert [H3.first_frame(t) for t in range(50)] == [sum(held[:t]) for t in range(50)]
    assert H3.multiple == 32
    assert H3.latent_frames(1) == 1
    with pytest.raises(FrameCountError, match=r"81 frames .* 5 \+ 17·n\. Nearest: 73 or 90\.$"):
        H3.latent_frames(81)
    with pytest.raises(FrameCountError, match=r"Nearest: 1 or 18\.$|Nearest: 1 or"):
        H3.latent_frames(3)


@given(grid=BLOCKS, frames=st.integers(1, 400))
def test_every_frame_is_in_the_latent_frame_that_says_so(grid, frames):
    holds = [grid.latent_frame_of(f) for f in range(frames)]
    assert holds == sorted(holds)
    assert all(grid.first_frame(k) == holds.index(k) for k in set(holds))
    enough = grid.enough(frames)
    assert grid.frames(enough) >= frames
    assert enough == grid.as_clip(enough) == grid.latent_frames(grid.frames(enough))
    assert enough - grid.block < grid.tail or grid.frames(enough - grid.block) < frames
    assert grid.whole(grid.frames(enough)) == grid.frames(enough)


@given(grid=BLOCKS, start=st.integers(0, 60), length=st.integers(1, 60))
def test_what_is_shown_or_encoded_around_some_latent_frames_is_a_clip(grid, start, length):
    some = range(start, start + length)
    shown = grid.shown(some)
    assert shown.start <= some.start < some.stop <= shown.stop
    assert shown.start % grid.block == 0
    assert grid.as_clip(len(shown)) == len(shown)
    assert len(shown) < length + 2 * grid.block + grid.tail
    frames, lead = grid.to_encode(some)
    assert frames.start == grid.first_frame(shown.start) == grid.begins(shown.start)
    assert len(frames) == grid.frames(len(shown))
    assert lead == start - shown.start


@given(
    grid=BLOCKS,
    before=st.integers(0, 60),
    seconds=st.fractions(Fraction(1, 30), 20),
    joins=st.booleans(),
)
def test_what_is_added_ends_where_it_may_and_is_as_near_as_that_allows(
    grid, before, seconds, joins
):
    fps = Fraction(24)
    new = grid.added(seconds, fps, before, joins)
    assert new >= 1
    assert (before + new - (0 if joins else grid.tail)) % grid.block == 0

    def off(count):
        return abs(grid.first_frame(before + count) - grid.first_frame(before) - seconds * fps)

    assert all(
        off(new) <= off(other) for other in (new - grid.block, new + grid.block) if other > 0
    )


@given(grid=GRIDS, start=st.integers(0, 60), length=st.integers(1, 60))
def test_a_causal_video_is_a_clip_of_any_length(grid, start, length):
    some = range(start, start + length)
    assert grid.shown(some) == some
    assert grid.as_clip(length) == length == grid.enough(grid.frames(length))
    # As the first of a clip, a latent frame holds the last of its pixel frames.
    assert grid.begins(start) == grid.first_frame(start + 1) - 1
