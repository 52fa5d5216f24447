"""What people write line by line: where a word stands, and times as they write them."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from ..models.errors import InputError

LONGEST = 200_000  # characters
DIGITS = 40  # of a number; Python takes 4,300 and fails in words of its own
_TIME = re.compile(r"(?:(\d+):(?=[0-5]?\d(?:\.\d+)?s?$))?(\d+(?:\.\d+)?)s?", re.IGNORECASE)


class WrittenError(InputError):
    """A mistake in what somebody wrote, with the place where it stands in front."""

    def __init__(self, where: str, what: str):
        super().__init__(f"{where}: {what}")


class Word(NamedTuple):
    """A word and where it stands, both counted from 1."""

    text: str
    line: int
    column: int

    @property
    def where(self) -> str:
        return f"line {self.line}, column {self.column}"

    def wrong(self, what: str) -> WrittenError:
        return WrittenError(self.where, what)


def written_lines(text: str) -> Iterator[tuple[int, str, int]]:
    """(number from 1, what is on the line, how far it is indented), but for blanks and notes."""
    text = text.removeprefix("\ufeff")  # some editors save it in front
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            yield number, bare, len(line) - len(line.lstrip())


def seconds_in(word: Word) -> Fraction | None:
    """4, 4s, 4.5s, 1:05 or 1:05.5 -> seconds; None for what is no time.

    Raises:
        WrittenError: for more digits than anybody means.
    """
    check_digits(word)
    found = _TIME.fullmatch(word.text)
    if not found:
        return None
    minutes, seconds = found.groups()
    return 60 * int(minutes or 0) + Fraction(seconds)


def check_digits(word: Word) -> None:
    if len(word.text) > DIGITS:
        raise word.wrong(
            f"{word.text[:12]}... has {len(word.text)} digits: at most {DIGITS} are read."
        )


def clock(seconds: Fraction) -> str:
    """4 -> "4s", 4.5 -> "4.5s", as times are written."""
    return f"{float(round(seconds, 3)):g}s"
