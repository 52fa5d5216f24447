"""Sampled windows on disk, so that a take that was stopped goes on where it was.

Each window is a file named by a hash of all that decided it. Nothing is looked up by place or
order: a window is used again exactly where the same inputs ask for it again, in the same take, in
one with another shot changed, or in none.
"""

import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..files import discard, patiently

ENDING = ".safetensors"
OWN = re.compile(r"[0-9a-f]{64}" + re.escape(ENDING))  # a hash
PART = re.compile(r"\.[0-9a-f]{16}\.[0-9a-f]{8}\.part")
HEADER = 4096  # bytes, more than the beginning of a file takes that says what is in it
ABANDONED = 3600.0  # seconds after which an unfinished file is nobody's
README = (
    "Longtake keeps sampled parts of long takes here, so that a take that was stopped or changed\n"
    "does not start over. The oldest are deleted by themselves; all may be deleted at any time.\n"
)
log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How much is kept. A take that is being made is always kept whole."""

    bytes: int = 4 * 2**30
    files: int = 4096


LIMITS = Limits()


class WindowStore:
    """The windows under one folder.

    Args:
        folder: made when the first window is saved.
        limits: beyond which the oldest windows go that this run has not touched.
    """

    def __init__(self, folder: Path, limits: Limits = LIMITS):
        self.folder, self.limits = folder, limits
        self._ours: set[str] = set()
        self._told = False  # that a window could not be kept

    def path(self, key: str) -> Path:
        return self.folder / f"{key}{ENDING}"

    def load(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        """The window with this key: float32 of `shape`, or None.

        A file that is damaged, or says it is another window, is deleted and not used. One that
        cannot be read now stays.
        """
        path = self.path(key)
        try:
            latents = unpacked(patiently(path.read_bytes), key, shape)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("longtake: %s is sampled again: %s", path.name[:16], error)
            if isinstance(error, ValueError):
                discard(path)
            return None
        with suppress(OSError):  # another user's
            os.utime(path)  # what was used last goes last
        self._ours.add(path.name)
        return latents

    def save(self, key: str, latents: Tensor, like: str = "", seed: int = 0) -> None:
        """Put a window on disk: whole or not at all. A disk that is full is no reason to stop.

        Args:
            like: a hash of all that decided it but the seed.
            seed: of its noise.
        """
        try:
            self._write(self.path(key), packed(key, latents, like, seed))
        except OSError as error:
            level = logging.DEBUG if self._told else logging.WARNING
            self._told = True
            log.log(
                level,
                "longtake: a window cannot be kept in %s (%s): the take goes on, but what is not "
                "kept would be sampled again",
                self.folder,
                error.strerror or error,
            )

    def _write(self, path: Path, data: bytes) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "README.txt").write_text(README, encoding="utf-8")
        part = self.folder / f".{path.stem[:16]}.{secrets.token_hex(4)}.part"
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            patiently(lambda: part.replace(path))
        finally:
            discard(part)
        self._ours.add(path.name)

    def has(self, key: str) -> bool:
        return self.path(key).is_file()

    def _kept(self) -> list[Path]:
        """The windows on disk, the newest first; what else lies in the folder is somebody's."""
        own = (path for path in self.folder.glob(f"*{ENDING}") if OWN.fullmatch(path.name))
        return sorted(own, key=modified, reverse=True)

    def seeds(self, like: str) -> list[int]:
        """With which seeds a window is on disk, by its hash of all but these; the newest first."""
        kept = self._kept()
        found = []
        for path in kept:
            with (
                suppress(OSError, ValueError, KeyError, TypeError, OverflowError),
                path.open("rb") as file,
            ):
                about = header(file.read(HEADER))
                if about["like"] == like:
                    found.append(int(about["seed"]))
        return found

    def tidy(self, now: Callable[[], float] = time.time) -> None:
        """Delete the oldest windows beyond the limits, and what a crash left unfinished."""
        for part in self.folder.glob(".*.part"):
            if PART.fullmatch(part.name) and now() - modified(part) > ABANDONED:
                discard(part)
        kept = self._kept()
        total = 0
        for number, path in enumerate(kept, start=1):
            total += size(path)
            beyond = total > self.limits.bytes or number > self.limits.files
            if beyond and path.name not in self._ours:
                discard(path)

    def forget(self) -> None:
        """Delete the windows that this run has used or made."""
        for name in self._ours:
            discard(self.folder / name)
        self._ours.clear()


def modified(path: Path) -> float:
    """When a file was last written or used; 0 if it is gone already."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def packed(key: str, latents: Tensor, like: str = "", seed: int = 0) -> bytes:
    """A safetensors file with what tells it from a damaged one and from any other window's."""
    latents = latents.detach().to("cpu", torch.float32).contiguous()
    about = {"key": key, "sha256": fingerprint(latents), "like": like, "seed": seed}
    return save({"latents": latents}, {"longtake_window": json.dumps(about)})


def header(data: bytes) -> dict[str, str | int]:
    """What the beginning of a file says of its window."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["longtake_window"])


def unpacked(data: bytes, key: str, shape: tuple[int, ...]) -> Tensor:
    """The latents in a file. Raises ValueError, with the reason, if they are not those of `key`."""
    try:
        about = header(data)
        latents = load(data)["latents"].clone()  # aligned in memory as every other tensor is
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__})") from None
    if about.get("key") != key:
        raise ValueError("it is another window")
    if tuple(latents.shape) != tuple(shape) or latents.dtype != torch.float32:
        raise ValueError(f"it holds {latents.dtype} of {tuple(latents.shape)}")
    if about.get("sha256") != fingerprint(latents):
        raise ValueError("its numbers are damaged")
    if not torch.isfinite(latents).all():
        raise ValueError("it holds NaN")
    return latents


def fingerprint(latents: Tensor) -> str:
    return sha256(latents.contiguous().numpy().tobytes()).hexdigest()
