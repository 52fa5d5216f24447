"""The fingerprints of videos that were made here: one file, a line for each.

A line is added in one go, under a lock, and begins on a new line even where a crash left half of
the one before. Each has a checksum: a damaged line costs itself and no other.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import append_line
from . import picture_hash, sound_print
from .match import NOTHING, Agreement, agree, signs

FINE = 8  # moments a second at which a video that is looked up is hashed; kept ones: one a second
ALIKE = 0.17  # distance of pictures below which a video counts as known
SIMILAR = 0.25  # the same, below which it resembles one of the ledger; so do two of one scene
SOUND_ALIKE = 0.35  # the same of sound
VERSION = 1


@dataclass(frozen=True)
class Prints:
    """The fingerprints of a video.

    Attributes:
        pictures: (moments, crops, BYTES) of picture_hash.
        sound: (moments, BYTES) of sound_print; no moments without sound.
        seconds: how long it is.
    """

    pictures: NDArray[np.uint8]
    sound: NDArray[np.uint8]
    seconds: float


@dataclass(frozen=True)
class LedgerLine:
    """A line of the ledger.

    Attributes:
        name: of the file as it was saved, within the output folder.
        at: when, in UTC.
        graph: the first digits of the SHA-256 of its workflow; "" without one.
        prints: of the video.
    """

    name: str
    at: str
    graph: str
    prints: Prints


@dataclass(frozen=True)
class Known:
    """An entry that a video resembles.

    Attributes:
        entry: the line.
        pictures, sound: how well they agree.
    """

    entry: LedgerLine
    pictures: Agreement
    sound: Agreement

    @property
    def seen(self) -> bool:
        return self.pictures.distance < ALIKE

    @property
    def heard(self) -> bool:
        return self.sound.distance < SOUND_ALIKE


def moments(seconds: float) -> list[float]:
    """The times of the pictures that are kept: the middle of each second."""
    return [seconds / 2] if seconds < 1 else [n + 0.5 for n in range(round(seconds))]


def fine_moments(seconds: float) -> list[float]:
    """The times of the pictures of a video that is looked up."""
    return [n / FINE for n in range(max(1, int(seconds * FINE)))]


def frame_numbers(times: Iterable[float], fps: float, frames: int) -> list[int]:
    """The frames on display at these times."""
    return [min(frames - 1, int(time * fps)) for time in times]


def add_entry(file: Path, entry: LedgerLine) -> None:
    """Append to the ledger, which is made if need be. Raises OSError if that cannot be done."""
    file.parent.mkdir(parents=True, exist_ok=True)
    append_line(file, _written(entry))


def _written(entry: LedgerLine) -> bytes:
    prints = entry.prints
    fields = {
        "v": VERSION,
        "name": entry.name,
        "at": entry.at,
        "graph": entry.graph,
        "seconds": round(prints.seconds, 3),
        "pictures": base64.b64encode(prints.pictures.tobytes()).decode(),
        "sound": base64.b64encode(prints.sound.tobytes()).decode(),
    }
    text = json.dumps(fields, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}".encode()


def entries(file: Path) -> Iterator[LedgerLine | None]:
    """The lines of a ledger, one at a time; None for one that is damaged.

    There are none where there is no file.
    """
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield _read(line)


def _read(line: bytes) -> LedgerLine | None:
    check, _, text = line.rstrip(b"\r\n").partition(b" ")
    if check != f"{zlib.crc32(text):08x}".encode():
        return None
    try:
        return _entry(json.loads(text))
    except (ValueError, KeyError, TypeError):  # of another version
        return None


def _entry(fields: dict[str, Any]) -> LedgerLine:
    if fields["v"] != VERSION:
        raise ValueError
    crops, width = len(picture_hash.CROPS), picture_hash.BYTES
    pictures = np.frombuffer(base64.b64decode(fields["pictures"]), np.uint8)
    sound = np.frombuffer(base64.b64decode(fields["sound"]), np.uint8)
    prints = Prints(
        pictures.reshape(-1, crops, width),
        sound.reshape(-1, sound_print.BYTES),
        float(fields["seconds"]),
    )
    return LedgerLine(str(fields["name"]), str(fields["at"]), str(fields["graph"]), prints)


class Search:
    """A video that is looked up, entry by entry.

    Args:
        prints: its fingerprints, at FINE moments a second of its whole frames and at sound_print's
            SOUGHT samples.
    """

    def __init__(self, prints: Prints):
        whole = prints.pictures[:, 0]
        both = np.stack((whole, picture_hash.mirrored(whole)))
        self._pictures, self._sound = signs(both), signs(prints.sound)[None]

    def compare(self, entry: LedgerLine) -> Known:
        """How much an entry is like the video."""
        prints = entry.prints
        times = [round(time * FINE) for time in moments(prints.seconds)]
        kept = signs(prints.pictures.transpose(1, 0, 2))
        pictures = agree(kept, self._pictures, times) if len(times) == kept.shape[1] else NOTHING
        fine = sound_print.KEPT // sound_print.SOUGHT
        ticks = range(0, fine * len(prints.sound), fine)
        sound = agree(signs(prints.sound)[None], self._sound, ticks)
        return Known(entry, pictures, sound)
