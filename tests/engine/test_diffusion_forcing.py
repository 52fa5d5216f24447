"""The order of steps against SkyReels-V2's own formula, as diffusers keeps it."""

import inspect
import warnings
from itertools import product

import numpy as np
import pytest
import torch

from longtake.engine.diffusion_forcing import reference_noise, wave
from longtake.models.errors import InputError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Failed to load image Python extension", UserWarning)
    from diffusers import SkyReelsV2DiffusionForcingPipeline

SETTINGS = [  # frames, window, lag, known frames, block
    (frames, window, lag, known, block)
    for frames, window, lag, known, block in product(
        (1, 5, 12, 25), (5, 25, 31), (0, 1, 5, 10), (0, 5, 10), (1, 5)
    )
    if frames % block == 0 and known < frames and window >= block
]


def reference(frames, steps, window, lag, known, block):
    """Timesteps, step numbers, moves and windows by the published function."""
    formula = SkyReelsV2DiffusionForcingPipeline.generate_timestep_matrix
    template = torch.linspace(999, 1, steps).long()
    found = formula(None, frames, template, window, lag, known, block)
    return (template, *found)


CASES = [
    *((setting, 7) for setting in SETTINGS),
    *((setting, 2) for setting in SETTINGS[::4]),
    *((setting, 30) for setting in SETTINGS[1::4]),
]


@pytest.mark.parametrize(("setting", "steps"), CASES, ids=str)
def test_it_is_the_reference_formula(setting, steps):
    frames, window, lag, known, block = setting
    try:
        template, matrix, index, moves, spans = reference(frames, steps, window, lag, known, block)
    except ValueError as refused:
        at_least = str(refused).removeprefix("`ar_step` should be at least ").split()[0]
        with pytest.raises(InputError, match=f"it must be at least {at_least},"):
            wave(frames, steps, window=window, lag=lag, known=known, block=block)
        return
    ours = wave(frames, steps, window=window, lag=lag, known=known, block=block)
    assert np.array_equal(ours.before + 1, index.numpy())
    assert np.array_equal(ours.moves, moves.numpy())
    assert ours.spans == spans
    levels = np.concatenate(([999], template.numpy(), [0]))  # 999 stands for not begun
    assert np.array_equal(levels[ours.before + 1], matrix.numpy())


def by_hand(frames, steps, lag):
    """The wave written out for blocks of one frame and a window of all: call k, frame f."""
    calls = steps + lag * (frames - 1)
    return np.array([[min(max(k - lag * f, -1), steps) for f in range(frames)]
                     for k in range(calls)])  # fmt: skip


@pytest.mark.parametrize(("frames", "steps", "lag"), [(1, 4, 0), (3, 7, 0), (3, 7, 2), (5, 11, 3)])
def test_each_frame_is_so_many_steps_behind_the_one_before(frames, steps, lag):
    ours = wave(frames, steps, window=frames, lag=lag)
    moved = np.where(ours.moves, ours.before, -2)
    expected = by_hand(frames, steps, lag)
    held = np.where((expected >= 0) & (expected < steps), expected, -2)
    assert np.array_equal(moved, held)


@pytest.mark.parametrize("setting", SETTINGS[::7], ids=str)
def test_every_frame_takes_every_step_once_in_order_and_in_view(setting):
    frames, window, lag, known, block = setting
    try:
        ours = wave(frames, 7, window=window, lag=lag, known=known, block=block)
    except InputError:
        return
    for frame in range(frames):
        taken = ours.before[ours.moves[:, frame], frame].tolist()
        assert taken == ([] if frame < known // block * block else list(range(7)))
        for call in np.flatnonzero(ours.moves[:, frame]):
            start, stop = ours.spans[call]
            assert start <= frame < stop
    assert all(stop - start <= window for start, stop in ours.spans)


def test_the_reference_still_is_what_it_was():
    assert "step_template[new_row]" in inspect.getsource(
        SkyReelsV2DiffusionForcingPipeline.generate_timestep_matrix
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frames": 7, "block": 5}, "do not divide into blocks of 5"),
        ({"frames": 7, "block": 0}, "blocks of 0"),
        ({"frames": 5, "window": 2, "block": 5}, "window of 2"),
        ({"known": 5}, "known must be from 0 to 4"),
        ({"lag": -1}, "the lag 0 or more"),
        ({"frames": 9, "window": 5, "lag": 1}, "it must be at least 2, or the window 9"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    settings = {"frames": 5, "steps": 7, "window": 5, **given}
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
