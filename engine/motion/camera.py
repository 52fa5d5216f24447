"""A camera's path: its moves added up, as a pose and a zoom for each moment.

Axes are those of the first picture: x to the right, y down, z into it. Lengths are in picture
widths (w): at the subject's distance the first picture shows 1 w. That distance is the focal
length, which in picture widths is one over what the lens takes in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from ..written import clock
from .timed_lines import When

DEGREES, WIDTHS, FACTOR = "degrees", "picture widths", "factor"
SPOKEN = {"dolly in": "push in", "dolly out": "pull out", "crane": "pedestal"}  # in prompts
AMOUNTS = {DEGREES: "degrees (20°)", WIDTHS: "picture widths (0.2w)", FACTOR: "a factor (1.5x)"}


class MoveKind(NamedTuple):
    """A move: its two directions, the first one counted as positive, and units it takes."""

    directions: tuple[str, str]
    units: tuple[str, ...]


MOVES = {
    "pan": MoveKind(("right", "left"), (DEGREES, WIDTHS)),
    "tilt": MoveKind(("up", "down"), (DEGREES, WIDTHS)),
    "roll": MoveKind(("right", "left"), (DEGREES,)),
    "dolly": MoveKind(("in", "out"), (WIDTHS,)),
    "truck": MoveKind(("right", "left"), (WIDTHS,)),
    "crane": MoveKind(("down", "up"), (WIDTHS,)),
    "zoom": MoveKind(("in", "out"), (FACTOR,)),
    "orbit": MoveKind(("right", "left"), (DEGREES,)),
}


@dataclass(frozen=True)
class Move:
    """One move of a camera.

    Attributes:
        kind: one of MOVES.
        sign: 1 for the first of its directions, -1 for the other.
        amount: how far in all, or a second.
        unit: of the amount, one of AMOUNTS.
        per_second: whether the amount is a speed.
        span: when.
    """

    kind: str
    sign: int
    amount: float
    unit: str
    per_second: bool
    span: When

    @property
    def spoken(self) -> str:
        """What it is called in prompts, as "pan left" or "push in"."""
        kind, way = self.kind, MOVES[self.kind].directions[self.sign < 0]
        return SPOKEN.get(f"{kind} {way}", f"{SPOKEN.get(kind, kind)} {way}")

    def total(self, seconds: Fraction, focal: float) -> float:
        """All of it, in radians, picture widths, or as the logarithm of a factor."""
        times = float(self.span.seconds(seconds)) if self.per_second else 1.0
        amount = self.amount
        if self.unit == DEGREES:
            amount = math.radians(amount)
        elif self.unit == FACTOR:
            amount = math.log(amount)
        elif self.kind in ("pan", "tilt"):
            amount *= angle_of_view(focal)
        return self.sign * amount * times


@dataclass(frozen=True)
class CameraPath:
    """The moves of a camera in a video.

    Attributes:
        moves: that add up.
        seconds: that the video lasts.
    """

    moves: tuple[Move, ...]
    seconds: Fraction

    def __post_init__(self):
        for move in self.moves:
            move.span.check_within(self.seconds)

    def poses(self, times: Sequence[float], focal: float) -> "Poses":
        """Where the camera is at so many seconds, of a lens of so many picture widths."""
        amounts = [self._at(time, focal) for time in times]
        c2w = torch.stack([_pose(amount, focal) for amount in amounts])
        return Poses(c2w, torch.tensor([math.exp(a["zoom"]) for a in amounts]).double())

    def _at(self, time: float, focal: float) -> dict[str, float]:
        """How much of each move is done at a time."""
        done = dict.fromkeys(MOVES, 0.0)
        for move in self.moves:
            part = move.span.progress(time, self.seconds)
            done[move.kind] += part * move.total(self.seconds, focal)
        return done

    def in_words(self) -> str:
        return f"{len(self.moves)} move{'s' * (len(self.moves) != 1)} in {clock(self.seconds)}"


@dataclass(frozen=True, eq=False)
class Poses:
    """A camera at some moments.

    Attributes:
        c2w: (n, 4, 4) float64, from the camera's axes to those of the first picture.
        zoom: (n,) float64, by which the focal length is multiplied.
    """

    c2w: Tensor
    zoom: Tensor

    def relative(self) -> "Poses":
        """As seen from the first of them."""
        return Poses(torch.linalg.inv(self.c2w[:1]) @ self.c2w, self.zoom)


def frame_times(count: int, fps: Fraction, first: int = 0) -> list[float]:
    """The seconds at which so many frames are shown."""
    return [float((first + n) / fps) for n in range(count)]


def angle_of_view(focal: float) -> float:
    """Radians that a lens of so many picture widths takes in from left to right."""
    return 2 * math.atan(0.5 / focal)


def focal_of(degrees: float) -> float:
    """The reverse, of degrees."""
    return 0.5 / math.tan(math.radians(degrees) / 2)


def _pose(done: dict[str, float], distance: float) -> Tensor:
    """(4, 4) of a camera that has moved so far; an orbit is around what is ahead at a distance."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = _turned("z", done["roll"]) @ _turned("y", done["pan"])
    pose[:3, :3] = pose[:3, :3] @ _turned("x", done["tilt"])
    pose[:3, 3] = torch.tensor([done["truck"], done["crane"], done["dolly"]])
    around = torch.eye(4, dtype=torch.float64)
    around[:3, :3] = _turned("y", -done["orbit"])
    subject = torch.tensor([0.0, 0.0, distance], dtype=torch.float64)
    around[:3, 3] = subject - around[:3, :3] @ subject
    return around @ pose


def _turned(axis: str, angle: float) -> Tensor:
    """(3, 3) that turns about an axis by radians."""
    c, s = math.cos(angle), math.sin(angle)
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return torch.tensor(rows[axis], dtype=torch.float64)
