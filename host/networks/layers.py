"""ComfyUI's layers, faster where that changes no more than rounding."""

import weakref
from functools import lru_cache
from typing import Any

import comfy.model_management as mm
import comfy.ops
import comfy.quant_ops
import torch
from torch import Tensor, nn

from ...models.cpu import onednn
from ...models.cpu.in_place import gelu as in_place_gelu
from ...models.cpu.rms_norm import WORTH, rms_norm
from ...models.layers import fast_convolution, gelu_last, is_replaced, modulated_norm
from ...models.wan.rope import Rotary
from . import home

_latest: list[Any] = []  # a weak reference to the latest table, and its matrices


def layers_from(operations: Any) -> Any:
    """The layers of one of core's `comfy.ops` classes, and those that our networks add.

    Weights that core must cast or patch at every call (fp8, LoRAs on offloaded layers, hooks) go
    core's way. All others are read where they are at each call, so that whatever replaced them
    counts. Cancel works between any two layers, as in core. Classes with a Linear of their own
    (mixed precision) keep it.
    """
    plain = comfy.ops.disable_weight_init.Linear
    if operations.Linear.forward is not plain.forward:
        if operations.Linear._load_from_state_dict is not plain._load_from_state_dict:
            return operations
        layers = {"Linear": _with_parameters(operations.Linear), "Rotary": FusedRotary}
        return type(f"Longtake_{operations.__name__}", (operations,), layers)
    check = mm.throw_exception_if_processing_interrupted
    layers = {
        "Rotary": FusedRotary,
        "Linear": _fast_linear(operations.Linear, gelu=False),
        "LinearGELU": gelu_last(_fast_linear(operations.Linear, gelu=True)),
        "Conv2d": fast_convolution(operations.Conv2d, before=check),
        "Conv3d": fast_convolution(operations.Conv3d, before=check),
        "RMSNorm": _fast_norm(operations.RMSNorm),
        "ModulatedNorm": modulated_norm(operations.LayerNorm),
    }
    return type(f"Longtake_{operations.__name__}", (operations,), layers)


def _with_parameters(core: type[nn.Module]) -> type[nn.Module]:
    """Core's Linear, which has its parameters from the start, and takes mapped ones back.

    With dynamic VRAM, newer hosts leave them out until core's own loader runs, unless a class has
    another. Ours assigns weights by name, and must find those names.
    """

    class Linear(core):
        _load_from_state_dict = nn.Module._load_from_state_dict

        def to(self, *args: Any, **more: Any) -> nn.Module:
            return home.moving(self, super().to, *args, **more)

    return Linear


def _fast_linear(core: type[nn.Module], gelu: bool) -> type[nn.Module]:
    """Core's Linear, with GELU in its tanh form after it or without."""

    class Linear(_with_parameters(core)):
        def forward(self, x: Tensor) -> Tensor:
            cast = self.comfy_cast_weights or self.weight_function or self.bias_function
            with_gelu = gelu and not is_replaced(self)
            if not cast and onednn.linear_serves(x, self.weight):
                mm.throw_exception_if_processing_interrupted()
                return onednn.linear(x, self.weight, self.bias, with_gelu)
            # Core's product of fp8 numbers takes no more axes; others it would multiply out.
            y = super().forward(x.flatten(1, -2) if x.ndim > 3 else x)
            y = y.unflatten(1, x.shape[1:-1]) if x.ndim > 3 else y
            return in_place_gelu(y) if with_gelu else y

    return Linear


def _fast_norm(core: type[nn.Module]) -> type[nn.Module]:
    """Core's RMSNorm, in one pass over what is too large for the caches."""

    class RMSNorm(core):
        def forward(self, x: Tensor) -> Tensor:
            cast = self.comfy_cast_weights or self.weight_function
            if cast or x.numel() < WORTH or not onednn.serves(x, self.weight):
                return super().forward(x)
            mm.throw_exception_if_processing_interrupted()
            return rms_norm(x, self.weight, self.eps)

    return RMSNorm


class FusedRotary(Rotary):
    """Rotary on a card, by the kernel of newer hosts, which reads and writes once.

    Written out in torch, numbers are float32 in between: a third of all bytes that a step moves
    besides its products.
    """

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        apart = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if x.device.type == "cpu" or apart or not has_kernel():
            return super().forward(x, table)
        return _kitchen().apply_rope1(x, matrices_of(table))


@lru_cache(maxsize=1)
def has_kernel() -> bool:
    """Whether the host has a kernel for it, and not only the same in torch's operations."""
    kitchen = _kitchen()
    backends = kitchen.list_backends() if hasattr(kitchen, "list_backends") else {}
    return any(
        name != "eager"
        and found["available"]
        and not found["disabled"]
        and "apply_rope1" in found["capabilities"]
        for name, found in backends.items()
    )


def _kitchen() -> Any:
    """The kernels of newer hosts; None where there are none."""
    return getattr(comfy.quant_ops, "ck", None)


def matrices_of(table: Tensor) -> Tensor:
    """(2, n, 1, d / 2) from `rope_table` -> (1, n, 1, d / 2, 2, 2), as core has them.

    Every layer of a step asks for the same, so the latest is kept.
    """
    if not _latest or _latest[0]() is not table:
        cos, sin = table
        rows = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
        _latest[:] = weakref.ref(table), rows.unsqueeze(0)
    return _latest[1]


def forget_matrices() -> None:
    _latest.clear()
