"""Core's samplers with noise of ours on the way.

Left alone, most of core's samplers that add noise draw it with a generator of the device that they
run on: another one on each kind of GPU, and one stream for all frames.
"""

from copy import copy
from functools import wraps
from inspect import Parameter, signature
from itertools import count
from typing import Any

import comfy.samplers
from torch import Tensor

from ...engine.sampling.step_noise import BrownianPath
from ..comfyui.nested import Drawn

STEPS_IN_STEPS = ("sample_dpmpp_sde", "sample_dpmpp_sde_gpu")  # ask for a part, then for the whole


def with_step_noise(sampler: comfy.samplers.Sampler, noise: Drawn) -> comfy.samplers.Sampler:
    """Core's SAMPLER, which adds the noise of the frames; one that adds none comes as it is."""
    if not isinstance(sampler, comfy.samplers.KSAMPLER) or not takes_noise(sampler):
        return sampler
    core = sampler.sampler_function

    @wraps(core)
    def ours(model: Any, x: Tensor, *args: Any, **more: Any) -> Tensor:
        numbers = count(1)  # 0 is what sampling begins with

        def draw(*_: Any) -> Tensor:
            return noise.drawn(next(numbers)).to(x)

        of_levels = BrownianPath(draw) if core.__name__ in STEPS_IN_STEPS else draw
        return core(model, x, *args, noise_sampler=of_levels, **more)

    drawing = copy(sampler)
    drawing.sampler_function = ours
    return drawing


def takes_noise(sampler: comfy.samplers.KSAMPLER) -> bool:
    """Whether it would draw noise by itself, and asks to be given it."""
    if "noise_sampler" in sampler.extra_options:
        return False
    function = sampler.sampler_function
    taken = signature(function).parameters
    if "noise_sampler" in taken:
        return True
    passed_on = any(p.kind is Parameter.VAR_KEYWORD for p in taken.values())
    return passed_on and function.__module__ == comfy.samplers.__name__  # dpm_adaptive
