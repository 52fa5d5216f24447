"""Phrases found in a text, from tables that people can read.

In a phrase, word~ is a word with any ending, word+ with any of a verb, a|b either word, *3 up to
three words in between, and {name} one of a table's "sets".
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

GAP = r"(?:(?!(?:camera|and|while|as|then|view|lens|a|an)\b)[\w'%]+\s+)"
SPACE = r"[\s-]+"
LETTER = r"[^\W\d_]"
OF_A_VERB = r"(?:e?s|e?d|e|[a-z]?ing|[a-z]?ed)?"


class Phrase(NamedTuple):
    """What to look for.

    Attributes:
        pattern: with its words' boundaries.
        kind, value: what finding it means.
        hints: a text has one of these, or the phrase is not in it: a quick look before.
    """

    pattern: re.Pattern
    kind: str
    value: str
    hints: tuple[str, ...] = ()


class FoundPhrase(NamedTuple):
    """A phrase and where it stands in a text."""

    start: int
    stop: int
    kind: str
    value: str


def phrase(text: str, kind: str, value: str, sets: Mapping[str, str]) -> Phrase:
    """A phrase of a table."""
    pattern, join = "", ""
    for word in text.split():
        if word.startswith("*"):
            pattern += rf"{join}{GAP}{{0,{int(word[1:])}}}"
            join = ""
            continue
        pattern += join + _word(sets[word[1:-1]] if word.startswith("{") else word)
        join = SPACE
    last = text.split()[-1]
    hints = (sets[last[1:-1]] if last.startswith("{") else last).split("|")
    short = tuple(hint.rstrip("~+") for hint in hints)
    return Phrase(re.compile(rf"(?<!\w){pattern}(?!\w)"), kind, value, short)


def _word(word: str) -> str:
    """One word, or several that mean the same."""
    either = "|".join(re.escape(part).replace(r"\~", f"{LETTER}*") for part in word.split("|"))
    either = either.replace(r"\+", OF_A_VERB)
    return f"(?:{either})"


def find_phrases(text: str, phrases: Iterable[Phrase]) -> list[FoundPhrase]:
    """The phrases in a text of small letters, in order; where two overlap, the longer one."""
    found = [
        FoundPhrase(*match.span(), phrase.kind, phrase.value)
        for phrase in phrases
        if any(hint in text for hint in phrase.hints)
        for match in phrase.pattern.finditer(text)
    ]
    kept: list[FoundPhrase] = []
    taken = bytearray(len(text))
    for one in sorted(found, key=lambda f: (f.start - f.stop, f.start)):
        if not any(taken[one.start : one.stop]):
            taken[one.start : one.stop] = b"\1" * (one.stop - one.start)
            kept.append(one)
    return sorted(kept)
