"""A storyboard: shots one after another, each with a prompt, and how one gives way to the next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from torch import Tensor

from ...models.errors import InputError
from ..canvas.noise import check_seed
from ..written import WrittenError, clock

TRANSITIONS = ("cut", "dissolve")
DISSOLVE = Fraction(1, 2)  # seconds, where none are named
MOST_SHOTS = 1000

LONGEST_PROMPT = 20_000  # characters of a prompt, which is all that is encoded at a time


class StoryboardError(WrittenError):
    """A mistake in a storyboard."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One place and time, seen without a cut.

    start: seconds from the beginning; transition: how it follows the shot before; dissolve: for
    how many seconds, from its start, it shines through that shot, 0 for a cut; seed: of its
    noise, or None for the take's; image: (1, h, w, 3) in [0, 1] that it begins with, or None;
    where: what its author calls the place where it stands, for messages; own: the part of the
    prompt that is not said of every shot, "" where that is all of it.
    """

    start: Fraction
    prompt: str
    transition: str = "cut"
    dissolve: Fraction = Fraction(0)
    seed: int | None = None
    image: Tensor | None = None
    where: str = "the storyboard"
    own: str = ""

    @property
    def words(self) -> str:
        """What its author wrote of it alone."""
        return self.own or self.prompt


def checked(shots: Iterable[Shot]) -> tuple[Shot, ...]:
    """The shots, if they make a storyboard. Where it ends, `layout.check_end` looks at.

    Raises:
        StoryboardError: at the first shot that does not fit, with what would.
    """
    shots = tuple(shots)
    if not shots:
        raise StoryboardError("the storyboard", "there is no shot in it: write one as '[0s] …'.")
    if len(shots) > MOST_SHOTS:
        raise StoryboardError(
            shots[MOST_SHOTS].where, f"{len(shots)} shots: at most {MOST_SHOTS} are allowed."
        )
    for shot in shots:
        _check_alone(shot)
    _check_first(shots[0])
    for before, shot in pairwise(shots):
        _check_order(before, shot)
    return shots


def _check_alone(shot: Shot) -> None:
    if not shot.prompt.strip():
        raise StoryboardError(shot.where, "this shot has no prompt: say what it shows.")
    if shot.transition not in TRANSITIONS:
        raise StoryboardError(
            shot.where,
            f"no transition is called {shot.transition!r}: choose from {', '.join(TRANSITIONS)}.",
        )
    if (shot.dissolve > 0) != (shot.transition == "dissolve"):
        raise StoryboardError(
            shot.where,
            f"a {shot.transition} of {clock(shot.dissolve)}: a dissolve takes more than 0 "
            f"seconds, a cut none.",
        )
    if shot.seed is not None:
        try:
            check_seed(shot.seed)
        except InputError as error:
            raise StoryboardError(shot.where, str(error)) from None


def _check_first(shot: Shot) -> None:
    if shot.start != 0:
        raise StoryboardError(
            shot.where,
            f"the first shot starts at {clock(shot.start)}: it must start at 0s, for there is "
            f"nothing to show before it.",
        )
    if shot.transition == "dissolve":
        raise StoryboardError(
            shot.where, "the first shot cannot dissolve: there is nothing before it. Leave it out."
        )


def _check_order(before: Shot, shot: Shot) -> None:
    if shot.start <= before.start:
        raise StoryboardError(
            shot.where,
            f"this shot starts at {clock(shot.start)}, but the one before it starts at "
            f"{clock(before.start)}: they would overlap. Start it later than that.",
        )
    if before.start + before.dissolve > shot.start:
        raise StoryboardError(
            before.where,
            f"a dissolve of {clock(before.dissolve)} from {clock(before.start)} on is not over "
            f"when the next shot starts at {clock(shot.start)}: take at most "
            f"{clock(shot.start - before.start)}.",
        )


def merged(written: Sequence[Shot], chained: Sequence[Shot]) -> tuple[Shot, ...]:
    """Shots written as text and shots from nodes, by the time at which they start."""
    return tuple(sorted((*written, *chained), key=lambda shot: shot.start))


def with_standing(shots: Iterable[Shot], line: str) -> tuple[Shot, ...]:
    """The shots with what holds for every one of them before their own words."""
    if not line:
        return tuple(shots)
    joint = " " if line.endswith(tuple(".!?,;:")) else ", "
    return tuple(
        replace(shot, prompt=f"{line}{joint}{shot.words}", own=shot.words) for shot in shots
    )


def moved(shots: Sequence[Shot], starts: Sequence[Fraction]) -> tuple[Shot, ...]:
    """The shots with other starts; a dissolve that no longer fits is made shorter."""
    ends = [*starts[1:], None]
    return tuple(
        replace(
            shot,
            start=start,
            dissolve=shot.dissolve if end is None else min(shot.dissolve, end - start),
        )
        for shot, start, end in zip(shots, starts, ends, strict=True)
    )


def joint_prompt(shots: Sequence[Shot]) -> str:
    """One sentence for all shots, for models that read only one."""
    return ", then cut to ".join(" ".join(shot.prompt.split()).rstrip(".") for shot in shots)
