"""A video in pieces: what a convolution over time must know of the frames before.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..cpu import channels_last, onednn, winograd

Write = Callable[[Tensor, Tensor], None]  # (x, out): puts what is made of x into out
State = tuple[Tensor, ...]


def fill(x: Tensor, out: Tensor) -> None:
    out.copy_(x)


class Past:
    """The past of one video, handed to the convolutions in the order in which they ask."""

    def __init__(self, state: State | None):
        self.fresh = state is None  # the piece at hand begins the video
        self._old: Iterator[Tensor] = iter(state or ())
        self._new: list[Tensor] = []

    def before(self, x: Tensor, frames: int, write: Write = fill) -> Tensor:
        """x: (b, c, t, h, w) with the `frames` before it in front, and its own last ones kept.

        On a CPU, for which alone `write` is, it is written in place behind them.
        """
        old = None if self.fresh else next(self._old)
        if channels_last.suits(x):
            out = channels_last.room(x, frames)
            if old is None:
                out[:, :, :frames].zero_()
            else:
                out[:, :, :frames] = old
            write(x, out[:, :, frames:])
            return self.keep(out, frames)
        if old is None:
            b, c, _, h, w = x.shape
            old = x.new_zeros(b, c, frames, h, w)
        return self.keep(torch.cat((old, x), dim=2), frames)

    def keep(self, x: Tensor, frames: int) -> Tensor:
        """Returns x, of which the last `frames` go to the next piece."""
        self._new.append(x[:, :, x.shape[2] - frames :].clone())  # a view would hold all of x
        return x

    def state(self) -> State:
        return tuple(self._new)


def causal(conv: nn.Conv3d, x: Tensor, past: Past, write: Write = fill) -> Tensor:
    """A convolution that sees no later frame. x: (b, c, t, h, w) -> (b, c', t, h, w).

    On a CPU, of what `write` makes of x; and a video's first frame, which has nothing before it,
    goes without the zeros that stand for that, in a third of the time.
    """
    memory = conv.kernel_size[0] - 1
    frames = past.before(x, memory, write)
    alone = past.fresh and x.shape[2] == 1 and takes_a_frame_alone(conv, x)
    return convolve(conv, frames[:, :, memory:] if alone else frames)


def takes_a_frame_alone(conv: nn.Conv3d, x: Tensor) -> bool:
    quicker = is_plain(conv) or getattr(conv, "takes_fewer_frames", False)  # the host's, on a CPU
    return quicker and onednn.convolution_serves(conv, x)


def is_plain(conv: nn.Module) -> bool:
    return type(conv) in (nn.Conv2d, nn.Conv3d)


def convolve(conv: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """conv(x), on a CPU the quickest way, channels last.

    The host's layers see to that themselves, among other things.
    """
    served = is_plain(conv) and onednn.convolution_serves(conv, x)
    return winograd.convolution(conv, x) if served else conv(x)


def one_by_one(
    step: Callable[[Tensor, Past], Tensor], x: Tensor, frames: int, state: State | None
) -> tuple[Tensor, State]:
    """What `step` makes of x, a latent frame at a time, and the state after it.

    Kernels round differently for different sizes: only if each latent frame goes by itself does a
    video come out the same to the last bit, however it was cut. Training takes all at once.

    Args:
        step: takes a piece and what came before it.
        x: (b, c, t, h, w).
        frames: of x in a latent frame; a video's first has one.
        state: of the piece before; None begins a video.
    """
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    first = 1 if state is None else frames
    cuts = [] if whole else range(first, x.shape[2], frames)
    made = []
    for piece in x.tensor_split(tuple(cuts), dim=2):
        past = Past(state)
        made.append(step(piece, past))
        state = past.state()
    return made[0] if len(made) == 1 else torch.cat(made, dim=2), state
