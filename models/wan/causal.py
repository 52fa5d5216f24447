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
    return conv(past.before(x, memory) if memory else x)
