"""The order of steps against SkyReels-V2's own formula, as diffusers keeps it."""

import inspect
import warnings
from itertools import product

import numpy as np
import pytest
import torch

from longtake.engine.sampling.forcing import reference_noise, wave
from longtake.models.errors import InputError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Failed to load image Python extension", UserWarning)
    from diffusers import SkyReelsV2DiffusionForcingPipeline

SETTINGS = [  # frames, lag, known frames, block
    (frames, lag, known, block)
    for frames, lag, known, block in product((1, 5, 12, 25), (0, 1, 5, 10), (0, 5, 10), (1, 5))
    if frames % block == 0 and known < frames
]


def reference(frames, steps, lag, known, block):
    """Timesteps, step numbers, moves and windows by the published function, all in one window."""
    formula = SkyReelsV2DiffusionForcingPipeline.generate_timestep_matrix
    template = torch.linspace(999, 1, steps).long()
    found = formula(None, frames, template, frames, lag, known, block)
    return (template, *found)


CASES = [(setting, steps) for setting in SETTINGS for steps in (2, 7, 30)]


@pytest.mark.parametrize(("setting", "steps"), CASES, ids=str)
def test_it_is_the_reference_formula(setting, steps):
    frames, lag, known, block = setting
    template, matrix, index, moves, _ = reference(frames, steps, lag, known, block)
    ours = wave(frames, steps, lag=lag, known=known, block=block)
    assert np.array_equal(ours.before + 1, index.numpy())
    assert np.array_equal(ours.moves, moves.numpy())
    levels = np.concatenate(([999], template.numpy(), [0]))  # 999 stands for not begun
    assert np.array_equal(levels[ours.before + 1], matrix.numpy())


def by_hand(frames, steps, lag):
    """The wave written out for blocks of one frame and a window of all: call k, frame f."""
    calls = steps + lag * (frames - 1)
    return np.array([[min(max(k - lag * f, -1), steps) for f in range(frames)]
                     for k in range(calls)])  # fmt: skip


@pytest.mark.parametrize(("frames", "steps", "lag"), [(1, 4, 0), (3, 7, 0), (3, 7, 2), (5, 11, 3)])
def test_each_frame_is_so_many_steps_behind_the_one_before(frames, steps, lag):
    ours = wave(frames, steps, lag=lag)
    moved = np.where(ours.moves, ours.before, -2)
    expected = by_hand(frames, steps, lag)
    held = np.where((expected >= 0) & (expected < steps), expected, -2)
    assert np.array_equal(moved, held)


@pytest.mark.parametrize("setting", SETTINGS[::7], ids=str)
def test_every_frame_takes_every_step_once_in_order(setting):
    frames, lag, known, block = setting
    ours = wave(frames, 7, lag=lag, known=known, block=block)
    for frame in range(frames):
        taken = ours.before[ours.moves[:, frame], frame].tolist()
        assert taken == ([] if frame < known // block * block else list(range(7)))


def test_the_reference_still_is_what_it_was():
    assert "step_template[new_row]" in inspect.getsource(
        SkyReelsV2DiffusionForcingPipeline.generate_timestep_matrix
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frames": 7, "block": 5}, "do not divide into blocks of 5"),
        ({"frames": 7, "block": 0}, "blocks of 0"),
        ({"known": 5}, "known must be from 0 to 4"),
        ({"lag": -1}, "the lag 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    settings = {"frames": 5, "steps": 7, **given}
    with pytest.raises(InputError, match=said) as caught:
        wave(settings.pop("frames"), settings.pop("steps"), **settings)
    assert "\n" not in str(caught.value)


@pytest.fixture
def clean():
    return torch.randn(2, 3, 5, 7, 11, generator=torch.Generator().manual_seed(3))


def test_reference_noise_is_a_share_of_noise_that_belongs_to_the_frame(clean):
    noisy = reference_noise(clean, 4, 17, 20)
    noise = (noisy - 0.98 * clean) / 0.02
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
    torch.testing.assert_close(reference_noise(clean[:, :, 2:], 6, 17, 20), noisy[:, :, 2:])
    assert not torch.allclose(reference_noise(clean, 4, 18, 20), noisy)
    assert torch.equal(reference_noise(clean, 4, 17, 0), clean)


@pytest.mark.parametrize("amount", [-1, 61, float("nan")])
def test_too_much_reference_noise_is_refused(clean, amount):
    with pytest.raises(InputError, match="from 0 to 60"):
        reference_noise(clean, 0, 1, amount)
