"""Noise levels against the programs they come from, and against nonsense."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.sampling.schedule import CURVES, MAX_STEPS, sigmas
from longtake.models.errors import InputError

STEPS = st.integers(1, 200)
SHIFTS = st.floats(0.1, 20)


def shifted(sigma, shift):
    return shift * sigma / (1 + (shift - 1) * sigma)


def near(levels, expected, atol=2e-7):
    torch.testing.assert_close(
        levels, torch.tensor(expected, dtype=torch.float32), rtol=0, atol=atol
    )


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ("linear", [1, 0.9616, 0.9092, 0.8336, 0.7149, 0.5015, 0]),
        ("simple", [1, 0.9617, 0.9092, 0.8333, 0.7149, 0.5006, 0]),
    ],
)
def test_six_steps_at_shift_five(curve, expected):
    near(sigmas(6, 5.0, curve), expected, atol=5e-5)


@given(steps=STEPS, shift=SHIFTS)
def test_linear_is_diffusers_unipc(steps, shift):
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    scheduler.set_timesteps(steps)
    # It takes a millionth off the first level, to keep a logarithm finite.
    near(sigmas(steps, shift, "linear")[1:], scheduler.sigmas[1:].tolist())
    assert scheduler.sigmas[0] == pytest.approx(1 - 1e-6)


@given(steps=STEPS, shift=SHIFTS)
def test_flow_match_is_diffusers_euler(steps, shift):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    near(sigmas(steps, shift, "flow_match"), scheduler.sigmas.tolist(), atol=5e-6)


@given(steps=STEPS, shift=SHIFTS)
def test_wan_is_its_own_unipc(steps, shift):
    """Its definition, step by step: FlowUniPCMultistepScheduler, Wan-Video/Wan2.2@42bf4cf."""
    trained = [1 - (k + 1) / 1000 for k in range(1000)]  # sigmas at construction, shift 1
    spaced = [trained[0] + (trained[-1] - trained[0]) * k / steps for k in range(steps)]
    near(sigmas(steps, shift, "wan"), [shifted(s, shift) for s in spaced] + [0])


@given(steps=STEPS, shift=SHIFTS)
def test_simple_is_comfyuis(steps, shift):
    """Its definition, step by step: simple_scheduler over ModelSamplingDiscreteFlow, v0.3.75."""
    trained = [shifted(k / 1000, shift) for k in range(1, 1001)]
    picked = [trained[-(1 + int(k * (len(trained) / steps)))] for k in range(steps)]
    near(sigmas(steps, shift, "simple"), [*picked, 0])


@given(steps=st.integers(1, 50))
def test_beta_is_comfyuis_but_for_its_rounding(steps):
    from scipy.stats import beta

    expected = beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), 0.6, 0.6)
    near(sigmas(steps, 1.0, "beta"), [*expected, 0], atol=1e-6)


@given(
    steps=st.integers(1, MAX_STEPS),
    shift=st.floats(0.01, 100),
    curve=st.sampled_from(list(CURVES)),
    denoise=st.floats(0.01, 1),
)
def test_always_strictly_downhill(steps, shift, curve, denoise):
    steps = max(1, int(steps * denoise))
    levels = sigmas(steps, shift, curve, denoise)
    assert levels.shape == (steps + 1,)
    assert levels.dtype == torch.float32
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()
    assert levels[0] <= 1
    if denoise == 1 and curve != "wan":
        assert levels[0] == 1


@given(steps=st.integers(1, 100), denoise=st.floats(0.2, 1), curve=st.sampled_from(list(CURVES)))
def test_denoise_is_the_end_of_a_longer_schedule(steps, denoise, curve):
    longer = sigmas(int(steps / denoise), 5.0, curve)
    assert torch.equal(sigmas(steps, 5.0, curve, denoise), longer[-(steps + 1) :])


def test_a_larger_shift_is_noisier():
    low, high = sigmas(17, 3.0), sigmas(17, 5.0)
    assert (high[1:-1] > low[1:-1]).all()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"steps": 0}, "0 steps: choose from 1 to 1000"),
        ({"steps": 10**7}, "10000000 steps"),
        ({"shift": 0.0}, r"shift 0\.0: choose from 0\.01 to 100"),
        ({"shift": -1.0}, "shift -1"),
        ({"shift": math.nan}, "shift nan"),
        ({"shift": math.inf}, "shift inf"),
        ({"curve": "karras"}, "'karras': choose from linear, wan, simple, beta, flow_match"),
        ({"denoise": 0.0}, "denoise 0"),
        ({"denoise": 1.5}, "denoise 1.5"),
        ({"denoise": math.nan}, "denoise nan"),
        ({"steps": 24, "denoise": 0.001}, "take 1 steps or fewer"),
        ({"steps": 600, "denoise": 0.5}, "take 500 steps or fewer"),
    ],
)
def test_nonsense_is_named(asked, told):
    with pytest.raises(InputError, match=told):
        sigmas(**{"steps": 6, "shift": 5.0, **asked})
