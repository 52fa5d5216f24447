"""The pictures of an animated webp, which FFmpeg writes and up to version 8 cannot read.

Source: https://developers.google.com/speed/webp/docs/riff_container, "Extended File Format".
"""

from fractions import Fraction
from pathlib import Path

from ...models.errors import InputError

PICTURES = {b"VP8 ", b"VP8L"}  # chunks with the one picture of a file that does not move
ANIMATED = b"ANMF"  # one with each picture of one that does
SHOWN = slice(12, 15)  # bytes of such a chunk: how long its picture is shown, in milliseconds


def webp_times(file: Path) -> list[Fraction]:
    """How many seconds each picture is shown; 0 for one that stands alone.

    Raises:
        InputError: if it is not a webp, or not all of it is there.
    """
    data = file.read_bytes()
    size, at, times = int.from_bytes(data[4:8], "little") + 8, 12, []
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or size != len(data):
        raise InputError(f"{file.name} is not a whole webp.")
    while at < size:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == ANIMATED:
            shown = data[at + 8 : at + 8 + length][SHOWN]
            times.append(Fraction(int.from_bytes(shown, "little"), 1000))
        elif kind in PICTURES:
            times.append(Fraction(0))
        at += 8 + length + length % 2
    if not times:
        raise InputError(f"{file.name} holds no picture.")
    return times
