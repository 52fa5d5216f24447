"""Whether both prompts go to the model in one call: said before the run, not by what is free then.

Core decides it at each step by the memory that is free, and one call rounds otherwise than two. So
that the same take gives the same bits with other windows open on the screen, it is decided by the
memory that the device has in all.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management as mm
import torch
from comfy.model_patcher import ModelPatcher, create_model_options_clone
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

KEY = "longtake_calls"
ASKED = 1.5  # times what a call is said to need: core's rule for one call
SHARE = 0.5  # of the device's memory; the rest is for weights
log = logging.getLogger(__name__)


class Calls:
    """How many prompts a call of the model takes.

    Attributes:
        videos: in the batch.
        together: whether two prompts go in one call.
    """

    def __init__(self, videos: int, together: bool):
        self.videos, self.together = videos, together

    def put_into(self, model_options: dict[str, Any]) -> None:
        """Make a guider's `model_options` keep to it."""
        for where, what in (
            (WrappersMP.PREPARE_SAMPLING, self._prepare),
            (WrappersMP.CALC_COND_BATCH, self._calculate),
        ):
            add_wrapper_with_key(where, KEY, what, model_options, is_model_options=True)

    def _prepare(self, executor: Any, model: ModelPatcher, shape: Any, *args: Any, **more: Any):
        """Have room made for the whole call, where core would do with half of it."""
        if not self.together:
            return executor(model, shape, *args, **more)
        needed = model.model.memory_required

        def of_both(_shape: Any, *args: Any, **more: Any) -> float:
            return needed([2 * shape[0], *shape[1:]], *args, **more)

        with said(model.model, of_both):
            return executor(model, shape, *args, **more)

    def _calculate(self, executor: Any, model: Any, conds: list, *args: Any):
        try:
            with said(model, self._fits):
                return executor(model, conds, *args)
        except torch.cuda.OutOfMemoryError:
            if not self.together or sum(bool(c) for c in conds) < 2:
                raise
        log.warning(
            "longtake: both prompts did not fit into one call of the model, they go one after the "
            "other now: the video may differ from its last one by rounding"
        )
        self.together = False
        mm.soft_empty_cache()
        with said(model, self._fits):
            return executor(model, conds, *args)

    def _fits(self, input_shape: Any, *_: Any, **__: Any) -> float:
        """In place of memory: less than any for what may go together, more than any for more."""
        return math.copysign(math.inf, input_shape[0] - self.videos * (1 + self.together) - 0.5)


def calls_for(model: ModelPatcher, shape: tuple[int, ...], *cfgs: float) -> Calls:
    """The calls of a run on latents of `shape` (b, c, t, h, w), at these cfgs."""
    one = all(math.isclose(cfg, 1) for cfg in cfgs)
    if one and not model.model_options.get("disable_cfg1_optimization"):
        return Calls(shape[0], False)
    needed = model.memory_required([2 * shape[0], *shape[1:]])
    return Calls(shape[0], ASKED * needed < SHARE * mm.get_total_memory(model.load_device))


def keep_to(guider: Any, calls: Calls) -> None:
    """Put calls into a guider of core's."""
    guider.model_options = create_model_options_clone(guider.model_options)
    calls.put_into(guider.model_options)


@contextmanager
def said(network: Any, needed: Any) -> Iterator[None]:
    """While it lasts, a network says that it needs other memory."""
    network.memory_required = needed
    try:
        yield
    finally:
        del network.memory_required
