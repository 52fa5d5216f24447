"""Camera moves, shot sizes and how much moves, in the words of each family: camera.json."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from ...models.errors import InputError
from .amend import amended, is_storyboard
from .families import BUILT_IN, caption_families
from .little_world import caption_word, without_camera
from .slots import says
from .tables import checked_row, read_table

TABLE = Path(__file__).with_name("camera.json")
AS_WRITTEN = "as written"
MOTIONS = range(5)
UNSAID = -1  # of MOTIONS: nothing is said of it
PARTS = {"words": str, "negative": str, **dict.fromkeys(caption_families(), str)}


class CameraTable(NamedTuple):
    """What can be chosen, by name: of each, the words by family, "words" for all others."""

    moves: Mapping[str, Mapping[str, str]]
    sizes: Mapping[str, Mapping[str, str]]
    motion: Mapping[str, Mapping[str, str]]


class Filmed(NamedTuple):
    """A prompt with camera and motion, what not to show, and what to say of it."""

    text: str
    negative: str
    notes: tuple[str, ...] = ()


def read_camera(own: Path | None = None) -> CameraTable:
    """The table, with a user's own rows in each of its parts.

    Raises:
        InputError: in one line, for a file that is no such table.
    """
    ours = read_table(TABLE)
    theirs = read_table(own) if own is not None and own.is_file() else {}
    for part, rows in theirs.items():
        if part not in ours:
            raise InputError(f"camera.json: {part!r} is none of {', '.join(ours)}.")
        if not isinstance(rows, dict):
            raise InputError(f"camera.json: {part!r} must be a table of rows.")
        ours[part] = {**ours[part], **rows}
    return CameraTable(
        *(
            {
                name: checked_row(row, f"{name!r} of {part!r} in camera.json", PARTS)
                for name, row in ours[part].items()
                if row is not None
            }
            for part in CameraTable._fields
        )
    )


def moves_in_words(names: Iterable[str], table: CameraTable) -> str:
    """Moves, one after the other, in the words that most models were captioned with."""
    rows = (table.moves.get(name, {}).get("words", f"The camera does a {name}") for name in names)
    return "".join(f"{words.rstrip('.')}. " for words in dict.fromkeys(rows)).rstrip()


def row_called(name: Any, rows: Mapping[str, Mapping[str, str]], what: str) -> Mapping[str, str]:
    """A row; an empty one for `AS_WRITTEN`. Raises InputError for one that there is not."""
    if name == AS_WRITTEN:
        return {}
    if not isinstance(name, str) or name not in rows:
        near = get_close_matches(str(name), [AS_WRITTEN, *rows], 1, 0)[0]
        raise InputError(f"there is no {what} {str(name)[:60]!r}. Nearest: {near!r}.")
    return rows[name]


def filmed(
    text: str,
    move: Mapping[str, str],
    size: Mapping[str, str],
    motion: Mapping[str, str],
    family: str,
) -> Filmed:
    """A prompt, or a storyboard's text, with rows of the table."""
    negative = motion.get("negative", "")
    if family == BUILT_IN:
        return _in_little_world(text, move, size, motion)
    words = [row.get(family) or row.get("words", "") for row in (size, move, motion)]
    behind = ". ".join(word for word in words if word)
    said = move and says(text, "camera")
    notes = ("the text says something of the camera, too",) if said else ()
    return Filmed(amended(text, behind=behind), negative, notes)


def _in_little_world(
    text: str, move: Mapping[str, str], size: Mapping[str, str], motion: Mapping[str, str]
) -> Filmed:
    """With one of the five cameras that the built-in model knows, in place of what was said."""
    notes = []
    if move and BUILT_IN not in move:
        notes.append("the built-in model knows no such camera: nothing was added")
    if size or motion:
        notes.append("the built-in model knows neither shot sizes nor strengths of motion")
    camera = caption_word("camera", move.get(BUILT_IN, ""))
    if not camera:
        return Filmed(text, "", tuple(notes))
    if is_storyboard(text):
        return Filmed(amended(text, camera), "", tuple(notes))
    return Filmed(f"{without_camera(text).strip(' .')}, {camera}", "", tuple(notes))
