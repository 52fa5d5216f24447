"""Statistics of latents, and time and room as people are told of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.take.anchor import Statistics, keeps_first_frame, keeps_statistics, matched
from longtake.engine.take.time_left import Clock, bytes_of, duration, step_operations


def latents(seed, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, 2, 5, 7, generator=rng) * scale + shift


def test_matched_all_the_way_has_the_others_statistics():
    like = Statistics.of(latents(1, 0.5, 2.0))
    own = Statistics.of(matched(latents(2, 3.0, -1.0), like, 1.0))
    torch.testing.assert_close(own.mean, like.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own.std, like.std, rtol=1e-5, atol=1e-5)


@given(strength=st.floats(0, 1))
def test_matched_part_of_the_way_is_between(strength):
    x, like = latents(2, 3.0, -1.0), Statistics.of(latents(1, 0.5, 2.0))
    before, after = Statistics.of(x), Statistics.of(matched(x, like, strength))
    expected = before.mean + strength * (like.mean - before.mean)
    torch.testing.assert_close(after.mean, expected, rtol=1e-4, atol=1e-4)


def test_a_flat_channel_stays_finite():
    assert torch.isfinite(matched(torch.ones(1, 3, 2, 5, 7), Statistics.of(latents(1)))).all()


def test_what_each_anchor_does():
    kinds = [(keeps_statistics(a), keeps_first_frame(a))
             for a in ("off", "statistics", "first frame", "both")]  # fmt: skip
    assert kinds == [(False, False), (True, False), (False, True), (True, True)]


def test_time_left_is_guessed_and_then_measured():
    now = [0.0]
    clock = Clock(10, guess=3.0, now=lambda: now[0])
    assert clock.left == 30
    now[0] = 8.0
    clock.tick(4)
    assert clock.left == 12
    clock.tick(10)
    assert clock.left == 0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "1 s"), (59, "59 s"), (75, "1 min 15 s"), (3600, "1 h 0 min"), (9000, "2 h 30 min")],
)
def test_durations_as_people_say_them(seconds, told):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(5, "5 bytes"), (2048, "2 KiB"), (3_000_000, "2.86 MiB"), (2**33, "8 GiB")],
)
def test_sizes_as_people_say_them(count, told):
    assert bytes_of(count) == told


def test_a_linear_network_without_attention_multiplies_each_number_once():
    assert step_operations(1000, 7, width=5, depth=0, prompts=1) == 2 * 1000 * 7
    assert step_operations(0, 7, width=5, depth=3, prompts=2) == 2 * 4 * 49 * 5 * 3
