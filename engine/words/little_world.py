"""Prompts for the built-in model: other people's words put into those of its captions.

It was trained on a little world: coloured balls, cubes and cones on four grounds. "A crimson orb
soars over the dunes at dusk" is, in its words, "a red ball rises on the sand at sunset". The words
are in little_world.json.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from .phrases import FoundPhrase, Phrase, find_phrases, phrase

TABLE = Path(__file__).with_name("little_world.json")
KINDS = ("colour", "shape", "size", "motion", "ground", "time", "camera", "post")
UNSAID = {"size": "medium", "time": "day", "camera": "static"}  # what captions leave unsaid
WORD = re.compile(r"[^\W_](?:[\w'’-]*\w)?")
# Words of captions between their phrases.
JOINING = "a an one there is and while bright then cut cuts scene to the"
WEIGHT = re.compile(r"[()\[\]{}]|:\s*[\d.]+(?=\))")
SLOWLY = re.compile(r"\b(?:a |very )*(?:slow|smooth|gentle)(?:ly)?\s+\Z", re.IGNORECASE)
SMALL_WORDS = """
a an the this that these those which who it its is are was be been being and or but then
while as with of in on at to from by over under across along into onto off up down there
here we see picture has have one some very so just again out for her his their
"""
SMALL = frozenset(SMALL_WORDS.split())


@dataclass(frozen=True)
class Thing:
    """An object; "" where the prompt does not say."""

    shape: str
    colour: str = ""
    size: str = ""
    motion: str = ""


@dataclass(frozen=True)
class Scene:
    """A shot in the little world; "" where the prompt does not say.

    Attributes:
        nameless: what is said of a thing that is not named, as in "it spins".
        left_out: words that mean nothing here.
    """

    things: tuple[Thing, ...] = ()
    ground: str = ""
    time: str = ""
    camera: str = ""
    post: bool = False
    nameless: Thing = Thing("")
    left_out: tuple[str, ...] = ()


class Recaption(NamedTuple):
    """A prompt in the model's words.

    Attributes:
        text: the prompt.
        left_out: words of the old one that mean nothing here.
        filled: what was added, as it is said.
        known: whether anything in it is a thing of the little world.
    """

    text: str
    left_out: tuple[str, ...]
    filled: tuple[str, ...]
    known: bool


@cache
def world_words() -> Mapping[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


@cache
def phrases() -> tuple[Phrase, ...]:
    """Every phrase that means something in the little world."""
    sets = world_words()["sets"]
    return tuple(
        phrase(text, kind, value, sets)
        for kind in KINDS
        for value, row in world_words()[kind].items()
        for text in chain(row["trained"], row["also"])
    )


@cache
def cuts() -> re.Pattern:
    either = "|".join(re.escape(words) for words in world_words()["cuts"])
    return re.compile(rf"[\s,.;:]*\b(?:{either})\b[\s,.;:]*")


@cache
def trained_words() -> frozenset[str]:
    """The words of the captions that the model was trained on."""
    rows = (row for kind in KINDS for row in world_words()[kind].values())
    told = " ".join(text for row in rows for text in row["trained"])
    return frozenset([*told.split(), *JOINING.split(" ")])


def read_scenes(prompt: str) -> list[Scene]:
    """What a prompt says, shot by shot."""
    text = WEIGHT.sub(" ", prompt.lower().replace("’", "'"))
    return [read_scene(part) for part in cuts().split(text) if part.strip()] or [Scene()]


def read_scene(text: str) -> Scene:
    """What one shot's words say; of two that say the same thing, the first counts."""
    found = find_phrases(text, phrases())
    said: dict[str, str] = {}
    for one in found:
        said.setdefault(one.kind, one.value)
    things, nameless = _things(found)
    return Scene(
        tuple(things),
        said.get("ground", ""),
        said.get("time", ""),
        said.get("camera", ""),
        "post" in said,
        nameless,
        tuple(_rest(text, found)),
    )


@dataclass
class _Reader:
    """Goes through a shot's phrases, and gives each thing what is said of it."""

    things: list[Thing] = field(default_factory=list)
    ahead: dict[str, str] = field(default_factory=dict)  # said before its thing

    def hear(self, kind: str, value: str, describes_next: bool) -> None:
        if kind == "shape":
            self.things.append(replace(Thing(value), **self.ahead))
            self.ahead = {}
        elif self.things and not describes_next and not getattr(self.things[-1], kind):
            self.things[-1] = replace(self.things[-1], **{kind: value})
        else:
            self.ahead.setdefault(kind, value)


def _things(found: Sequence[FoundPhrase]) -> tuple[list[Thing], Thing]:
    """The first two things, with what is said of each, and what is said of none of them."""
    reader = _Reader()
    said = [one for one in found if one.kind in ("colour", "size", "shape", "motion")]
    for i, one in enumerate(said):
        following = next((o.kind for o in said[i + 1 :] if o.kind not in ("colour", "size")), "")
        # Adjectives stand before their noun, or behind it where no other noun comes.
        adjective = one.kind in ("colour", "size")
        reader.hear(one.kind, one.value, adjective and following == "shape")
    for kind, value in reader.ahead.items():
        reader.things[:] = [
            thing if getattr(thing, kind) else replace(thing, **{kind: value})
            for thing in reader.things
        ]
    return reader.things[:2], Thing("", **reader.ahead)


