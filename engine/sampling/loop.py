"""The one loop in which videos longer than a window are sampled, window by window.

Windows hand over in latents: what one gives is known to those after it, and nothing is decoded and
encoded again in between.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

from ..canvas.masked import MaskedLatents
from ..canvas.plan import Window

SampleWindow = Callable[[Window, MaskedLatents], Tensor]
"""A window, and its latents with all that is known of them when its turn comes
-> (b, c, n, h, w): its new latent frames."""


class KnownLatents(Protocol):
    """What is known before the first window: a whole stream, or one made when it is asked."""

    def at(self, frames: Sequence[int]) -> MaskedLatents:
        """Some latent frames, and what of them is known."""


def sampled(
    known: KnownLatents, plan: Sequence[Window], sample: SampleWindow
) -> Iterator[tuple[Window, Tensor]]:
    """Sample a plan window by window.

    Only what the windows to come look back at is kept.

    Args:
        known: what is known before.
        plan: the windows, in order.
        sample: gives the new latent frames of one.

    Yields:
        Each window with what `sample` gave.
    """
    last = {k: i for i, window in enumerate(plan) for k in window.frames}  # that looks at frame k
    done: dict[int, Tensor] = {}
    for i, window in enumerate(plan):
        before = {n: done[k] for n, k in enumerate(window.frames) if k in done}
        new = sample(window, known.at(window.frames).with_known(before))
        # Clones: a view would keep all of the window.
        done |= {k: new[:, :, n : n + 1].clone() for n, k in enumerate(window.new)}
        done = {k: latent for k, latent in done.items() if last[k] > i}
        yield window, new
