"""What a prompt says of action, place, light, camera, style and sound, and fills for the rest."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from .families import CaptionForm
from .phrases import Phrase, phrase

TABLE = Path(__file__).with_name("slots.json")
SLOTS = ("action", "place", "light", "camera", "style", "sound")


@cache
def slot_words() -> Mapping[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


@cache
def phrases_of(slot: str) -> tuple[Phrase, ...]:
    """What says something of a slot, or shows a tag."""
    said = slot_words()[slot]["said"] if slot in SLOTS else slot_words()["tags"][slot]
    return tuple(phrase(text, slot, "", {}) for text in said)


def says(text: str, slot: str) -> bool:
    """Whether a prompt says anything of a slot or tag, be it that there is none: "no music"."""
    low = text.lower()
    return any(found.pattern.search(low) for found in phrases_of(slot))


class Around(NamedTuple):
    """What else is said of the video that a prompt is a part of.

    Attributes:
        standing: what holds for the prompt, too. whole: all shots, of which the fills are alike.
    """

    standing: str = ""
    whole: str = ""


ALONE = Around()


def fills_for(text: str, slots: Sequence[str], seed: int, around: Around = ALONE) -> dict[str, str]:
    """A sentence for each slot of which the prompt says nothing, drawn by the seed.

    None that a word of the prompt speaks against, or one of those around it.
    """
    said = f"{around.standing} {text}"
    tags = {tag for tag in slot_words()["tags"] if says(f"{said} {around.whole}", tag)}
    found = {}
    for slot in slots:
        rows = [r["say"] for r in slot_words()[slot]["fills"] if not tags & set(r["unless"])]
        if rows and not says(said, slot):
            found[slot] = Random(f"{slot} {seed}").choice(rows)
    return found


def put_together(text: str, fills: Mapping[str, str], form: CaptionForm, seconds: int) -> str:
    """A prompt and its fills in a family's form: nothing of the prompt is changed."""
    parts = {slot: sentence(fills.get(slot, "")) for slot in SLOTS}
    lines = form.form.format(text=sentence(text), seconds=seconds, **parts).split("\n")
    kept = (" ".join(line.split()) for line in lines)
    return "\n".join(line for line in kept if not _empty(line))


def sentence(text: str) -> str:
    """With a full stop, unless it ends in a mark of its own."""
    text = " ".join(text.split())
    return text if not text or text[-1] in ".!?…\"”'" else f"{text}."


def _empty(line: str) -> bool:
    """A label that has nothing behind it."""
    return not line or line.endswith(":") or (line.startswith("Shots:") and line.endswith("]"))