def _rest(text: str, found: Sequence[FoundPhrase]) -> Iterator[str]:
    """The words that no phrase has, but for small ones and those of captions."""
    within = {at for one in found for at in range(one.start, one.stop)}
    known = SMALL | trained_words()
    words = (match[0] for match in WORD.finditer(text) if match.start() not in within)
    return (word for word in dict.fromkeys(words) if word not in known)


def caption_of(scene: Scene, doing: bool = False) -> str:
    """A shot in the plain words of the captions.

    Args:
        doing: "a ball rising" in place of "a ball rises", as after a cut.
    """
    subject = " and ".join(_noun(thing, doing) for thing in scene.things)
    if scene.post:
        subject += f" {caption_word('post', 'post')}"
    place = caption_word("ground", scene.ground)
    time = "" if scene.time == UNSAID["time"] else caption_word("time", scene.time)
    camera = caption_word("camera", scene.camera)
    parts = " ".join(part for part in (subject, place, time) if part), camera
    return ", ".join(part for part in parts if part)


def caption_word(kind: str, value: str, doing: bool = False) -> str:
    """The plain word of a caption; "" for what is not said."""
    if not value:
        return ""
    trained = world_words()[kind][value]["trained"]
    return trained[1 if doing else 0]


def _noun(thing: Thing, doing: bool) -> str:
    size = "" if thing.size in ("", UNSAID["size"]) else caption_word("size", thing.size)
    words = [size, caption_word("colour", thing.colour), caption_word("shape", thing.shape)]
    words = [word for word in words if word]
    article = "an" if words[0][0] in "aeiou" else "a"
    motion = caption_word("motion", thing.motion, doing)
    return " ".join(filter(None, (article, *words, motion)))


def filled(scene: Scene, rng: Random) -> tuple[Scene, tuple[str, ...]]:
    """The scene with what its prompt leaves open drawn by lot, and what that is in words.

    What captions leave unsaid, the size, daylight and a camera at rest, stays so.
    """
    added, things = [], []
    taken = {thing.colour for thing in scene.things}
    for thing in scene.things:
        if not thing.colour:
            free = [colour for colour in world_words()["colour"] if colour not in taken]
            thing = replace(thing, colour=rng.choice(free))
            taken.add(thing.colour)
            added.append(thing.colour)
        if not thing.motion:
            thing = replace(thing, motion=rng.choice(list(world_words()["motion"])))
            added.append(caption_word("motion", thing.motion))
        things.append(thing)
    ground = scene.ground
    if not ground:
        ground = rng.choice(list(world_words()["ground"]))
        added.append(caption_word("ground", ground))
    return replace(scene, things=tuple(things), ground=ground), tuple(added)


def recaption(prompt: str, seed: int, about: Thing | None = None) -> Recaption:
    """A prompt in the built-in model's words.

    What is written in these words already stays as it is, but for a missing place behind it. A
    prompt of which nothing is in the little world stays as it is, too.

    Args:
        about: what a prompt that names no thing is about.
    """
    scenes = [_about(scene, about) for scene in read_scenes(prompt)]
    if not all(scene.things for scene in scenes):
        return Recaption(prompt, tuple(scenes[0].left_out), (), False)
    rng = Random(f"little world {seed}")
    whole = [filled(scene, rng) for scene in scenes]
    added = tuple(word for _, words in whole for word in words)
    if understood(prompt) and about is None:
        grounds = [caption_word("ground", table_ground) for table_ground in _missing(scenes, whole)]
        text = ", ".join([prompt.strip(" ,."), *grounds]) if grounds else prompt
        return Recaption(text, (), tuple(grounds), True)
    first, *rest = (caption_of(scene, doing=i > 0) for i, (scene, _) in enumerate(whole))
    text = ", then cut to ".join([first, *rest])
    left_out = tuple(dict.fromkeys(word for scene in scenes for word in scene.left_out))
    return Recaption(text, left_out, added, True)


def _about(scene: Scene, thing: Thing | None) -> Scene:
    """A scene without a thing is about this one, with what is said of its motion."""
    if thing is None or (scene.things and scene.things[0].colour):
        return scene
    said = scene.things[0] if scene.things else scene.nameless
    return replace(scene, things=(replace(thing, motion=said.motion), *scene.things[1:]))


def _missing(scenes: Sequence[Scene], whole: Sequence[tuple[Scene, Any]]) -> list[str]:
    """The ground of a prompt of one shot that names none."""
    alone = len(scenes) == 1 and not scenes[0].ground
    return [whole[0][0].ground] if alone else []


def understood(prompt: str) -> bool:
    """Whether every word of a prompt is one of the captions that the model was trained on."""
    words = WORD.findall(WEIGHT.sub(" ", prompt.lower()))
    return all(word in trained_words() for word in words)


def without_camera(text: str) -> str:
    """A text without what it says of the camera."""
    low = text.lower()
    if len(low) != len(text):  # a letter that is two when it is small: places do not agree
        return text
    for one in reversed([one for one in find_phrases(low, phrases()) if one.kind == "camera"]):
        text = SLOWLY.sub("", text[: one.start]) + text[one.stop :]
    return re.sub(r"(?:\s*[,;:]\s*)+", ", ", text).strip(" ,;:")
