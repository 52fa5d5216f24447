"""Which latent frames are painted in which window: pure arithmetic, no tensors."""

from typing import NamedTuple

from ...models.errors import InputError


class Window(NamedTuple):
    """Latent frames [start, stop) of a clip; the first `known` of them are painted already."""

    start: int
    stop: int
    known: int

    @property
    def new(self) -> int:
        """How many latent frames it adds."""
        return self.stop - self.start - self.known


def plan_windows(total: int, length: int, overlap: int) -> tuple[Window, ...]:
    """Windows that together paint `total` latent frames, in order.

    Every window but the first begins `overlap` frames back, inside what is painted already. The
    last one is slid back rather than made short: a model paints best at the length it was trained
    at, and what the slide costs, it gives back as a longer known past.

    Args:
        total: latent frames to paint, 1 or more.
        length: latent frames the model is given at a time.
        overlap: how many of them come from the window before, 1 … length - 1.

    Raises:
        InputError: for numbers outside these.
    """
    if total < 1 or length < 1:
        raise InputError(f"windows of {length} latent frames for {total}: both must be 1 or more.")
    if total <= length:
        return (Window(0, total, 0),)
    if not 1 <= overlap < length:
        raise InputError(
            f"an overlap of {overlap} latent frames in windows of {length}: choose 1 to "
            f"{length - 1}, so that each window has a past to go on from and paints something new."
        )
    windows = [Window(0, length, 0)]
    while (painted := windows[-1].stop) < total:
        stop = min(painted - overlap + length, total)
        windows.append(Window(stop - length, stop, painted - (stop - length)))
    return tuple(windows)
