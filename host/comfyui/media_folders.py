"""Media files in ComfyUI's own folders, by the names they have in graphs."""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ...models.errors import InputError

SAMPLES = Path(__file__).resolve().parents[2] / "samples"  # what workflows begin with
NEWEST = 100  # files of the output folder that are in a menu
IN_FOLDER = re.compile(r"(.+) ?\[(input|output|temp)\]")
log = logging.getLogger(__name__)


def folders() -> dict[str, Path]:
    """The folders whose files a graph may name."""
    return {
        "input": Path(folder_paths.get_input_directory()),
        "output": Path(folder_paths.get_output_directory()),
        "temp": Path(folder_paths.get_temp_directory()),
    }


def in_media_folders(file: Path) -> bool:
    """Whether a file is in one of these folders, once all links are followed."""
    real = file.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders().values())


def media_named(name: str) -> Path | None:
    """The file that a graph calls "clip.mp4" or "takes/clip.mp4 [output]", if it exists."""
    match = IN_FOLDER.fullmatch(name)
    text, where = (match[1].rstrip(), match[2]) if match else (name, "input")
    folder = folders()[where]
    try:
        file = folder / text.replace("\\", "/")
        found = file.is_file() and file.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # too long, NUL
        return None
    return file if found else None


def find_media(name: str) -> Path:
    """The file of that name. Raises InputError if there is none, or it is outside its folder."""
    file = media_named(name)
    if file is None:
        raise InputError(
            f"there is no file {name[:120]!r} in ComfyUI's input folder, nor, with ' [output]' "
            f"after the name, in its output folder."
        )
    return file


def check_there(file: Path) -> None:
    """Raises InputError if the file behind a VIDEO is none, or gone."""
    if file.is_file():
        return
    if file.exists():
        raise InputError(f"{file.name} is not a video that can be read: it is no ordinary file.")
    raise InputError(
        f"the file of this VIDEO is gone: {file.name}. It was deleted, or ComfyUI's temp folder "
        f"was emptied; queue the graph again, or change an input of the node that made it."
    )


def media_menu(suffixes: tuple[str, ...]) -> list[str]:
    """Names for `find_media`: files of the input folder, then the newest of the output folder."""
    inputs, output = folders()["input"], folders()["output"]
    given = sorted(file.name for file in _files(inputs, suffixes, deep=False))
    made = sorted(_files(output, suffixes, deep=True), key=_modified, reverse=True)[:NEWEST]
    return [*given, *(f"{file.relative_to(output).as_posix()} [output]" for file in made)]


def _files(folder: Path, suffixes: tuple[str, ...], *, deep: bool) -> Iterator[Path]:
    for at, subfolders, files in os.walk(folder):
        for name in files:
            file = Path(at) / name
            if name.lower().endswith(suffixes) and not name.startswith(".") and file.is_file():
                yield file
        if not deep:
            subfolders.clear()


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # deleted meanwhile
        return 0.0


def put_samples() -> None:
    """Copy samples into the input folder that are not there. If it takes none, the log says so."""
    folder = folders()["input"]
    for sample in sorted(SAMPLES.iterdir()):
        if (folder / sample.name).exists():
            continue
        try:
            shutil.copyfile(sample, folder / sample.name)
        except OSError as error:
            why = error.strerror or error
            log.warning("longtake: %s is not put into the input folder: %s", sample.name, why)
