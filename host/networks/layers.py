"""ComfyUI's layers, made quicker on a CPU where that changes no more than rounding."""

from typing import Any

import comfy.model_management as mm
import comfy.ops
from torch import Tensor

from ...models.cpu import onednn, winograd
from ...models.cpu.in_place import gelu as in_place_gelu
from ...models.cpu.rms_norm import WORTH, rms_norm


def quicker(operations: Any) -> Any:
    """The layers of one of core's `comfy.ops` classes, some with a way of their own.

    Weights that core must cast or patch at every call (fp8, LoRAs on offloaded layers, hooks) go
    core's way; all others are read where they lie, so that whatever replaced them counts. Cancel
    works between any two layers, as in core. Classes whose Linear is another altogether (mixed
    precision) are returned as they are.
    """
    if operations.Linear.forward is not comfy.ops.disable_weight_init.Linear.forward:
        return operations
    layers = {
        "Linear": linear(operations.Linear),
        "Conv2d": convolution(operations.Conv2d),
        "Conv3d": convolution(operations.Conv3d),
        "RMSNorm": norm(operations.RMSNorm),
    }
    return type(f"Quicker_{operations.__name__}", (operations,), layers)


def linear(core: type) -> type:
    class Linear(core):
        fuses_gelu = True  # see `feed_forward` in the transformer

        def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
            cast = self.comfy_cast_weights or self.weight_function or self.bias_function
            if not cast and onednn.linear_serves(x, self.weight):
                mm.throw_exception_if_processing_interrupted()
                return onednn.linear(x, self.weight, self.bias, gelu)
            y = super().forward(x)
            return in_place_gelu(y) if gelu else y

    return Linear


def convolution(core: type) -> type:
    class Convolution(core):
        takes_fewer_frames = True  # see `causal` in the VAE

        def forward(self, x: Tensor) -> Tensor:
            if not onednn.convolution_serves(self, x):
                return super().forward(x)
            mm.throw_exception_if_processing_interrupted()
            return winograd.convolution(self, x)

    return Convolution


def norm(core: type) -> type:
    class RMSNorm(core):
        def forward(self, x: Tensor) -> Tensor:
            cast = self.comfy_cast_weights or self.weight_function
            if cast or x.numel() < WORTH or not onednn.serves(x, self.weight):
                return super().forward(x)
            mm.throw_exception_if_processing_interrupted()
            return rms_norm(x, self.weight, self.eps)

    return RMSNorm
