"""Files that others use at the same time, and what Windows asks for besides.

There a file that any program has open can be neither deleted nor renamed. Virus scanners, indexers,
backups and Explorer's previews open each new file for a moment, so such a refusal is waited out.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

WINDOWS = os.name == "nt"
TRIES, PAUSE = 10, 0.05  # how often a refusal is waited out, and for how many seconds
LONGEST_PATH = 259  # characters, on Windows without its long paths
LOCKED_BYTE = 2**30  # behind all that a file of lines holds
HIDDEN = 2  # FILE_ATTRIBUTE_HIDDEN

Result = TypeVar("Result")


def patiently(call: Callable[[], Result]) -> Result:
    """What a call returns, waiting while another program holds the file that it is about.

    Raises:
        PermissionError: if that lasts for more than half a second.
        Whatever else `call` raises, at once.
    """
    for _ in range(TRIES):
        try:
            return call()
        except PermissionError as error:  # noqa: PERF203
            if error.errno != errno.EACCES:  # as Windows' sharing violations are given
                raise
            time.sleep(PAUSE)
    return call()


def discard(file: Path) -> None:
    """Delete a file that is of no more use, if it is there; one that is held stays."""
    with suppress(OSError):
        patiently(lambda: file.unlink(missing_ok=True))


def append_line(file: Path, line: bytes) -> None:
    """Add a line to a file, whole or not at all, while other processes add theirs.

    It begins on a line of its own, even where a crash left half of the one before.

    Raises:
        OSError: if it cannot be written.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    handle = patiently(lambda: os.open(file, flags, 0o600))
    try:
        with _locked(handle):
            size = os.lseek(handle, 0, os.SEEK_END)
            torn = size > 0 and not _ends_a_line(handle, size)
            whole = (b"\n" if torn else b"") + line + b"\n"
            if os.write(handle, whole) != len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
    finally:
        os.close(handle)


def _ends_a_line(handle: int, size: int) -> bool:
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) == b"\n"


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Keeps other processes that ask for the same from an open file, for the time of the block."""
    if WINDOWS:
        import msvcrt

        def lock(kind: int) -> None:
            os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, kind, 1)

        lock(msvcrt.LK_LOCK)
        try:
            yield
        finally:
            lock(msvcrt.LK_UNLCK)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)  # let go when the file is closed
        yield


def hide(file: Path) -> None:
    """Keep a file with a hidden name out of sight on Windows, too, where a dot does not.

    Explorer would draw it, and open it for that again and again while it is written.
    """
    if WINDOWS:
        import ctypes

        ctypes.windll.kernel32.SetFileAttributesW(str(file), HIDDEN)


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder. On Windows os.access says so of every folder."""
    trial = folder / f".{secrets.token_hex(4)}.part"
    try:
        with trial.open("xb"):
            pass
    except OSError:
        return False
    discard(trial)
    return True


def is_too_long(path: Path) -> bool:
    """Whether Windows refuses a path for its length."""
    return WINDOWS and len(str(path)) > LONGEST_PATH and not _has_long_paths()


def _has_long_paths() -> bool:
    """Whether somebody has switched off the limit in this Windows."""
    import winreg

    place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
        return winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1
    return False
