"""Tables that people may change: those of the pack, and what a file of their own says instead."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...models.errors import InputError

LARGEST = 1_000_000  # bytes of a table


def read_table(path: Path, own: Path | None = None) -> dict[str, Any]:
    """The rows of a table, by name.

    Args:
        path: of the pack.
        own: a file whose rows come before the pack's; null takes one of these away. It need not
            be there.

    Raises:
        InputError: in one line, for a file that is no table.
    """
    rows = _rows(path)
    if own is not None and own.is_file():
        rows |= _rows(own)
    return {name: row for name, row in rows.items() if row is not None}


def _rows(path: Path) -> dict[str, Any]:
    where = f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{where} is larger than {LARGEST:,} bytes: it is no such table.")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where} cannot be read: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where} cannot be read: {type(error).__name__}.") from None
    if not isinstance(found, dict):
        raise InputError(f'{where} is no table: it begins with {{ and has rows "name": {{…}}.')
    return {name: row for name, row in found.items() if name != "about"}


def checked_row(row: Any, where: str, kinds: Mapping[str, type | tuple[type, ...]]) -> dict:
    """A row whose parts are of these kinds. Raises InputError, which names the row, for another."""
    if not isinstance(row, dict):
        raise InputError(f'{where} must have parts: {{"{next(iter(kinds))}": …}}.')
    for name, value in row.items():
        if name not in kinds:
            near = next(iter(get_close_matches(name, kinds, 1, 0)))
            raise InputError(f"{where} has a part {name!r}, which means nothing: {near!r}?")
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            what = "a number" if kinds[name] == (int, float) else "text"
            what = "a table" if kinds[name] is dict else what
            raise InputError(f"{where}: {name!r} must be {what}.")
    return row
