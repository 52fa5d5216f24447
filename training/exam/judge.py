"""Whether a clip shows what its scene says, attribute by attribute."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt

import numpy as np

from ..world.captions import Scene, Shot, Thing
from .camera import find_cut
from .detect import Reading, Trajectory, motion_of, read, shape_of

SCORES = {  # what each score counts
    "colour": "colour of the object (one-object prompts)",
    "ground": "ground",
    "time": "time of day",
    "coherent": "one coherent object, not two lumps",
    "shape": "shape, 3-way",
    "motion": "motion, 9-way (camera at rest)",
    "left_right": "left or right as asked",
    "camera": "camera, 5-way",
    "camera_moves": "camera, where a move was asked for",
    "cut": "cut present when asked",
    "no_cut": "no cut when none was asked",
    "after_cut": "ground and time after the cut",
    "two_colours": "both colours (two-object prompts)",
    "one_all": "everything right, one object",
    "two_all": "everything right, two objects",
}

Verdicts = dict[str, bool]


class View:
    """A clip, uint8 (frames, h, w, 3), and what the detectors say about it, each run once."""

    def __init__(self, clip: np.ndarray):
        self.clip, self.cut = clip, find_cut(clip)

    @cached_property
    def whole(self) -> Reading:
        return read(self.clip)

    @cached_property
    def before(self) -> Reading:
        """The first shot; half of the clip if no cut was found."""
        return read(self.clip[: self.cut or len(self.clip) // 2])

    @cached_property
    def after(self) -> Reading:
        return read(self.clip[self.cut or len(self.clip) // 2 :])


def judge(scene: Scene, clip: np.ndarray | View) -> Verdicts:
    """Verdicts on a clip, uint8 (frames, h, w, 3), by the keys of SCORES that apply to its scene.

    With a cut, colours, ground and time are judged on the first shot; shape, motion and camera are
    not judged, because a shot may last half a second.
    """
    view = clip if isinstance(clip, View) else View(clip)
    if len(scene.shots) == 1:
        uncut = view.cut is None
        return {"no_cut": uncut} | _one_shot(scene.shots[0], view.whole, uncut)
    verdicts = {"cut": view.cut is not None}
    verdicts |= place_verdicts(scene.shots[0], view.before) | colour_verdicts(
        scene.shots[0], view.before
    )
    verdicts["after_cut"] = all(place_verdicts(scene.shots[1], view.after).values())
    return verdicts


def place_verdicts(shot: Shot, reading: Reading) -> Verdicts:
    return {"ground": reading.ground == shot.ground, "time": reading.time == shot.time}


def colour_verdicts(shot: Shot, reading: Reading) -> Verdicts:
    seen = [track.colour for track in reading.tracks]
    if len(shot.things) == 1:
        return {"colour": seen[:1] == [shot.things[0].colour]}
    return {"two_colours": {thing.colour for thing in shot.things} == set(seen)}


def _one_shot(shot: Shot, reading: Reading, uncut: bool) -> Verdicts:
    verdicts = place_verdicts(shot, reading) | colour_verdicts(shot, reading)
    verdicts["camera"] = reading.camera == shot.camera
    if shot.camera != "static":
        verdicts["camera_moves"] = verdicts["camera"]
    if len(shot.things) == 1:
        verdicts["coherent"] = reading.lumps >= 0.8
        verdicts |= _thing(shot, shot.things[0], reading.tracks[0] if reading.tracks else None)
        named = {k: v for k, v in verdicts.items() if k != "left_right"}
        return verdicts | {"one_all": uncut and all(named.values())}
    by_colour = {track.colour: track for track in reading.tracks}
    each = [all(_thing(shot, t, by_colour.get(t.colour)).values()) for t in shot.things]
    return verdicts | {"two_all": uncut and all(verdicts.values()) and all(each)}


def _thing(shot: Shot, thing: Thing, track: Trajectory | None) -> Verdicts:
    """Shape of one object, and its motion where the camera is at rest."""
    sideways = thing.motion in ("left", "right")
    if track is None:
        wrong = {"shape": False}
        if shot.camera == "static":
            wrong |= {"motion": False} | ({"left_right": False} if sideways else {})
        return wrong
    motion = motion_of(track)
    verdicts = {
        "shape": shape_of(track, motion == "spins" or thing.motion == "spins") == thing.shape
    }
    if shot.camera != "static":
        return verdicts
    verdicts["motion"] = motion == thing.motion
    if sideways:
        verdicts["left_right"] = way_of(track) == thing.motion
    return verdicts


def way_of(track: Trajectory) -> str:
    """Which way the object went, however slowly."""
    x = track.x[np.isfinite(track.x)]
    third = max(1, len(x) // 3)
    step = x[-third:].mean() - x[:third].mean() if len(x) else 0.0
    return "right" if step > 0.03 else "left" if step < -0.03 else "nowhere"


def interval(right: int, asked: int) -> tuple[float, float]:
    """The percentages between which the true share lies, with 95 % confidence.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z, share = 1.96, right / asked
    middle = share + z * z / (2 * asked)
    spread = z * sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    scale = 100 / (1 + z * z / asked)
    return round(max(0.0, scale * (middle - spread)), 1), round(scale * (middle + spread), 1)


@dataclass
class Scorecard:
    """Right answers, and out of how many, by the keys of SCORES."""

    right: Counter = field(default_factory=Counter)
    asked: Counter = field(default_factory=Counter)

    def add(self, verdicts: Iterable[Verdicts]) -> "Scorecard":
        for each in verdicts:
            for name, ok in each.items():
                self.right[name] += bool(ok)
                self.asked[name] += 1
        return self

    def percent(self, name: str) -> float | None:
        """Share of right answers, None where nothing was asked."""
        n = self.asked[name]
        return round(100 * self.right[name] / n, 1) if n else None

    def interval(self, name: str) -> tuple[float, float] | None:
        """Where the true share lies with 95 % confidence, None where nothing was asked."""
        return interval(self.right[name], self.asked[name]) if self.asked[name] else None


def without(verdicts: Verdicts, names: Container[str]) -> Verdicts:
    """The verdicts, without those of these names."""
    return {name: ok for name, ok in verdicts.items() if name not in names}
