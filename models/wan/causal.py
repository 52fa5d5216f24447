"""A video in pieces: what a convolution over time must know of the frames before.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


class Past:
    """The past of one video, handed to the convolutions in the order in which they ask."""

    def __init__(self, state: State | None):
        self.fresh = state is None  # the piece at hand begins the video
        self._old: Iterator[Tensor] = iter(state or ())
        self._new: list[Tensor] = []

    def before(self, x: Tensor, frames: int) -> Tensor:
        """x: (b, c, t, h, w) with the `frames` before it in front, and its own last ones kept."""
        b, c, _, h, w = x.shape
        old = x.new_zeros(b, c, frames, h, w) if self.fresh else next(self._old)
        return self.keep(torch.cat((old, x), dim=2), frames)

    def keep(self, x: Tensor, frames: int) -> Tensor:
        """Returns x, of which the last `frames` go to the next piece."""
        self._new.append(x[:, :, x.shape[2] - frames :].clone())  # a view would hold all of x
        return x

    def state(self) -> State:
        return tuple(self._new)


def causal(conv: nn.Conv3d, x: Tensor, past: Past) -> Tensor:
    """A convolution that sees no later frame. x: (b, c, t, h, w) -> (b, c', t, h, w)."""
    memory = conv.kernel_size[0] - 1
    return convolve(conv, past.before(x, memory) if memory else x)


def convolve(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """conv(x), where torch would take a slow way by a quicker one.

    For one small float32 video on a CPU torch chooses `slow_conv3d`, 2 to 4 times slower than
    oneDNN; an input in oneDNN's own layout leaves it no choice.

    Source: `use_mkldnn` in aten/src/ATen/native/Convolution.cpp at pytorch v2.13.
    """
    b, c, t, h, _ = x.shape
    small = b == 1 and c * t * h <= 20480
    plain = x.is_cpu and x.dtype is torch.float32 and not torch.is_grad_enabled()
    if small and plain and torch.backends.mkldnn.is_available():
        return conv(x.to_mkldnn()).to_dense()
    return conv(x)
