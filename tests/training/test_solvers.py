import pytest
import torch

from training.exam.sweep import parse_settings
from training.solvers import SAMPLERS, Settings, adams_weights, integrate

S = 0.5  # standard deviation of the pixels; their best velocity is known in closed form


def velocity(x, sigma):
    clean = x * (1 - sigma) * S**2 / ((1 - sigma) ** 2 * S**2 + sigma**2)
    return (x - clean) / sigma


def error(sampler, steps):
    levels = Settings(steps=steps, shift=1.0).levels()
    noise = torch.ones(1, dtype=torch.float64)
    return (integrate(velocity, noise, levels, sampler) - S).abs().item()


@pytest.mark.parametrize(
    ("sampler", "order"), [("euler", 1), ("lms_2", 2), ("heun", 2), ("dpm_2m", 2)]
)
def test_converges_at_its_order(sampler, order):
    assert error(sampler, 100) / error(sampler, 200) > 0.8 * 2**order


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_straight_line_is_followed_exactly(sampler):
    levels = Settings(steps=5, shift=3.0).levels()
    x = integrate(lambda x, sigma: torch.full_like(x, 3.0), torch.ones(7), levels, sampler)
    torch.testing.assert_close(x, torch.full((7,), -2.0))


def test_adams_weights_are_the_textbooks():
    assert adams_weights([0.0, -1.0], 1.0) == pytest.approx([3 / 2, -1 / 2])
    assert adams_weights([0.0, -1.0, -2.0], 1.0) == pytest.approx([23 / 12, -16 / 12, 5 / 12])


def test_settings_are_read_from_text():
    settings = parse_settings("steps=7 sampler=lms_2 guide=0.2:0.9 cfg=3", Settings())
    assert settings == Settings(steps=7, sampler="lms_2", guide=(0.2, 0.9), cfg=3.0)
    assert settings.guided(0.5)
    assert not settings.guided(0.1)
    assert not Settings(cfg=1).guided(0.5)
