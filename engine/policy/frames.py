"""Frames that are looked at before a video gets its name: one a second, the first of a shot."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from torch import Tensor

from ..frames.scene_cut import detect_cuts
from .policy import FramesPolicy

Detector = Callable[[Tensor], Iterable[tuple[str, float]]]
"""uint8 (h, w, 3) -> what is to be seen in it, each with how sure that is, 0 to 1."""

HARMLESS = ("FEET_EXPOSED", "ARMPITS_EXPOSED", "BELLY_EXPOSED")


def frames_to_look_at(chunks: Iterable[Tensor], fps: Fraction) -> Iterator[Tensor]:
    """The frames of a stream that a detector is shown: uint8 (h, w, 3)."""
    frames = (frame for chunk in chunks for frame in chunk)
    due = 0
    for number, (frame, cut) in enumerate(detect_cuts(frames)):
        if cut or number >= due:
            yield frame
            due = number + fps


def seen_in(frames: Iterable[Tensor], detector: Detector, policy: FramesPolicy) -> str | None:
    """The first label that is not allowed, of those that are sure enough; None if there is none."""
    for frame in frames:
        for label, sure in detector(frame):
            if sure >= policy.threshold and _is_barred(label, policy.labels):
                return label
    return None


def _is_barred(label: str, labels: tuple[str, ...]) -> bool:
    if labels:
        return label in labels
    return label.endswith("_EXPOSED") and label not in HARMLESS
