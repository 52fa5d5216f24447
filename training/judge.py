"""Whether a clip shows what its scene says, attribute by attribute."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .camera import find_cut
from .captions import Scene, Shot, Thing
from .detect import Reading, Track, motion_of, read, shape_of

SCORES = {  # what each score counts
    "colour": "colour of the object (one-object prompts)",
    "ground": "ground",
    "time": "time of day",
    "coherent": "one coherent object, not two lumps",
    "shape": "shape, 3-way",
    "motion": "motion, 9-way (camera at rest)",
    "left_right": "left or right as asked",
    "camera": "camera move, 5-way",
    "cut": "cut present when asked",
    "no_cut": "no cut when none was asked",
    "after_cut": "ground and time after the cut",
    "two_colours": "both colours (two-object prompts)",
    "one_all": "everything right, one object",
    "two_all": "everything right, two objects",
}

Verdicts = dict[str, bool]


def judge(scene: Scene, clip: np.ndarray) -> Verdicts:
    """Verdicts on a clip, uint8 (frames, h, w, 3), by the keys of SCORES that apply to its scene.

    With a cut, colours, ground and time are judged on the first shot; shape, motion and camera are
    not judged, for a shot may last half a second.
    """
    cut = find_cut(clip)
    if len(scene.shots) == 1:
        return {"no_cut": cut is None} | _one_shot(scene.shots[0], read(clip), cut is None)
    verdicts = {"cut": cut is not None}
    before, after = clip[: cut or len(clip) // 2], clip[cut or len(clip) // 2 :]
    first, second = read(before), read(after)
    verdicts |= _place(scene.shots[0], first) | _colours(scene.shots[0], first)
    verdicts["after_cut"] = all(_place(scene.shots[1], second).values())
    return verdicts


def _place(shot: Shot, reading: Reading) -> Verdicts:
    return {"ground": reading.ground == shot.ground, "time": reading.time == shot.time}


def _colours(shot: Shot, reading: Reading) -> Verdicts:
    seen = [track.colour for track in reading.tracks]
    if len(shot.things) == 1:
        return {"colour": seen[:1] == [shot.things[0].colour]}
    return {"two_colours": {thing.colour for thing in shot.things} == set(seen)}


def _one_shot(shot: Shot, reading: Reading, uncut: bool) -> Verdicts:
    verdicts = _place(shot, reading) | _colours(shot, reading)
    verdicts["camera"] = reading.camera == shot.camera
    if len(shot.things) == 1:
        verdicts["coherent"] = reading.lumps >= 0.8
        verdicts |= _thing(shot, shot.things[0], reading.tracks[0] if reading.tracks else None)
        named = {k: v for k, v in verdicts.items() if k != "left_right"}
        return verdicts | {"one_all": uncut and all(named.values())}
    by_colour = {track.colour: track for track in reading.tracks}
    each = [all(_thing(shot, t, by_colour.get(t.colour)).values()) for t in shot.things]
    return verdicts | {"two_all": uncut and all(verdicts.values()) and all(each)}


def _thing(shot: Shot, thing: Thing, track: Track | None) -> Verdicts:
    """Shape, and under a camera at rest motion, of one object."""
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
        verdicts["left_right"] = _way(track) == thing.motion
    return verdicts


def _way(track: Track) -> str:
    """Where the object is later against where it was before, however fast."""
    x = track.x[np.isfinite(track.x)]
    third = max(1, len(x) // 3)
    step = x[-third:].mean() - x[:third].mean() if len(x) else 0.0
    return "right" if step > 0.03 else "left" if step < -0.03 else "nowhere"


@dataclass
class Tally:
    """Right answers out of how many, by the keys of SCORES."""

    right: Counter = field(default_factory=Counter)
    asked: Counter = field(default_factory=Counter)

    def add(self, verdicts: Iterable[Verdicts]) -> "Tally":
        for each in verdicts:
            for name, ok in each.items():
                self.right[name] += ok
                self.asked[name] += 1
        return self

    def percent(self, name: str) -> float | None:
        """Share of right answers, None where nothing was asked."""
        n = self.asked[name]
        return round(100 * self.right[name] / n, 1) if n else None
