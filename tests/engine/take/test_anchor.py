"""Statistics of latents, and time and room as people are told of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.plan import Window
from longtake.engine.take.anchor import ANCHORS, SVI, Anchor, Statistics, matched
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


LATER = Window((2, 3, 4), context=2)


@pytest.mark.parametrize("kind", ANCHORS)
def test_what_each_anchor_does(kind):
    anchor, part, new = (
        Anchor(kind),
        MaskedLatents(latents(3)).arranged([0, 1, None]),
        latents(4, 2.0),
    )
    assert anchor.shown(LATER, part) is part  # before the first window nothing is known of it
    assert anchor.corrected(new) is new
    anchor.remember(first := latents(1))
    anchor.remember(latents(2, 5.0))  # of later windows nothing is kept
    shown, corrected = anchor.shown(LATER, part), anchor.corrected(new)
    if kind in ("first frame", "both", SVI):
        assert torch.equal(shown.latents[:, :, :1], first[:, :, :1])
        assert torch.equal(shown.latents[:, :, 1:], part.latents[:, :, 1:])
        assert shown.known == [0, 1]
    else:
        assert shown is part
    expected = matched(new, Statistics.of(first)) if kind in ("statistics", "both") else new
    assert torch.equal(corrected, expected)


def test_a_window_with_one_known_frame_needs_it_to_go_on():
    anchor = Anchor("first frame")
    anchor.remember(latents(1))
    part = MaskedLatents(latents(3)).arranged([0, None])
    assert anchor.shown(Window((2, 3), context=1), part) is part


def test_time_left_is_guessed_and_then_measured():
    now = [0.0]
    clock = Clock(10, guess=3.0, now=lambda: now[0])
    assert clock.left == 30
    now[0] = 8.0
    clock.tick(4)
    assert clock.left == 12
    clock.tick(10)
    assert clock.left == 0


def test_time_left_counts_decoding_beside_the_steps():
    now = [0.0]
    clock = Clock(10, guess=3.0, pieces=6, now=lambda: now[0])
    now[0] = 8.0
    clock.tick(4)
    assert clock.left == 12
    assert not clock.has_decoded
    for _ in range(2):
        with clock.decoding():
            now[0] += 5
    assert clock.left == 12 + 4 * 5
    now[0] += 4
    clock.tick(6)
    assert clock.left == 4 * 2 + 4 * 5


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
