"""Expand Prompt: a short prompt becomes one as a family of video models was captioned with."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ...models.errors import InputError
from ..take.storyboard import Shot, with_standing
from ..take.storyboard_text import read_storyboard, write_storyboard
from .amend import is_storyboard
from .answer import fault_of, tidied
from .families import BUILT_IN, CaptionForm, caption_forms
from .little_world import recaption
from .slots import ALONE, Around, fills_for, put_together
from .subject import Subject, carried, subject_of

Writer = Callable[[str, str, int], str]  # (instruction, prompt, most tokens) -> answer
NAMED = 6  # words that are named in a note
SECONDS = 6  # of a shot whose length nobody says


class Expanded(NamedTuple):
    """A prompt, and what to say of how it came about, the most important first."""

    text: str
    notes: tuple[str, ...]


def expand(text: str, family: str, seed: int, write: Writer | None = None) -> Expanded:
    """A prompt, or a storyboard's text shot by shot, as the family's captions are.

    Args:
        family: one of `families.caption_families`.
        seed: of what is filled in by rules.
        write: a language model; None for rules alone.

    Raises:
        InputError: for text without words, or a storyboard that cannot be read.
    """
    if not text.strip():
        raise InputError("the text is empty: write at least who or what is to be seen.")
    if not is_storyboard(text):
        return expand_one(text, family, seed, write)
    shots, standing = read_storyboard(text)
    if not shots:
        raise InputError("there is no shot in the storyboard: write one as '[0s] …'.")
    return expand_shots(shots, standing, family, seed, write)


def expand_one(
    text: str,
    family: str,
    seed: int,
    write: Writer | None = None,
    about: Subject | None = None,
    around: Around = ALONE,
) -> Expanded:
    """As `expand`, of one prompt.

    Args:
        about: who is meant by "she" or "it".
        around: what else is said of the same video.
    """
    if family == BUILT_IN:
        return _for_little_world(text, seed, about)
    form = caption_forms()[family]
    if write is None:
        return by_rules(text, form, seed, around)
    told = text
    if about and about.words:
        told += f"\nThe subject in every shot is: {about.words}."
    asked = form.ask.replace("{seconds}", str(SECONDS))
    answer = tidied(write(asked, told, form.tokens))
    fault = fault_of(text, answer, form.words)
    if not fault:
        return Expanded(answer, ("written by the language model",))
    ruled = by_rules(text, form, seed, around)
    return Expanded(ruled.text, (f"by rules: the model's answer was {fault}", *ruled.notes))


def by_rules(text: str, form: CaptionForm, seed: int, around: Around = ALONE) -> Expanded:
    """The prompt as it is, and behind it what it does not say."""
    fills = fills_for(text, form.fills, seed, around)
    note = f"added: {', '.join(fills)}" if fills else "nothing was missing"
    return Expanded(put_together(text, fills, form, SECONDS), (note,))


def _for_little_world(text: str, seed: int, about: Subject | None) -> Expanded:
    """In the built-in model's own words."""
    found = recaption(text, seed, about.thing if about else None)
    if not found.known:
        what = "the built-in model knows balls, cubes and cones: the text has none, and stays"
        return Expanded(found.text, (what,))
    notes = []
    if found.left_out:
        named = ", ".join(found.left_out[:NAMED])
        more = len(found.left_out) - NAMED
        notes.append(f"unknown here, left out: {named}{f' and {more} more' if more > 0 else ''}")
    if found.filled:
        notes.append(f"added: {', '.join(found.filled)}")
    return Expanded(found.text, tuple(notes) or ("all of it is known here",))


def expand_shots(
    shots: Sequence[Shot], standing: str, family: str, seed: int, write: Writer | None
) -> Expanded:
    """Each shot's words; who is seen is said in the same words in every shot that means them."""
    if family == BUILT_IN:  # what holds for all becomes a part of each: nothing else is known there
        shots, standing = with_standing(shots, standing), ""
    subject = subject_of(standing) or subject_of(shots[0].prompt)
    around = Around(standing, " ".join(shot.prompt for shot in shots))
    notes: list[str] = []
    written = []
    for number, shot in enumerate(shots, start=1):
        means = subject if number > 1 and carried(shot.prompt, subject) else None
        text = shot.prompt
        if means and means.words and means.words not in standing and family != BUILT_IN:
            text = f"{means.sentence} {text[:1].upper()}{text[1:]}"
        done = expand_one(text, family, seed, write, means, around)
        written.append(replace(shot, prompt=" ".join(done.text.split()), own=""))
        notes += [f"shot {number}: {note}" for note in done.notes]
    return Expanded(write_storyboard(written, standing), tuple(notes))
