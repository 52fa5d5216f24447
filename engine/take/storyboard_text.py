"""The text form of a storyboard: one block a shot.

    [all] in the style of an old film
    [0s] a red ball bounces on the grass at sunset
    [4s cut] a blue cube on the snow at night
    [9s dissolve 0.5s seed 7] the cube again,
        closer, while it spins

A block begins with its time in brackets at the beginning of a line; the prompt goes on until the
next one. What follows [all], wherever it stands, begins every shot's prompt. Lines that begin with
# are notes.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from fractions import Fraction
from typing import NamedTuple

from ..written import LONGEST, Word, WrittenError, check_digits, seconds_in, written_lines
from .storyboard import DISSOLVE, Shot, StoryboardError, clock, with_standing

_LIKE_A_TIME = re.compile(r"[-+]?[\d.:]+[a-z]*", re.IGNORECASE)
_BLOCK = re.compile(
    r"\[\s*(?:all|[\d:.]+s?(?:[\s,=]+(?:cut|dissolve|seed)\b[^\]]*)?)\s*\]", re.IGNORECASE
)
_ALL = "all"
_WORDS = ("cut", "dissolve", "seed")
_MEANT = {
    **dict.fromkeys(("fade", "crossfade", "xfade", "blend", "mix", "morph"), "dissolve"),
    **dict.fromkeys(("hard", "hardcut", "jump", "switch"), "cut"),
}
_FORM = "a block is [4s], [4s cut] or [4s dissolve 0.5s], and may end with 'seed 7'"


class Written(NamedTuple):
    """What a storyboard's text says.

    Attributes:
        shots: in the order in which they are written.
        standing: what holds for every shot; "" for nothing.
    """

    shots: tuple[Shot, ...]
    standing: str = ""


def parse_storyboard(text: str) -> tuple[Shot, ...]:
    """The shots that are written in `text`; their order and times are looked at by `checked`.

    Text without any block is a single shot from 0s on; blank text is none.

    Raises:
        WrittenError: for what cannot be read, with line and column.
    """
    shots, standing = read_storyboard(text)
    return with_standing(shots, standing)


def read_storyboard(text: str) -> Written:
    """As `parse_storyboard`, with what holds for every shot apart from their own words."""
    if len(text) > LONGEST:
        raise WrittenError(
            "the text", f"{len(text)} characters: a storyboard has at most {LONGEST}."
        )
    lines = list(written_lines(text))
    if not any(line.startswith("[") for _, line, _ in lines):
        prompt = " ".join(line for _, line, _ in lines)
        return Written((Shot(Fraction(0), prompt, where="line 1"),) if prompt else ())
    blocks: list[tuple[Shot | Word, list[str]]] = []
    for number, line, indent in lines:
        _check_begins(line, number, indent)
        if line.startswith("["):
            header, prompt = _split(line, number, indent)
            blocks.append((_block(header), [prompt]))
        elif not blocks:
            raise Word(line, number, indent + 1).wrong(
                "text before the first shot: begin with [0s]."
            )
        else:
            blocks[-1][1].append(line)
    said = [(block, " ".join(" ".join(parts).split())) for block, parts in blocks]
    shots = tuple(_with_prompt(block, words) for block, words in said if isinstance(block, Shot))
    return Written(shots, _standing([(b, words) for b, words in said if isinstance(b, Word)]))


def write_storyboard(shots: Iterable[Shot], standing: str = "") -> str:
    """Shots as text, a line each, which reads as they are."""
    lines = [f"[{_ALL}] {standing}"] if standing else []
    for shot in shots:
        how = f" {shot.transition}" if shot.start else ""
        lasts = f" {clock(shot.dissolve)}" if shot.dissolve else ""
        own = "" if shot.seed is None else f" seed {shot.seed}"
        lines.append(f"[{clock(shot.start)}{how}{lasts}{own}] {shot.words}")
    return "\n".join(lines)


def _standing(found: list[tuple[Word, str]]) -> str:
    """The words after [all], of which there may be one."""
    if not found:
        return ""
    if len(found) > 1:
        raise found[1][0].wrong("a second [all]: what holds for every shot is said in one place.")
    [(bracket, words)] = found
    if not words:
        raise bracket.wrong("[all] says nothing: write after it what holds for every shot.")
    return words


def _check_begins(line: str, number: int, indent: int) -> None:
    """Refuse a block in the middle of a line, which would be read as a part of the prompt."""
    if found := _BLOCK.search(line, 1):
        raise Word(found[0], number, indent + found.start() + 1).wrong(
            f"a block begins a line of its own: put {found[0]!r} on the next one."
        )


def _split(line: str, number: int, indent: int) -> tuple[list[Word], str]:
    """A line with a block -> the words of its header, the first one standing for all; its prompt.

    The bracket itself comes first, for messages about the whole block.
    """
    inside, closed, prompt = line[1:].partition("]")
    bracket = Word("[", number, indent + 1)
    if not closed or "[" in inside:
        raise bracket.wrong("this block has no closing bracket: write it as [4s cut].")
    words = [
        Word(found[0], number, indent + 2 + found.start())
        for found in re.finditer(r"[^\s,=]+", inside)
    ]
    return [bracket, *words], prompt.strip()


def _block(header: list[Word]) -> Shot | Word:
    """A shot without its prompt; of [all] the bracket."""
    bracket, *words = header
    if not words:
        raise bracket.wrong(f"an empty block: {_FORM}.")
    if words[0].text.lower() != _ALL:
        return _shot(bracket, words)
    if len(words) > 1:
        raise words[1].wrong("[all] stands alone in its brackets: it has neither time nor seed.")
    return bracket


def _shot(bracket: Word, words: list[Word]) -> Shot:
    first, *rest = words
    start, transition, dissolve, seed = _seconds(first), None, Fraction(0), None
    while rest:
        word, *rest = rest
        name = word.text.lower()
        if name in ("cut", "dissolve") and transition is None:
            transition = name
            if name == "dissolve":
                named = bool(rest) and bool(_LIKE_A_TIME.fullmatch(rest[0].text))
                dissolve, rest = (_seconds(rest[0]), rest[1:]) if named else (DISSOLVE, rest)
                if not dissolve:
                    raise word.wrong("a dissolve of 0 seconds: write cut, or give it a duration.")
        elif name == "seed" and seed is None:
            seed, rest = _seed(word, rest)
        else:
            raise word.wrong(_unknown(word.text))
    return Shot(start, "", transition or "cut", dissolve, seed, where=bracket.where)


def _seconds(word: Word) -> Fraction:
    """The time that a word is. Raises WrittenError for any other word."""
    if (seconds := seconds_in(word)) is not None:
        return seconds
    what = f"{word.text!r} is no time: write seconds, as 4s or 4.5s, or 1:05."
    if word.text.startswith("-"):
        what = f"{word.text!r}: a time cannot be before 0s."
    elif word.text.lower() in (*_WORDS, *_MEANT):
        what = f"a block begins with its time: {_FORM}."
    raise word.wrong(what)


def _seed(word: Word, rest: list[Word]) -> tuple[int, list[Word]]:
    if not rest or not rest[0].text.isdecimal():
        raise (rest[0] if rest else word).wrong("after seed comes a whole number, as in 'seed 7'.")
    check_digits(rest[0])
    return int(rest[0].text), rest[1:]


def _unknown(text: str) -> str:
    name = text.lower()
    if name in _WORDS:
        return f"{text!r} stands where it cannot: {_FORM}."
    if _LIKE_A_TIME.fullmatch(text):
        return f"{text!r}: a second time comes only after dissolve; {_FORM}."
    near = _MEANT.get(name) or next(iter(get_close_matches(name, _WORDS)), None)
    return f"{text!r} means nothing here: {f'did you mean {near}? ' if near else ''}{_FORM}."


def _with_prompt(shot: Shot, prompt: str) -> Shot:
    if not prompt:
        raise StoryboardError(
            shot.where, "this shot has no prompt: say after the bracket what it shows."
        )
    return Shot(shot.start, prompt, shot.transition, shot.dissolve, shot.seed, where=shot.where)
