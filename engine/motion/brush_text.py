"""The text form of a motion brush: what moves where, one stroke a line.

    [0s to 3s] 0.25,0.5 -> 0.4,0.45 -> 0.6,0.5 ease
    [0s] mask 1 right 0.3w
    [0s] mask 2 still

A line has a time, what is moved, and where it goes. Places are parts of the picture's width and
height: 0,0 is its upper left corner, 1,1 the lower right one. Lines that begin with # are notes.
"""

import re

from ..written import Word
from .brush import DIRECTIONS, Stroke
from .timed_lines import TimedLine, timed_lines

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
_POINT = re.compile(rf"({_NUMBER})\s*,\s*({_NUMBER})")
_ARROW = re.compile(
    r"(\w+)\s+(?P<far>\d+(?:\.\d+)?|\.\d+)\s*w(?:idths?)?\s*(?P<rate>(?:/|per|a)\s*s(?:ec(?:onds?)?)?)?",
    re.IGNORECASE,
)  # fmt: skip
_ALONE = re.compile(rf"{_POINT.pattern}\s*")
_ON = re.compile(r"\s*(?:->|→)")
_TO = re.compile(r"\s*(?:->|→)\s*")
_FORM = "[0s to 3s] 0.2,0.5 -> 0.6,0.4, or [0s] mask 1 right 0.3w, or [0s] mask 2 still"


def parse_brush(text: str) -> tuple[Stroke, ...]:
    """The strokes that are written in `text`, by the lines.

    Raises:
        WrittenError: for what cannot be read, with line and column.
    """
    return tuple(_stroke(line) for line in timed_lines(text))


def _stroke(line: TimedLine) -> Stroke:
    rest, mask, start = line.rest, None, None
    if not rest.text:
        raise rest.wrong(f"a time without a stroke: write {_FORM}.")
    if found := re.match(r"mask\s+(\d{1,6})\b\s*", rest.text, re.IGNORECASE):
        mask = int(found[1])
        if not mask:
            raise rest.wrong("masks are counted from 1.")
    elif found := _POINT.match(rest.text):
        start = _place(found, rest)
        if not _ON.match(rest.text, found.end()):  # its first place is where the path begins
            found = _ALONE.match(rest.text)
        else:
            found = re.match("", rest.text)
    else:
        raise rest.wrong(f"{rest.text[:40]!r} is no stroke: write {_FORM}.")
    way = Word(rest.text[found.end() :], rest.line, rest.column + found.end())
    return _with_way(way, mask, start, line)


def _with_way(way: Word, mask: int | None, start: tuple | None, line: TimedLine) -> Stroke:
    if way.text.lower() == "still":
        return Stroke(line.span, mask, start)
    if (arrow := _ARROW.fullmatch(way.text)) and arrow[1].lower() in DIRECTIONS:
        x, y = DIRECTIONS[arrow[1].lower()]
        far = float(arrow["far"])
        return Stroke(line.span, mask, start, (x * far, y * far), bool(arrow["rate"]))
    places, at = [], 0
    for part in _TO.split(way.text):
        at = way.text.index(part, at)
        place = Word(part, way.line, way.column + at)
        found = _POINT.fullmatch(part)
        if not found:
            raise place.wrong(f"{part[:40]!r} is no place, arrow or still: write {_FORM}.")
        places.append(_place(found, place))
        at += len(part)
    if len(places) < 2:
        raise way.wrong(f"a path has two places or more: write {_FORM}.")
    return Stroke(line.span, mask, places[0] if mask is None else None, path=tuple(places))


def _place(found: re.Match, word: Word) -> tuple[float, float]:
    x, y = float(found[1]), float(found[2])
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise word.wrong(
            f"{found[0]!r} is not in the picture: both are from 0 to 1, its left and upper edge "
            f"to its right and lower one."
        )
    return x, y
