"""Which latent frames are sampled together, and in what order, when a model cannot take them all.

Plain arithmetic, no tensors: the plan of an hour can be shown before its first step. A window shows
the model some latent frames of a canvas; what it gives is known to the windows after it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ...models.errors import InputError


class Window(NamedTuple):
    """One run of the sampler.

    Attributes:
        frames: latent frames of the canvas that the model is shown, in order.
        context: how many of them, from the first on, it is shown only for the sake of the others:
            they are known, or a later window samples them again. A window that begins with an
            unknown frame samples it as the single pixel frame that a video begins with; in the
            middle of a canvas that has to be done again.
    """

    frames: tuple[int, ...]
    context: int = 0

    @property
    def new(self) -> tuple[int, ...]:
        """The latent frames that it gives."""
        return self.frames[self.context :]


def check_overlap(overlap: int, window: int) -> int:
    """The overlap itself, in latent frames.

    Raises:
        InputError: if it leaves nothing to sample, or nothing to go on from.
    """
    if not 1 <= overlap < window:
        raise InputError(
            f"an overlap of {overlap} latent frames in windows of {window}: choose 1 to "
            f"{window - 1}, so that each window has a past to go on from and samples something new."
        )
    return overlap


def usual_overlap(window: int) -> int:
    """Latent frames to go on from when nobody chose: 2 of nano's 5, 4 of Wan's 21, 6 of 31."""
    return min(max(2, round(window / 5)), max(1, window - 1))


def consecutive(total: int, window: int, overlap: int) -> tuple[Window, ...]:
    """Windows that together give `total` latent frames, from the first to the last.

    Every window but the first begins `overlap` frames back, in what the one before gave. The last
    is slid back rather than made short: a model is at its best at the length it was trained at, and
    what the slide costs it gives back as a longer context.

    Args:
        total: latent frames, 1 or more.
        window: how many the model is shown at a time.
        overlap: how many of them come from the window before, 1 … window - 1.

    Raises:
        InputError: for numbers outside these.
    """
    if total < 1 or window < 1:
        raise InputError(f"windows of {window} latent frames for {total}: both must be 1 or more.")
    if total <= window:
        return (Window(tuple(range(total))),)
    stride = window - check_overlap(overlap, window)
    starts = [*range(0, total - window, stride), total - window]
    before = [0, *(start + window for start in starts)]  # what is known when a window begins
    return tuple(
        Window(tuple(range(start, start + window)), max(0, known - start))
        for start, known in zip(starts, before, strict=False)
    )


def forwards(known: int, total: int, window: int, overlap: int) -> tuple[Window, ...]:
    """Windows that go on from the first `known` latent frames to the end of `total`."""
    check_overlap(overlap, window)
    start = max(0, known - overlap)
    windows = consecutive(total - start, window, overlap)
    if len(windows) == 1:  # a lone window that is short shows more of what is known before it
        return (Window(tuple(range(max(0, min(start, total - window)), total))),)
    return tuple(Window(tuple(start + k for k in one.frames), one.context) for one in windows)


def backwards(
    unknown: int, total: int, window: int, overlap: int, alone: int = 1
) -> tuple[Window, ...]:
    """Windows that give the first `unknown` of `total` latent frames, the last of them first.

    Args:
        alone: how many a window samples that can stand only where a video begins.

    Raises:
        InputError: also where the overlap leaves only a frame that would be sampled again.
    """
    if window - check_overlap(overlap, window) == alone and unknown > 1:
        raise InputError(
            f"an overlap of {overlap} latent frames in windows of {window} leaves 1 to sample, and "
            f"the first of a window is sampled again by the next: choose 1 to {window - 2}."
        )
    windows: list[Window] = []
    left = unknown
    for _ in range(unknown):  # each gives one of them at least
        stop = min(left + overlap, total)
        if stop <= window:
            break
        windows.append(Window(tuple(range(stop - window, stop)), context=alone))
        left = stop - window + alone
    return (*windows, Window(tuple(range(min(max(stop, window), total)))))


def between(
    before: Sequence[int],
    gap: Sequence[int],
    after: Sequence[int],
    window: int,
    overlap: int,
    alone: int = 1,
) -> tuple[Window, ...]:
    """Windows that fill a gap so that it fits what is on both sides.

    Args:
        before, gap, after: latent frames of the canvas in the order in which they are shown.
        window: how many the model is shown at a time.
        overlap: how many known ones each window goes on from.
        alone: see `backwards`.
    """
    overlap = min(check_overlap(overlap, window), max(1, window - 2))  # room to see the other side
    if not before:
        return backwards(len(gap), len(gap) + len(after), window, overlap, alone)
    windows, known, left = [], list(before), list(gap)
    aim = min(len(after), max(1, overlap // 2), max(0, window - overlap - 1))
    while overlap + len(left) + aim > window and len(left) > 1:
        new = left[: max(1, min(window - overlap, len(left) - 1))]
        windows.append(Window((*known[-overlap:], *new)))
        known, left = known + new, left[len(new) :]
    # As much of the one side as of the other: a model that sees more of the past arrives too late.
    # Bridges of three pairs of clips, in windows of 5: a seam of 1.70, 1.70 and 1.23 times the 95th
    # percentile of all steps where they arrive with 2 and 1 in view; 1.34, 1.73, 1.06 with 1 and 2.
    spare = window - len(left)
    sight = min(len(after), (spare + 1) // 2, max(0, spare - 1))
    past = known[-min(len(known), spare - sight) :]
    return (*windows, Window((*past, *left, *after[: spare - len(past)])))


def as_clips(plan: Iterable[Window], shown: Callable[[range], range]) -> tuple[Window, ...]:
    """A plan whose windows are clips that a model can be shown, each longer where it has to be.

    Args:
        plan: windows of latent frames that follow one another.
        shown: see `Grid.shown`.
    """
    windows = []
    for window in plan:
        frames = shown(range(window.frames[0], window.frames[-1] + 1))
        context = window.context + window.frames[0] - frames.start
        windows.append(Window(tuple(frames), context))
    return tuple(windows)
