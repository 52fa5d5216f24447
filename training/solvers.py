"""Samplers, and the settings that a clip is sampled with.

The network gives velocities (noise minus clip). Names are those of the samplers in ComfyUI that do
the same on flow models: `lms` is Adams and Bashforth's method over uneven steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from torch import Tensor

from longtake.engine.sampling.presets import NANO as PRESET
from longtake.engine.sampling.schedule import sigmas

Velocity = Callable[[Tensor, float], Tensor]  # (x, sigma) -> velocity of x's shape, float32


@dataclass(frozen=True)
class Settings:
    """How clips are sampled; the defaults are the nodes' defaults.

    Attributes:
        steps, cfg, shift: as in the nodes. sampler: one of SAMPLERS. curve: of the schedule.
        guide: the noise levels, from and to, between which guidance is used; outside, a step
            costs one evaluation instead of two.
        rescale: 0 to 1, how far the guided clip's contrast is brought back to the unguided one's.

    Source: of `rescale`, Lin et al. 2023, arXiv:2305.08891, section 3.4.
    """

    steps: int = PRESET.steps
    cfg: float = PRESET.cfg
    shift: float = PRESET.shift
    sampler: str = PRESET.sampler
    curve: str = "linear"
    guide: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0

    def guided(self, sigma: float) -> bool:
        """Whether guidance is used at this noise level."""
        low, high = self.guide
        return self.cfg != 1 and low <= sigma <= high

    def levels(self) -> list[float]:
        """Noise levels from 1 to 0."""
        return sigmas(self.steps, self.shift, self.curve).tolist()


@dataclass
class History:
    """Noise levels and velocities so far, latest first."""

    sigmas: list[float] = field(default_factory=list)
    velocities: list[Tensor] = field(default_factory=list)

    def add(self, sigma: float, velocity: Tensor, keep: int) -> None:
        self.sigmas = [sigma, *self.sigmas][:keep]
        self.velocities = [velocity, *self.velocities][:keep]


def adams_weights(past: list[float], to: float) -> np.ndarray:
    """Weights of velocities at the levels `past`, the latest first, in a step to level `to`.

    The polynomial through all of them, integrated over the step.
    """
    nodes, h = np.array(past) - past[0], to - past[0]
    powers = np.arange(len(past))
    return np.linalg.solve(nodes[None] ** powers[:, None], h ** (powers + 1) / (powers + 1))


def _adams(order: int):
    def step(velocity: Velocity, x: Tensor, sigma: float, to: float, past: History) -> Tensor:
        past.add(sigma, velocity(x, sigma), order)
        weights = adams_weights(past.sigmas, to)
        return x + sum(float(w) * v for w, v in zip(weights, past.velocities, strict=True))

    return step


def _heun(velocity: Velocity, x: Tensor, sigma: float, to: float, past: History) -> Tensor:
    now = velocity(x, sigma)
    ahead = x + (to - sigma) * now
    return ahead if to == 0 else x + (to - sigma) * (now + velocity(ahead, to)) / 2


def _dpm_2m(velocity: Velocity, x: Tensor, sigma: float, to: float, past: History) -> Tensor:
    """DPM-Solver++ (2M) on the flow's own signal-to-noise ratio, (1 - sigma) / sigma: the
    predictor of uni_pc. Lu et al. 2022, arXiv:2211.01095, algorithm 2."""
    clean = x - sigma * velocity(x, sigma)
    past.add(sigma, clean, 2)
    if len(past.sigmas) == 2 and to > 0 and past.sigmas[1] < 1:
        step = _log_ratio(to) - _log_ratio(sigma)
        before = _log_ratio(sigma) - _log_ratio(past.sigmas[1])
        clean = clean + step / (2 * before) * (clean - past.velocities[1])
    return to / sigma * x + (1 - to / sigma) * clean


def _log_ratio(sigma: float) -> float:
    return float(np.log((1 - sigma) / sigma))


SAMPLERS: Mapping[str, Callable] = MappingProxyType(
    {
        "euler": _adams(1),
        "lms_2": _adams(2),
        "lms_3": _adams(3),
        "lms_4": _adams(4),
        "heun": _heun,
        "dpm_2m": _dpm_2m,
    }
)


def integrate(velocity: Velocity, x: Tensor, levels: list[float], sampler: str) -> Tensor:
    """x: any shape, from levels[0] to levels[-1], float32."""
    past, step = History(), SAMPLERS[sampler]
    for sigma, to in pairwise(levels):
        x = step(velocity, x, sigma, to, past)
    return x
