"""A video in pieces: what convolutions over time need of the frames before.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..cpu import bands, channels_last, onednn

State = list[Tensor]  # in the reverse of the order in which they are asked for


class Past:
    """The past of one video, handed to the convolutions in the order in which they ask.

    Each part of the state is let go as soon as it was used: at 720p all of it together is 4 GB.

    Attributes:
        fresh: whether the piece at hand begins the video.
    """

    def __init__(self, state: State | None):
        self.fresh = state is None
        self._old = state or []
        self._new: list[Tensor] = []

    def before(
        self,
        x: Tensor,
        frames: int,
        after: nn.Module | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """The frames before x, and x; its last ones are kept for the next piece.

        Args:
            x: (b, c, t, h, w).
            frames: how many before it; zeros where the video begins.
            after, between: see `joined`.

        Returns:
            (b, c, frames + t, h, w).
        """
        # No name for what is popped: it goes before its successor is there.
        x = channels_last.joined(None if self.fresh else self._old.pop(), x, frames, after, between)
        return self.keep(x, frames)

    def keep(self, x: Tensor, frames: int) -> Tensor:
        """Returns x: (b, c, t, h, w); its last `frames` are kept for the next piece."""
        # A view would hold all of x.
        self._new.append(bands.copied(x[:, :, x.shape[2] - frames :]))
        return x

    def state(self) -> State:
        """What the next piece needs of this one and those before."""
        return self._new[::-1]


def move(state: State, device: torch.device) -> None:
    """Each part by itself, so that no part is in two places but the one on its way."""
    for i, part in enumerate(state):
        state[i] = part.to(device)


def convolved(conv: nn.Module, x: Tensor, past: Past, norm: nn.Module | None = None) -> Tensor:
    """conv(norm(x)) with the frames that come before x, so that no frame sees a later one.

    On a CPU the norm writes into what the convolution reads. Elsewhere each tensor is let go when
    the next is there, without which decoding would hold a seventh more.

    Args:
        conv: one of `video_layers`, without padding in time.
        x: (b, c, t, h, w).
        past: the video's.
        norm: a NormSiLU that x goes through first.

    Returns:
        (b, c', t, h, w).
    """
    memory, alone = conv.kernel_size[0] - 1, past.fresh and x.shape[2] == 1
    if norm is not None and not channels_last.suits(x):
        x, norm = norm(x), None
    x = past.before(x, memory, norm, conv.between)
    if alone and onednn.convolution_serves(conv, x):
        # The zeros before a video's first frame add nothing: a third of the time.
        x = x[:, :, memory:]
    return conv(x)


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
        state: what the piece before left behind, and is used up here; None begins a video.

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
    return parts[0] if len(parts) == 1 else bands.concatenated(parts, 2), state
