"""Layers beyond torch's own, each the equation in its docstring.

A network takes the layers that hold weights from `operations`, which is `torch.nn` or a class such
as ComfyUI's `comfy.ops`. Where that has a layer of this file by name it is used; otherwise the one
here is built from the layers that it does have.

How they are computed stays out of the networks. Outside of training they write into tensors that
nobody else needs, and on a CPU they take the fastest way that models/cpu knows.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import einops
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cpu import bands, channels_last, onednn, winograd
from .cpu.in_place import gelu, spare

TORCHS = ("Linear", "Conv2d", "Conv3d", "LayerNorm", "RMSNorm", "Embedding")


def transformer_layers(operations: Any) -> Any:
    """The layers of `operations`, and LinearGELU and ModulatedNorm."""
    if hasattr(operations, "LinearGELU"):
        return operations
    own = {name: getattr(operations, name) for name in TORCHS if hasattr(operations, name)}
    if hasattr(operations, "Rotary"):  # of positions; others use the plain one
        own["Rotary"] = operations.Rotary
    return SimpleNamespace(
        **own,
        LinearGELU=_linear_gelu(operations.Linear),
        ModulatedNorm=modulated_norm(operations.LayerNorm),
    )


def video_layers(operations: Any) -> Any:
    """Conv2d and Conv3d of `operations`, fast on a CPU."""
    if hasattr(operations, "LinearGELU"):
        return operations  # a host's, which are
    return SimpleNamespace(
        Conv2d=fast_convolution(operations.Conv2d), Conv3d=fast_convolution(operations.Conv3d)
    )


def _linear_gelu(linear: type[nn.Module]) -> type[nn.Module]:
    class LinearGELU(linear):
        """gelu(weight · x + bias), GELU in its tanh form."""

        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y if is_replaced(self) else gelu(y)

    return gelu_last(LinearGELU)


def is_replaced(layer: nn.Module) -> bool:
    """Whether something stands in for a layer's forward and calls it, as a LoRA beside it does."""
    return "forward" in layer.__dict__


def gelu_last(linear: type[nn.Module]) -> type[nn.Module]:
    """A Linear with GELU as one whose GELU comes after what stands in for its forward.

    Args:
        linear: its forward leaves GELU out where it is replaced.
    """

    class GELULast(linear):
        def __call__(self, x: Tensor) -> Tensor:
            y = super().__call__(x)
            return gelu(y) if is_replaced(self) else y

    return GELULast


def modulated_norm(layer_norm: type[nn.Module]) -> type[nn.Module]:
    class ModulatedNorm(layer_norm):
        """norm(x)·(1 + scale) + shift. Source: adaLN of Peebles & Xie, arXiv:2212.09748."""

        def forward(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
            x = super().forward(x)
            return torch.addcmul(shift, x, 1 + scale, out=spare(x))

    return ModulatedNorm


class Residual(nn.Module):
    """x + gate · y, or x + y. Outside of training y is overwritten: pass what nobody needs."""

    def forward(self, x: Tensor, y: Tensor, gate: Tensor | None = None) -> Tensor:
        if gate is None:
            # y first: the sum has its layout in memory
            return y + x if spare(y) is None else bands.added(y, x)
        return torch.addcmul(x, gate, y, out=spare(y))


def fast_convolution(
    convolution: type[nn.Module], before: Callable[[], None] = bands.look
) -> type[nn.Module]:
    """A class of convolutions that on a CPU take the fastest way.

    Args:
        convolution: `Conv2d` or `Conv3d`, torch's or one derived from it.
        before: called before each fast one, and before each part of a large one.
    """

    class Convolution(convolution):
        between = staticmethod(before)  # for the norm in front of it as well

        def forward(self, x: Tensor) -> Tensor:
            if not onednn.convolution_serves(self, x):
                return super().forward(x)
            before()
            return winograd.fastest_convolution(self, x, before)

    return Convolution


def norms_are_fused() -> bool:
    """Whether GPUs have a kernel for RMS norms; before torch 2.9 these take float32 copies."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (2, 9)


class ChannelNorm(nn.Module):
    """Each pixel's channels scaled to a root mean square of gamma (RMS norm over channels)."""

    def __init__(self, channels: int, axes: int, **kw: Any):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * axes, **kw))

    def forward(self, x: Tensor) -> Tensor:
        """x: (b, c, ...) -> the same shape."""
        channels = x.shape[1]
        gamma = self.gamma.to(x).flatten()
        # Wan divides by max(norm, 1e-12); an eps this small is that, without a branch.
        y = F.rms_norm(x.movedim(1, -1), (channels,), gamma, eps=1e-24 / channels)
        return y.movedim(-1, 1)


class NormSiLU(ChannelNorm):
    """silu(norm(x)), norm being the ChannelNorm."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (b, c, t, h, w) -> the same shape."""
        return F.silu(super().forward(x), inplace=not torch.is_grad_enabled())

    def write(self, x: Tensor, out: Tensor, between: Callable[[], None] = lambda: None) -> None:
        """The same on a CPU, written into `out`; `between` is called between parts."""
        channels_last.norm_silu(self.gamma, x, out, between)


def rearrange_video(x: Tensor, pattern: str, **sizes: int) -> Tensor:
    """`einops.rearrange` to "b c ..."; on a CPU laid out channels last, as convolutions want it."""
    if not channels_last.suits(x):
        return einops.rearrange(x, pattern, **sizes)
    before, after = pattern.split(" -> ")
    batch, channel, rest = after.split(" ", 2)
    return einops.rearrange(x, f"{before} -> {batch} {rest} {channel}", **sizes).movedim(-1, 1)
