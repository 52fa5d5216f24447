"""Files that are whole or not there: written under a hidden name, then given their own."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from ...models.errors import LongtakeError, OutputError

Finish = Callable[[Path], Path]
"""Is handed a finished file before it gets its name; returns it, or another in the same folder.

Nothing touches the file afterwards: the place for a signature.
"""

PART = re.compile(r"\..*\.[0-9a-f]{8}\.(part\.mp4|ready\.[a-z0-9]+)")
SPARE = 64 * 2**20  # bytes that are left to others on a disk


@contextmanager
def hidden(path: Path, stage: str, suffix: str) -> Iterator[Path]:
    """A new name beside `path` that is gone afterwards; disk errors say which file they are of."""
    temporary = path.with_name(
        f".{path.stem.lstrip('.')[:40]}.{secrets.token_hex(4)}.{stage}{suffix}"
    )
    try:
        yield temporary
    except LongtakeError:
        raise
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"{called(path)} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def called(path: Path) -> str:
    """A file's name for messages; people have never seen a hidden one."""
    return "the file" if PART.fullmatch(path.name) else path.name


def refuse_existing(path: Path) -> None:
    """Raises OutputError if something has that name."""
    if os.path.lexists(path):
        raise OutputError(
            f"{path.name} exists already and is never overwritten: choose another name."
        )


def publish(whole: Path, path: Path, finish: Finish | None = None) -> None:
    """Put a finished file on disk for good, and only then give it its name."""
    final = whole if finish is None else finish(whole)
    try:
        _to_disk(final)
        _name(final, path)
    finally:
        if final != whole:
            final.unlink(missing_ok=True)


def _to_disk(file: Path) -> None:
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())


def _name(whole: Path, path: Path) -> None:
    """In one step, and only if nothing has the name."""
    try:
        os.link(whole, path)  # unlike a rename, this fails if the name is taken
    except FileExistsError:
        refuse_existing(path)
    except OSError:  # a file system without hard links
        refuse_existing(path)
        whole.rename(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def claim(file: Path, names: Iterable[Path]) -> Path:
    """Give a file that is on disk already the first of some names that nothing has."""
    for path in names:
        try:
            _name(file, path)
        except OutputError:  # noqa: PERF203
            if not os.path.lexists(path):  # else somebody was quicker
                raise
        else:
            file.unlink(missing_ok=True)
            return path
    raise OutputError(f"every name for {file.name} is taken.")


def estimate(frames: int, width: int, height: int) -> int:
    """Bytes that a video may need on the disk while it is made.

    Reckons with a quarter of a bit for each pixel, which is much for h264 that looks like its
    source, and with the file being there twice while its index is put in front.
    """
    return 2 * frames * width * height // 32


def check_space(folder: Path, need: int = 0) -> None:
    """Refuse what will hardly fit on the disk, before anybody waits for it.

    Args:
        folder: where to.
        need: bytes; some are left to others on top of that.

    Raises:
        OutputError: if there is less room than that.
    """
    free = shutil.disk_usage(folder).free
    if free < need + SPARE:
        raise OutputError(
            f"the disk of '{folder.name}' has {free / 2**20:.0f} MiB free, and this video may need "
            f"{(need + SPARE) / 2**20:.0f} MiB: make room, or make it shorter or smaller."
        )


def leftovers(folder: Path, age: float = 60.0) -> list[Path]:
    """Parts of videos below `folder` whose writing was cut off, oldest first.

    Also those that were whole (".ready") and had only not got their name yet.

    Args:
        folder: of finished videos; the parts lie beside where these would be.
        age: seconds since the last change. A part that was just written to may be in the making.
    """
    found = [file for file in folder.rglob(".*") if PART.fullmatch(file.name)]
    times = {file: file.stat().st_mtime for file in found if file.is_file()}
    return sorted((f for f in times if times[f] <= time.time() - age), key=times.__getitem__)
