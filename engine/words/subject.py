"""Who or what a storyboard is about, so that every shot says it in the same words."""

import re
from dataclasses import dataclass

from .little_world import Thing, read_scenes
from .phrases import find_phrases
from .slots import phrases_of

PRONOUN = re.compile(
    r"\b(?:she|he|it|they|her|him|them|his|its|their|the same (?:man|woman|person|thing|one))\b",
    re.IGNORECASE,
)
ENDS = re.compile(
    r"\s*(?:[,.;:!?]|\b(?:in|on|at|under|over|by|near|through|across|inside|as|while|who|that|which|"
    r"during|from|towards?|into)\b)"
)
WITH = re.compile(
    r"\b(?:in|with|wearing)\s+(?:an?|the|his|her|its|their|\w+ed|\w+)\s", re.IGNORECASE
)


@dataclass(frozen=True)
class Subject:
    """Who or what a storyboard is about.

    Attributes:
        words: as the first shot has it, "a red-haired woman in a green coat"; "" if it begins
            with something else.
        thing: the same in the built-in model's world; None if it is not of it.
    """

    words: str
    thing: Thing | None = None

    @property
    def sentence(self) -> str:
        return f"{self.words[:1].upper()}{self.words[1:]}."

    @property
    def head(self) -> str:
        """The noun: its last word, or the last before "in" or "with"."""
        before = re.split(r"\s+(?:in|with|wearing|of|on)\s", self.words.lower())[0]
        return before.split()[-1] if before.split() else ""


def subject_of(text: str) -> Subject | None:
    """What stands before the first verb, with its clothes; None where nothing does."""
    things = read_scenes(text)[0].things
    thing = Thing(things[0].shape, things[0].colour, things[0].size) if things else None
    nameless = Subject("", thing) if thing else None
    if ENDS.match(text):
        return nameless
    low = text.lower()
    verbs = [one.start for one in find_phrases(low, phrases_of("action"))]
    stop = min((at for at in verbs if at > 0), default=len(text))
    if end := _end(text[:stop]):
        stop = min(stop, end)
    words = text[:stop].strip(" ,.;:")
    named = len(words.split()) > 1 and not PRONOUN.match(words)
    return Subject(words, thing) if named else nameless


def _end(text: str) -> int:
    """Where a noun with its clothes is over: or 0: nowhere before the end."""
    for found in ENDS.finditer(text):
        if not WITH.match(text[found.start() :].lstrip()):
            return found.start()
    return 0


def carried(text: str, subject: Subject | None) -> bool:
    """Whether a shot means the subject: by a pronoun, or by its noun."""
    if subject is None:
        return False
    if PRONOUN.search(text):
        return True
    head = subject.head
    return (
        bool(head)
        and re.search(rf"\b(?:the|this|that)\s+(?:\w+\s+)?{re.escape(head)}\b", text, re.IGNORECASE)
        is not None
    )
