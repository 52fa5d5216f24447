"""Lines that begin with a span of time: [0s to 3s] and then what happens in it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ..written import LONGEST, Word, WrittenError, clock, seconds_in, written_lines

EASINGS = ("linear", "ease", "ease-in", "ease-out")
MOST_LINES = 1000
_TO = ("to", "-", "–", "until")
_HEADER = "a line begins with a time: [2s] until the end, or [0s to 3s]"


@dataclass(frozen=True)
class When:
    """When something happens, and how its speed changes on the way.

    Attributes:
        start, end: seconds; an `end` of None is the end of the video.
        easing: one of EASINGS.
        where: the place at which it was written, for messages.
    """

    start: Fraction
    end: Fraction | None = None
    easing: str = "linear"
    where: str = "line 1"

    def seconds(self, total: Fraction) -> Fraction:
        """How long it lasts in a video of `total` seconds."""
        return (total if self.end is None else self.end) - self.start

    def progress(self, time: float, total: Fraction) -> float:
        """How much of it is done at a time: 0 before it, 1 after."""
        done = (time - float(self.start)) / max(float(self.seconds(total)), 1e-9)
        return eased(min(max(done, 0.0), 1.0), self.easing)

    def check_within(self, total: Fraction) -> None:
        """Raises WrittenError if it goes on beyond the end of a video of `total` seconds."""
        last = self.start if self.end is None else self.end
        if last > total or self.start >= total:
            raise WrittenError(
                self.where,
                f"{clock(self.start)} to {clock(last)} is not within the video, which lasts "
                f"{clock(total)}: give an earlier time, or more seconds.",
            )


@dataclass(frozen=True)
class TimedLine:
    """A line that was read: when it happens, and the words after the bracket."""

    span: When
    rest: Word


def eased(done: float, easing: str) -> float:
    """Progress 0 to 1 in time -> progress on the way, for one of EASINGS."""
    if easing == "ease":
        return done * done * (3 - 2 * done)
    if easing == "ease-in":
        return done * done
    return 1 - (1 - done) ** 2 if easing == "ease-out" else done


def timed_lines(text: str) -> Iterator[TimedLine]:
    """The lines of a text that are neither blank nor notes.

    Raises:
        WrittenError: for what cannot be read, with line and column.
    """
    if len(text) > LONGEST:
        raise WrittenError("the text", f"{len(text)} characters: at most {LONGEST} are read.")
    for count, (number, line, indent) in enumerate(written_lines(text), start=1):
        if count > MOST_LINES:
            raise Word(line, number, indent + 1).wrong(f"at most {MOST_LINES} lines are read.")
        yield _timed(line, number, indent)


def _timed(line: str, number: int, indent: int) -> TimedLine:
    inside, closed, rest = line[1:].partition("]")
    bracket = Word(line[:1], number, indent + 1)
    if not line.startswith("["):
        raise bracket.wrong(f"{_HEADER}.")
    if not closed:
        raise bracket.wrong("this time has no closing bracket: write it as [0s to 3s].")
    found = re.finditer(r"[^\s,–-]+|[–-]", inside)
    words = [Word(w[0], number, indent + 2 + w.start()) for w in found]
    start, end = _times(bracket, words)
    rest, easing = _without_easing(rest)
    column = indent + len(inside) + 3 + len(rest) - len(rest.lstrip())
    where = f"line {number}, column {indent + 1}"
    return TimedLine(When(start, end, easing, where), Word(rest.strip(), number, column))


def _times(bracket: Word, words: list[Word]) -> tuple[Fraction, Fraction | None]:
    if not words:
        raise bracket.wrong(f"an empty time: {_HEADER}.")
    if words[0].text in ("-", "–"):
        raise words[0].wrong("a time cannot be before 0s.")
    start = _time(words[0])
    if len(words) == 1:
        return start, None
    if words[1].text.lower() not in _TO or len(words) != 3:
        raise words[1].wrong(f"{words[1].text!r} cannot be read here: {_HEADER}.")
    end = _time(words[2])
    if end <= start:
        raise words[2].wrong(
            f"it ends at {clock(end)} and begins at {clock(start)}: let it end later."
        )
    return start, end


def _time(word: Word) -> Fraction:
    seconds = seconds_in(word)
    if seconds is None:
        raise word.wrong(f"{word.text!r} is no time: write seconds, as 4s or 4.5s, or 1:05.")
    return seconds


def _without_easing(rest: str) -> tuple[str, str]:
    """What stands before the easing at the end of a line, and the easing."""
    bare, _, last = rest.rstrip().rpartition(" ")
    return (bare, last.lower()) if last.lower() in EASINGS else (rest, "linear")
