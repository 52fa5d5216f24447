"""Files that are complete or not there: written under a hidden name, then given their own."""

import errno
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
from ..files import discard, patiently

Finish = Callable[[Path], Path]
"""Called with a complete file before it gets its name; returns it, or another in its folder.

The file is not changed afterwards, so this is the place to sign it.
"""

UNFINISHED = re.compile(r"\..*\.[0-9a-f]{8}\.(part\.mp4|ready\.(mp4|mkv|webm|webp|gif))")
HIDDEN = re.compile(  # every hidden name that a file of ours has until it gets its own
    r"\.(.*\.)?[0-9a-f]{8}\.(part|whole|still|ready)(\.signed)?(\.[a-z0-9]+)?"
)
BITS_PER_PIXEL = 0.25  # of visually lossless h264, which seldom needs as much
RESERVE = 64 * 2**20  # bytes of a disk that are left free


@contextmanager
def hidden_file(path: Path, stage: str, suffix: str) -> Iterator[Path]:
    """A hidden name beside `path`, whose file is removed at the end of the block.

    Args:
        path: the name that the file is to have in the end.
        stage: of the writing, for the hidden name: "part", "whole" or "still".
        suffix: of the hidden name, with its dot.

    Raises:
        OutputError: for any error of the disk inside the block, with the name of `path`.
    """
    temporary = path.with_name(
        f".{path.stem.lstrip('.')[:40]}.{secrets.token_hex(4)}.{stage}{suffix}"
    )
    try:
        yield temporary
    except LongtakeError:
        raise
    except (OSError, av.FFmpegError) as error:
        reason = error.strerror or error
        raise OutputError(f"{display_name(path)} cannot be written: {reason}") from error
    finally:
        discard(temporary)


def display_name(path: Path) -> str:
    """A file's name for messages; the user has never seen a hidden one."""
    return "the file" if HIDDEN.fullmatch(path.name) else path.name


def refuse_existing(path: Path) -> None:
    """Raises OutputError if there is a file, folder or link of that name."""
    if os.path.lexists(path):
        raise OutputError(
            f"{path.name} exists already and is never overwritten: choose another name."
        )


def publish(whole: Path, path: Path, finish: Finish | None = None) -> None:
    """Flush a complete file to disk, and only then give it its name."""
    final = whole if finish is None else finish(whole)
    try:
        _flush(final)
        _rename(final, path)
    finally:
        if final != whole:
            discard(final)


def _flush(file: Path) -> None:
    with patiently(lambda: file.open("r+b")) as opened:
        os.fsync(opened.fileno())


def _rename(whole: Path, path: Path) -> None:
    """Give a file its name, in one step and only if the name is free."""
    try:
        _link(whole, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with hidden_file(path, "whole", path.suffix) as near:  # on the disk of the name
            shutil.copyfile(whole, near)
            _flush(near)
            _link(near, path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link(whole: Path, path: Path) -> None:
    try:
        patiently(lambda: os.link(whole, path))  # unlike a rename, it fails if the name is taken
    except FileExistsError:
        refuse_existing(path)
    except OSError as error:
        refuse_existing(path)
        if error.errno == errno.EXDEV:
            raise
        patiently(lambda: whole.rename(path))  # a file system without hard links


def claim(file: Path, names: Iterable[Path]) -> Path:
    """Give a file that is on disk already, on any disk, the first of some names that is free."""
    for path in names:
        try:
            _rename(file, path)
        except OutputError:  # noqa: PERF203
            if not os.path.lexists(path):  # else another process was quicker
                raise
        else:
            discard(file)
            return path
    raise OutputError(f"every name for {file.name} is taken.")


def video_bytes(frames: int, width: int, height: int) -> int:
    """Bytes of a video file, estimated on the high side."""
    return int(frames * width * height * BITS_PER_PIXEL / 8)


def writing_bytes(frames: int, width: int, height: int) -> int:
    """Bytes on the disk while a video is written, which is twice there as its index goes first."""
    return 2 * video_bytes(frames, width, height)


def check_space(folder: Path, need: int = 0) -> None:
    """Refuse what is unlikely to fit on the disk, before any work is done for it.

    Args:
        folder: to write to.
        need: bytes to be written.

    Raises:
        OutputError: if fewer than that and RESERVE are free.
    """
    free = shutil.disk_usage(folder).free
    if free < need + RESERVE:
        raise OutputError(
            f"the disk of '{folder.name}' has {free / 2**20:.0f} MiB free, and this video may need "
            f"{(need + RESERVE) / 2**20:.0f} MiB: free some space, or make it shorter or smaller."
        )


def leftovers(folder: Path, age: float = 60.0) -> list[Path]:
    """Hidden files of ours below `folder` that nobody has given their name, oldest first.

    Args:
        folder: of finished videos; unfinished ones lie beside them.
        age: seconds since the last change; a younger file may still be written to.
    """
    found = [file for file in folder.rglob(".*") if HIDDEN.fullmatch(file.name)]
    times = {file: file.stat().st_mtime for file in found if file.is_file()}
    return sorted((f for f in times if times[f] <= time.time() - age), key=times.__getitem__)
