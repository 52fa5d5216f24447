"""Noise levels for flow models: how many steps, where they are dense, where they begin."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from torch import Tensor

from ...models.errors import InputError

LEVELS = 1000  # noise levels that Wan was trained on; some curves step through them
MAX_STEPS = LEVELS
SHIFTS = (0.01, 100.0)

Curve = Callable[[int, float], NDArray[np.float64]]  # (steps, shift) -> (steps,), the 0 left out


def _shifted(sigma: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Noise levels moved towards the noisy end; a shift of 1 leaves them, larger ones move more.

    Source:
        Esser et al. 2024, arXiv:2403.03206, "Resolution-dependent shifting of timestep
        schedules", with shift = √(m / n).
    """
    return shift * sigma / (1 + (shift - 1) * sigma)


def _linear(steps: int, shift: float) -> NDArray[np.float64]:
    return _shifted(np.linspace(1, 1 / LEVELS, steps + 1)[:-1], shift)


def _wan(steps: int, shift: float) -> NDArray[np.float64]:
    return _shifted(np.linspace(1 - 1 / LEVELS, 0, steps + 1)[:-1], shift)


def _simple(steps: int, shift: float) -> NDArray[np.float64]:
    # Multiplied in the original's order: any other rounds some levels differently.
    skipped = (np.arange(steps) * (LEVELS / steps)).astype(int)
    return _shifted((LEVELS - skipped) / LEVELS, shift)


def _beta(steps: int, shift: float) -> NDArray[np.float64]:
    return _shifted(betaincinv(0.6, 0.6, 1 - np.arange(steps) / steps), shift)


def _flow_match(steps: int, shift: float) -> NDArray[np.float64]:
    lowest = float(_shifted(np.float64(1 / LEVELS), shift))
    return _shifted(np.linspace(1, lowest, steps), shift)


# linear:     evenly spaced, then shifted: diffusers' UniPCMultistepScheduler with flow sigmas.
# wan:        the same from 0.999 down: FlowUniPCMultistepScheduler in Wan-Video/Wan2.2@42bf4cf. It
#             does not start at exactly 1.
# simple:     every so many of the 1,000 levels: ComfyUI's scheduler of that name.
# beta:       dense at both ends: Lee et al. 2024, arXiv:2407.12173; ComfyUI's, but not rounded to
#             the 1,000 levels.
# flow_match: diffusers' FlowMatchEulerDiscreteScheduler.
CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "linear": _linear,
        "wan": _wan,
        "simple": _simple,
        "beta": _beta,
        "flow_match": _flow_match,
    }
)


def _check(steps: int, shift: float, curve: str, denoise: float) -> None:
    # Written so that NaN, for which every comparison is false, fails too.
    if not 1 <= steps <= MAX_STEPS:
        raise InputError(f"{steps} steps: choose from 1 to {MAX_STEPS}.")
    if not SHIFTS[0] <= shift <= SHIFTS[1]:
        raise InputError(f"shift {shift}: choose from {SHIFTS[0]} to {SHIFTS[1]}.")
    if curve not in CURVES:
        raise InputError(f"unknown curve {curve!r}: choose from {', '.join(CURVES)}.")
    if not 0 < denoise <= 1:
        raise InputError(f"denoise {denoise}: choose a number above 0 and up to 1.")
    if steps / denoise >= MAX_STEPS + 1:
        raise InputError(
            f"{steps} steps at denoise {denoise} are the end of {int(steps / denoise)}, but there "
            f"are only {MAX_STEPS} noise levels: take {int(MAX_STEPS * denoise)} steps or fewer."
        )


def sigmas(steps: int, shift: float, curve: str = "linear", denoise: float = 1.0) -> Tensor:
    """The noise levels to sample at.

    Args:
        steps: how many, 1 … 1000.
        shift: 1 leaves the spacing of the curve alone; larger values spend more of the steps on
            the layout and fewer on detail. 0.01 … 100. Wan was made for 3 to 12.
        curve: one of CURVES.
        denoise: below 1, only the end of a longer schedule, to start from an existing clip: 0.3
            takes the last `steps` of steps / 0.3. ComfyUI's schedulers do the same.

    Returns:
        (steps + 1,) float32, strictly decreasing to 0; from 1 if denoise is 1 (except "wan").

    Raises:
        InputError: for values outside these, NaN included.
    """
    _check(steps, shift, curve, denoise)
    levels = CURVES[curve](int(steps / denoise), shift)
    return torch.from_numpy(np.append(levels, 0.0)[-(steps + 1) :]).float()


def listed(levels: Sequence[float]) -> Tensor:
    """These noise levels and the 0 after them: (steps + 1,) float32."""
    return torch.tensor([*levels, 0.0])
