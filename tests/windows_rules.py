"""Windows' rules for files, kept on Linux in all tests.

A file that this process has open or mapped can be neither deleted nor renamed, and a rename onto a
file that is there fails. Linux' /proc tells what is open. Only calls that come by way of the pack's
own files are refused: the tests may tidy up as they like.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

ROOT = Path(__file__).resolve().parent.parent
OURS = tuple(f"{ROOT / layer}{os.sep}" for layer in ("engine", "host", "models", "nodes"))
TESTS = f"{ROOT / 'tests'}{os.sep}"
REAL = {name: getattr(os, name) for name in ("unlink", "rename", "replace")}


def pytest_configure() -> None:
    if sys.platform == "linux":  # Windows keeps them itself; elsewhere there is no /proc
        os.unlink = os.remove = unlink
        os.rename, os.replace = rename, replace


def unlink(path, *words, **more):
    if from_the_pack() and not more.get("dir_fd") and (is_open(path) or is_mapped(path)):
        refuse(path)
    return REAL["unlink"](path, *words, **more)


def rename(source, target, *words, **more):
    if from_the_pack():
        if is_open(source):
            refuse(source)
        if os.path.lexists(target) and not Path(target).is_dir():
            raise FileExistsError(errno.EEXIST, "it exists already", os.fspath(target))
    return REAL["rename"](source, target, *words, **more)


def replace(source, target, *words, **more):
    if from_the_pack() and (is_open(source) or is_open(target) or is_mapped(target)):
        refuse(source)
    return REAL["replace"](source, target, *words, **more)


def refuse(path) -> None:
    raise PermissionError(errno.EACCES, "it is being used by another process", os.fspath(path))


def from_the_pack() -> bool:
    """Whether the pack calls, and not a test or a library on its own."""
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(TESTS):
        if frame.f_code.co_filename.startswith(OURS):
            return True
        frame = frame.f_back
    return False


def is_open(path) -> bool:
    """Whether this process has a file open, under whatever name."""
    try:
        found = Path(path).stat(follow_symlinks=False)
    except OSError:
        return False
    return S_ISREG(found.st_mode) and any(
        (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino) for opened in _open_files()
    )


def _open_files() -> Iterator[os.stat_result]:
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own is gone
            yield link.stat()


def is_mapped(path) -> bool:
    name, maps = os.path.realpath(path), Path("/proc/self/maps").read_text(encoding="utf-8")
    return any(line.endswith(f" {name}") for line in maps.splitlines())
