"""A video in pieces: what convolutions over time need of the frames before.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..cpu import channels_last

State = tuple[Tensor, ...]


class Past:
    """The past of one video, handed to the convolutions in the order in which they ask.

    Attributes:
        fresh: whether the piece at hand begins the video.
    """

    def __init__(self, state: State | None):
        self.fresh = state is None
        self._old: Iterator[Tensor] = iter(state or ())
        self._new: list[Tensor] = []

    def before(self, x: Tensor, frames: int, after: nn.Module | None = None) -> Tensor:
        """The frames before x, and x; its last ones are kept for the next piece.

        Args:
            x: (b, c, t, h, w).
            frames: how many before it; zeros where the video begins.
            after: a layer that x goes through first.

        Returns:
            (b, c, frames + t, h, w).
        """
        old = None if self.fresh else next(self._old)
        return self.keep(channels_last.joined(old, x, frames, after), frames)

    def keep(self, x: Tensor, frames: int) -> Tensor:
        """Returns x: (b, c, t, h, w); its last `frames` are kept for the next piece."""
        self._new.append(x[:, :, x.shape[2] - frames :].clone())  # a view would hold all of x
        return x

    def state(self) -> State:
        """What the next piece needs of this one and those before."""
        return tuple(self._new)


def one_by_one(
    step: Callable[[Tensor, Past], Tensor], x: Tensor, frames: int, state: State | None
) -> tuple[Tensor, State]:
    """`step` over x, a latent frame at a time.

    Kernels round differently for different sizes: only one latent frame at a time makes a video
    come out the same to the last bit, however it was cut. Training takes all of x at once.

    Args:
        step: takes a piece and what came before it.
        x: (b, c, t, h, w).
        frames: how many frames of x make a latent frame; a video's first is one frame.
        state: what the piece before left behind; None begins a video.

    Returns:
        What `step` gave, concatenated over time, and the state after x.
    """
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    first = 1 if state is None else frames
    cuts = [] if whole else range(first, x.shape[2], frames)
    parts = []
    for piece in x.tensor_split(tuple(cuts), dim=2):
        past = Past(state)
        parts.append(step(piece, past))
        state = past.state()
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2), state
