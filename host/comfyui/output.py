"""Names and folders of saved files: inside ComfyUI's output folder, always."""

import os
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path, PurePosixPath

import folder_paths

from ...engine.container.names import safe_name
from ...engine.container.publish import check_space
from ...engine.files import LONGEST_PATH, is_too_long, is_writable
from ...models.errors import InputError, OutputError
from .graph import fill_in_values, queued_graph

DATE = {  # placeholders of ComfyUI's names, and strftime's codes
    "year": "%Y",
    "month": "%m",
    "day": "%d",
    "hour": "%H",
    "minute": "%M",
    "second": "%S",
}
# %date:yyyy-MM-dd%, which the browser fills in for core's own save nodes.
DATED = re.compile(r"%date:([^%]*)%")
PARTS = {"yyyy": "%Y", "yy": "%y", "M": "%m", "d": "%d", "h": "%H", "m": "%M", "s": "%S"}
PART = re.compile(r"yyyy|yy|MM?|dd?|hh?|mm?|ss?")
HIDDEN_NAME = "." * 45  # as much as is added to a name while its file is written


def output_folder() -> Path:
    return Path(folder_paths.get_output_directory()).resolve()


def fill_in_dates(prefix: str, width: int, height: int) -> str:
    """Replace %year%, %width%, %date:yyyy-MM-dd% and so on, as ComfyUI's own nodes do."""
    name = prefix.replace("%width%", str(width)).replace("%height%", str(height))
    for word, code in DATE.items():
        name = name.replace(f"%{word}%", time.strftime(code))
    return DATED.sub(lambda found: PART.sub(_part_of_date, found[1]), name)


def _part_of_date(found: re.Match[str]) -> str:
    """yyyy -> "2026", MM -> "03", M -> "3"."""
    word = found[0]
    number = time.strftime(PARTS.get(word) or PARTS[word[0]])
    return number if len(word) > 1 else number.lstrip("0") or "0"


def check_prefix(prefix: str) -> None:
    """Refuse a name under which nothing can be saved, before anything is generated.

    Values of widgets are filled in from the graph that is being queued, where there is one.

    Raises:
        InputError: for a name that is not allowed, or with a link out of the output folder.
        OutputError: if its folder cannot be written to, or the disk is full.
    """
    name = safe_name(fill_in_dates(fill_in_values(prefix, queued_graph()), 8192, 8192))
    folder = inside_output(name)
    if is_too_long(folder / (name.name + HIDDEN_NAME)):
        raise InputError(
            f"'{prefix}' cannot be the name of a file: with its folder it would be longer than the "
            f"{LONGEST_PATH} characters that Windows takes. Shorten it, or move ComfyUI's output "
            f"folder (--output-directory) nearer to the root of its drive."
        )
    while not folder.is_dir():
        if os.path.lexists(folder):
            raise OutputError(f"'{prefix}' cannot be saved: '{folder.name}' is not a folder.")
        folder = folder.parent
    if not is_writable(folder):
        raise OutputError(f"'{prefix}' cannot be saved: its folder is not writable.")
    check_space(folder)


def folder_for(name: PurePosixPath) -> Path:
    """The folder of a file to be saved, made if need be.

    Raises:
        InputError: if a link leads out of the output folder.
    """
    folder = inside_output(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def inside_output(name: PurePosixPath) -> Path:
    """The folder of a file to be saved. Raises InputError if a link leads out of the output."""
    folder = output_folder() / name.parent
    real = Path(os.path.realpath(folder))  # unlike resolve, it accepts links to themselves
    if not real.is_relative_to(output_folder()):
        raise InputError(
            f"'{name}' cannot be the name of a file: a link in it leads out of the output folder."
        )
    return folder


def numbered_names(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    """Names for a new file: stem_00001_.mp4 and so on, after the highest there is."""
    for number in count(highest_number(folder, stem) + 1):
        yield folder / f"{stem}_{number:05}_{suffix}"


def highest_number(folder: Path, stem: str) -> int:
    """The highest number among the files of a name; 0 if there are none."""
    found = (file.name for file in folder.iterdir() if file.name.startswith(f"{stem}_"))
    numbers = (name[len(stem) + 1 :].split("_")[0] for name in found)
    return max((int(number) for number in numbers if number.isdecimal()), default=0)
