"""The text form of a camera path: one move a line.

    [0s to 3s] pan right 20° ease
    [0s] dolly in 0.1w/s
    [2s to 4s] zoom in 1.5x

A line has a time, a move with its direction, and how much of it: in all, or a second. Moves that
overlap add up. Lines that begin with # are notes.
"""

import re
from difflib import get_close_matches

from ..written import Word
from .camera import AMOUNTS, DEGREES, FACTOR, MOVES, WIDTHS, Move
from .timed_lines import TimedLine, timed_lines

_AMOUNT = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*"
    r"(?P<unit>°|deg(?:rees?)?|w(?:idths?)?|x|×|times)?\s*"
    r"(?P<rate>(?:/|per|a)\s*s(?:ec(?:onds?)?)?)?",
    re.IGNORECASE,
)
_MEANT = {
    **dict.fromkeys(("yaw", "turn"), "pan"), "pitch": "tilt",
    **dict.fromkeys(("track", "slide"), "truck"), **dict.fromkeys(("pedestal", "boom"), "crane"),
    **dict.fromkeys(("push", "pull"), "dolly"), "rotate": "roll", "arc": "orbit",
}  # fmt: skip
_SOME = {DEGREES: ("20°", "10°/s"), WIDTHS: ("0.2w", "0.1w/s"), FACTOR: ("1.5x", "1.2x/s")}
_FORM = "a line is [0s to 3s] pan right 20°"


def parse_camera(text: str) -> tuple[Move, ...]:
    """The moves that are written in `text`, by the lines; none for a camera that stays.

    Raises:
        WrittenError: for what cannot be read, with line and column.
    """
    return tuple(_move(line) for line in timed_lines(text))


def _move(line: TimedLine) -> Move:
    words = [
        Word(found[0], line.rest.line, line.rest.column + found.start())
        for found in re.finditer(r"\S+", line.rest.text)
    ]
    if not words:
        raise line.rest.wrong(f"a time without a move: {_FORM}.")
    name = words[0].text.lower()
    if name not in MOVES:
        near = _MEANT.get(name) or next(iter(get_close_matches(name, MOVES)), None)
        hint = f"did you mean {near}? " if near else ""
        raise words[0].wrong(f"no move is called {name!r}: {hint}choose from {', '.join(MOVES)}.")
    signs = dict(zip(MOVES[name].directions, (1, -1), strict=True))
    direction = words[1].text.lower() if len(words) > 1 else ""
    if direction not in signs:
        place = words[1] if len(words) > 1 else words[0]
        raise place.wrong(f"say in which direction: {' or '.join(f'{name} {d}' for d in signs)}.")
    if len(words) < 3:
        raise words[1].wrong(f"say how far, as {_example(name, direction)}.")
    amount, unit, per_second = _amount(name, direction, words[2], line.rest)
    return Move(name, signs[direction], amount, unit, per_second, line.span)


def _amount(name: str, direction: str, word: Word, line: Word) -> tuple[float, str, bool]:
    """How much: the number, its unit, and whether it is a speed."""
    text = line.text[word.column - line.column :]
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise word.wrong(f"{text!r} says no amount: write {_example(name, direction)}.")
    given = (found["unit"] or "").lower()
    unit = DEGREES if given[:1] in ("°", "d") else WIDTHS if given[:1] == "w" else FACTOR
    if not given or unit not in MOVES[name].units:
        allowed = " or ".join(AMOUNTS[unit] for unit in MOVES[name].units)
        raise word.wrong(
            f"{text!r}: {name} takes {allowed}, in all or a second, as {_example(name, direction)}."
        )
    number = float(found["number"])
    if unit == FACTOR and not 0.01 <= number <= 100:
        raise word.wrong(f"{text!r}: a zoom is by 0.01x to 100x.")
    if number > 36000:
        raise word.wrong(f"{text!r}: at most 36000 are allowed.")
    return number, unit, found["rate"] is not None


def _example(name: str, direction: str) -> str:
    whole, speed = _SOME[MOVES[name].units[0]]
    return f"'{name} {direction} {whole}' or '{name} {direction} {speed}'"
