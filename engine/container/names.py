"""File names from a shared workflow: inside the output folder, and valid on every system."""

import os
import re
import sys
import unicodedata
from pathlib import PurePosixPath

from ...models.errors import InputError

LONGEST = 120  # bytes of one part; a counter and a suffix are added to it
DEEPEST = 8  # folders
RESERVED = re.compile(  # on Windows
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE
)
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
# They turn what follows around, so that a name's end seems to be another one: "gpj.exe".
TURNED = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def safe_name(prefix: str) -> PurePosixPath:
    """The beginning of a file's name, perhaps in folders: "takes/forest".

    Both kinds of slash separate folders on every system, so that a graph means the same everywhere.

    Args:
        prefix: what the user typed.

    Raises:
        InputError: for a name that is empty or too long, that leads out of the folder, or that
            some system cannot store, this one in its locale included.
    """
    text = unicodedata.normalize("NFC", prefix).replace("\\", "/")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise _refused(prefix, "it must be relative to the output folder, like 'takes/forest'")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or text.endswith("/"):
        raise _refused(prefix, "a name is needed, like 'takes/forest'")
    if len(parts) > DEEPEST:
        raise _refused(prefix, f"at most {DEEPEST} folders deep")
    for part in parts:
        _check(prefix, part)
    return PurePosixPath(*parts)


def _check(prefix: str, part: str) -> None:
    if part == "..":
        raise _refused(prefix, "'..' would leave the output folder")
    if found := FORBIDDEN.search(part):
        raise _refused(prefix, f"{found[0]!r} cannot be in a file's name on every system")
    if found := TURNED.search(part):
        raise _refused(prefix, f"{found[0]!a} would show it in another order than it has")
    if all(unicodedata.category(letter) == "Cf" for letter in part):
        raise _refused(prefix, "nobody could see it")
    if part != part.strip() or part.endswith("."):
        raise _refused(prefix, "no part of it may begin with a space, or end with a space or a dot")
    if part.startswith("."):
        raise _refused(prefix, "a part that begins with a dot would be hidden")
    if RESERVED.fullmatch(part):
        raise _refused(prefix, f"{part!r} is the name of a device on Windows")
    try:
        length = len(part.encode())
    except UnicodeEncodeError:
        raise _refused(prefix, "it is not valid text") from None
    if length > LONGEST:
        raise _refused(prefix, f"a part of {length} bytes; at most {LONGEST} are allowed")
    try:
        os.fsencode(part)
    except UnicodeEncodeError as error:
        names = sys.getfilesystemencoding()
        raise _refused(
            prefix,
            f"in this computer's locale names of files are {names}, which has no "
            f"{part[error.start]!r}; with PYTHONUTF8=1 in its environment ComfyUI can save it",
        ) from None


def _refused(prefix: str, why: str) -> InputError:
    shown = prefix if len(prefix) <= 60 else prefix[:57] + "..."
    return InputError(f"{shown!r} cannot be the name of a file: {why}.")
