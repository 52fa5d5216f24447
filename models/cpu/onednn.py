"""Matrix products and convolutions on a CPU by oneDNN, where torch would choose a slower kernel.

Torch gives float32 products to MKL, which on AMD's processors is a fifth slower, and a single small
float32 video to a convolution of its own, which is many times slower. The operators that call
oneDNN are private to torch: they are tried once for each dtype, on small tensors, and not used if
they are missing or wrong, or if the processor lacks the dtype (bfloat16 needs AVX-512 or
AVX-NE-CONVERT). Weights are read where they are at every call, so that a patched or moved one
counts at once and none is stored twice; a packed copy would gain another 4 %.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bands import empty_like, fill

ROWS = 256  # below, bringing the weight into oneDNN's own order costs more than it saves
PRODUCTS = 2 * 10**10  # multiplications of a part of a convolution: well below a second
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # what two ways of computing may differ by


def linear_serves(x: Tensor, weight: Tensor) -> bool:
    """Whether `linear` can compute x: (..., c) by weight: (c', c), and is worth it."""
    rows = x.numel() // max(1, x.shape[-1])
    return rows >= ROWS and serves(x, weight) and works(_linear_is_right, x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """x: (..., c) -> (..., c'); `gelu` applies GELU's tanh form in the same pass."""
    activation = ("gelu", [], "tanh") if gelu else ("none", [], "")
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *activation)


def convolution_serves(conv: nn.Module, x: Tensor) -> bool:
    """Whether `convolution` can compute a layer, whose weights then need no cast or patch."""
    cast = getattr(conv, "weight_function", None) or getattr(conv, "bias_function", None)
    return not cast and serves(x, conv.weight) and works(_convolution_is_right, x.dtype)


def convolution(
    conv: nn.Conv2d | nn.Conv3d, x: Tensor, padding: tuple[int, ...] | None = None
) -> Tensor:
    """conv(x); channels-last in, channels-last out.

    Args:
        padding: in place of the layer's own.
    """
    sizes = (padding or conv.padding, conv.stride, conv.dilation)
    weight = weight_for(conv, x)
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight, conv.bias, *sizes, conv.groups, "none", [], ""
    )


def in_bands(conv: nn.Conv2d | nn.Conv3d, x: Tensor, between: Callable[[], None]) -> Tensor:
    """conv(x), a band of rows after the other where it is large; `between` is called between."""
    padding, stride = conv.padding[-2], conv.stride[-2]
    reach = conv.dilation[-2] * (conv.kernel_size[-2] - 1) + 1  # rows of x that a row sees
    height = x.shape[-2]
    rows = (height + 2 * padding - reach) // stride + 1
    products = conv.weight.numel() * x[:, 0].numel() // (stride * conv.stride[-1])
    bands = min(rows, -(-products // PRODUCTS))
    if bands <= 1:
        return convolution(conv, x)
    size, out = -(-rows // bands), None
    flat = (*conv.padding[:-2], 0, conv.padding[-1])
    for first in range(0, rows, size):
        between()
        top = first * stride - padding
        bottom = (min(first + size, rows) - 1) * stride + reach - padding
        seen = x[..., max(top, 0) : min(bottom, height), :]
        above, below = max(-top, 0), max(bottom - height, 0)
        seen = F.pad(seen, (0, 0, above, below)) if above or below else seen
        part = convolution(conv, seen, flat)
        if out is None:
            out = empty_like(part, (*part.shape[:-2], rows, part.shape[-1]))
        fill(out[..., first : first + size, :], part)
    return out


def weight_for(conv: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """Its weight; for x with fewer frames than the kernel, only the taps that meet x.

    The missing frames before x then count as zeros.
    """
    fewer = x.ndim == 5 and not conv.padding[0]
    return conv.weight[:, :, -x.shape[2] :] if fewer else conv.weight


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether these are plain numbers on a CPU, of one dtype, outside of training."""
    plain = x.is_cpu and weight.is_cpu and x.dtype is weight.dtype and x.dtype in ROUNDING
    return plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


@lru_cache
def works(is_right: Callable[[torch.dtype], bool], dtype: torch.dtype) -> bool:
    """Whether a way through oneDNN, given by its self-test, exists and is right in dtype."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    try:
        return is_right(dtype)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False  # a processor without this dtype, or a torch with other private operators


@torch.no_grad()
def _linear_is_right(dtype: torch.dtype) -> bool:
    rng = torch.Generator().manual_seed(0)
    sizes = (3, 5, 17), (11, 17), (11,)
    x, weight, bias = (torch.randn(*s, generator=rng).to(dtype) for s in sizes)
    expected = F.linear(x, weight, bias)
    return close(linear(x, weight, bias), expected) and close(
        linear(x, weight, bias, gelu=True), F.gelu(expected, approximate="tanh")
    )


@torch.no_grad()
def _convolution_is_right(dtype: torch.dtype) -> bool:
    conv = nn.Conv3d(5, 7, 3, padding=(0, 1, 1), dtype=dtype)
    x = torch.randn(1, 3, 4, 6, 5, generator=torch.Generator().manual_seed(0)).movedim(-1, 1)
    return close(convolution(conv, x.to(dtype)), conv(x.to(dtype)))


def close(a: Tensor, b: Tensor) -> bool:
    """Whether both are one result, but for their dtype's rounding."""
    coarse = ROUNDING[a.dtype]
    return a.shape == b.shape and torch.allclose(a, b, rtol=coarse, atol=coarse / 10)
