"""Noise over intervals has the covariance of a Brownian motion."""

from itertools import count
from math import sqrt

import pytest
import torch

from longtake.engine.sampling.step_noise import BrownianPath

BEGIN = 0.9
ENDS = [0.5, 0.1, 0.3, 0.7, 0.5]  # further, between two that are known, nearer than all, again


def loadings(*intervals: tuple[float, float]) -> torch.Tensor:
    """How much of each drawn noise is in the noise of each interval."""
    numbers, axes = count(), torch.eye(9, dtype=torch.float64)
    path = BrownianPath(lambda: axes[next(numbers)])
    return torch.stack([path(*interval) for interval in intervals])


def test_intervals_from_one_level_have_in_common_what_lies_in_both():
    found = loadings(*((BEGIN, end) for end in ENDS))
    lengths = [BEGIN - end for end in ENDS]
    expected = [[min(a, b) / sqrt(a * b) for a in lengths] for b in lengths]
    torch.testing.assert_close(found @ found.T, torch.tensor(expected, dtype=torch.float64))


def test_intervals_from_other_levels_are_independent():
    found = loadings((0.9, 0.5), (0.5, 0.2), (0.2, 0.0), (0.0, 0.4))
    torch.testing.assert_close(found @ found.T, torch.eye(4, dtype=torch.float64))


def test_levels_may_be_tensors():
    path = BrownianPath(lambda: torch.ones(2))
    assert path(torch.tensor(0.9), torch.tensor(0.5)).tolist() == pytest.approx([1, 1])
