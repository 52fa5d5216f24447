"""Looks: words before and behind a prompt, a negative prompt, a cfg, from styles.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ...models.errors import InputError
from .amend import amended, is_storyboard
from .families import BUILT_IN
from .little_world import caption_word, read_scenes, world_words
from .slots import says
from .tables import checked_row, read_table

TABLE = Path(__file__).with_name("styles.json")
NO_STYLE = "none"
NEAREST = ("time", "ground")  # in which the built-in model can come near a style
CFGS = (0.1, 5.0)  # by which a model's own may be multiplied
PARTS = {"prefix": str, "suffix": str, "negative": str, "cfg": (int, float), "built_in": dict}


@dataclass(frozen=True)
class Style:
    """A look.

    Attributes:
        prefix, suffix: words before and behind the prompt.
        negative: what does not belong to it.
        cfg: what the model's own is multiplied by.
        built_in: the nearest that the built-in model knows, by kind: {"time": "night"}.
    """

    prefix: str = ""
    suffix: str = ""
    negative: str = ""
    cfg: float = 1.0
    built_in: Mapping[str, str] = field(default_factory=dict)


class Styled(NamedTuple):
    """A prompt in a style, and what to say of it; "" for nothing."""

    text: str
    note: str = ""


def read_styles(own: Path | None = None) -> dict[str, Style]:
    """The styles by name, in the order of menus, with a user's own.

    Raises:
        InputError: in one line, for a file that is no table of styles.
    """
    found = {NO_STYLE: Style()}
    for name, row in read_table(TABLE, own).items():
        style = Style(**checked_row(row, f"the style {name!r} in {TABLE.name}", PARTS))
        low, high = CFGS
        if not low <= style.cfg <= high:
            raise InputError(f"the style {name!r}: 'cfg' must be from {low:g} to {high:g}.")
        for kind, value in style.built_in.items():
            known = world_words()[kind] if kind in NEAREST else NEAREST
            if kind not in NEAREST or value not in known:
                raise InputError(
                    f"the style {name!r}: 'built_in' says {kind} {value!r}: choose from "
                    f"{', '.join(known)}."
                )
        found[name] = style
    return found


def style_called(name: str, styles: Mapping[str, Style]) -> Style:
    """Raises InputError for a style that there is not, with the nearest that there is."""
    if not isinstance(name, str) or name not in styles:
        near = get_close_matches(str(name), styles, 1, 0)[0]
        raise InputError(
            f"there is no style {str(name)[:60]!r}: it may be from another's own table. Nearest: "
            f"{near!r}."
        )
    return styles[name]


def styled(text: str, style: Style, family: str) -> Styled:
    """A prompt, or a storyboard's text, in a style.

    The built-in model has one style: of another it is told the place or time of day that is
    nearest, where the prompt names none.
    """
    if family == BUILT_IN:
        return _in_little_world(text, style)
    note = ""
    if (style.prefix or style.suffix) and says(text, "style"):
        note = "the text names a style, too"
    return Styled(amended(text, style.prefix, style.suffix), note)


def _in_little_world(text: str, style: Style) -> Styled:
    if style == Style():
        return Styled(text)
    if not style.built_in:
        return Styled(text, "the built-in model draws in one style: nothing was added")
    scenes = read_scenes(text)
    open_ = [kind for kind in style.built_in if not any(getattr(s, kind) for s in scenes)]
    words = [caption_word(kind, style.built_in[kind]) for kind in open_]
    if not words:
        said = " and ".join(style.built_in)
        return Styled(text, f"the text names a {said}: nothing was added")
    note = f"the nearest that the built-in model knows: {', '.join(words)}"
    if is_storyboard(text):
        return Styled(amended(text, ", ".join(words)), note)
    return Styled(", ".join([text.strip(" .,"), *words]), note)
