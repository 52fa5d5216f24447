"""Video tensors on a CPU: channels last in memory, and no copies between norm and convolution.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import bands

BLOCK = 2**16  # numbers normalised at a time, few enough for a core's cache


def suits(x: Tensor) -> bool:
    """Whether to work this way; on GPUs and in training torch's own kernels are used."""
    return x.is_cpu and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def lay_out(network: nn.Module) -> None:
    """Lay out the weights of convolutions channels last as well.

    oneDNN copies weights into an order of its own at every call, from this layout up to three
    times faster. For images of few pixels most of the time goes into that.
    """
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d | nn.Conv3d):
            last = torch.channels_last_3d if conv.weight.ndim == 5 else torch.channels_last
            conv.weight.data = conv.weight.data.contiguous(memory_format=last)


def joined(
    old: Tensor | None,
    x: Tensor,
    frames: int,
    after: nn.Module | None,
    between: Callable[[], None] = lambda: None,
) -> Tensor:
    """A video's frames in one tensor: those before x, then x.

    Args:
        old: (b, c, frames, h, w); None stands for zeros.
        x: (b, c, t, h, w).
        frames: how many come before x.
        after: where `suits`, a layer that x goes through first: its `write` fills the result.
        between: called between parts of that.

    Returns:
        (b, c, frames + t, h, w).
    """
    b, c, t, h, w = x.shape
    if not suits(x):
        if old is None:  # channels last, too, or all that follows would be turned round
            old = x.new_zeros(b, frames, h, w, c).movedim(-1, 1)
        return torch.cat((old, x), dim=2)
    out = x.new_empty(b, frames + t, h, w, c).movedim(-1, 1)
    bands.fill(out[:, :, :frames], 0 if old is None else old)
    if after is None:
        bands.fill(out[:, :, frames:], x)
    else:
        after.write(x, out[:, :, frames:], between)
    return out


def norm_silu(
    gamma: Tensor, x: Tensor, out: Tensor, between: Callable[[], None] = lambda: None
) -> None:
    """out = silu(RMS norm over channels of x, times gamma); both (b, c, t, h, w).

    Arithmetic is in float32, a block that fits the cache at a time. Every pixel is computed from
    its own channels alone, so that a video in pieces comes out like a whole one. `between` is
    called before each block.
    """
    channels = x.shape[1]
    gamma = gamma.float().flatten() * channels**0.5
    for source, target in zip(x.movedim(1, -1), out.movedim(1, -1), strict=True):  # (t, h, w, c)
        rows = max(1, BLOCK // (channels * x.shape[-1]))
        for frame, place in zip(source, target, strict=True):
            for piece, to in zip(frame.split(rows), place.split(rows), strict=True):
                between()
                y = piece.contiguous().float()
                norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True).clamp_(min=1e-12)
                y = (y * norm.reciprocal_()).mul_(gamma)
                to.copy_(F.silu(y, inplace=True))
