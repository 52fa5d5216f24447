"""Small videos with Content Credentials, and what tests do to them."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from longtake.engine import credentials
from longtake.engine.credentials import Statement
from longtake.engine.video_file import write_video

WORKFLOW = "5a" * 32


def clip(path: Path, frames: int = 7, seed: int = 3) -> Path:
    """A video of noise, in which every byte of the media matters."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 46, 62, 3), dtype=np.uint8)
    write_video(path, [pixels], Fraction(7))
    return path


def sign(path: Path, identity, *sources, generated: bool = True) -> Path:
    """The clip signed, in its place."""
    statement = Statement(generated, WORKFLOW, (("dit", "7b" * 32),), sources)
    credentials.sign(path, statement, identity).replace(path)
    return path


def flip(path: Path, byte: int, bit: int = 0) -> Path:
    """A copy with one bit changed."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    changed = path.with_name(f"{path.stem}.{byte}.{bit}{path.suffix}")
    changed.write_bytes(data)
    return changed


def boxes(path: Path) -> dict[str, tuple[int, int]]:
    """The boxes at the top of an mp4: name -> (first byte, byte after the last)."""
    data, at, found = path.read_bytes(), 0, {}
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        found.setdefault(data[at + 4 : at + 8].decode("latin1"), (at, at + size))
        at += size or len(data)
    return found
