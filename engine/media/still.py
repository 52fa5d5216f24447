"""A still picture that stands for a video: one of its frames, or a sheet of many."""

import json
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .contact_sheet import arranged, evenly_spaced, tile

NONE, SHEET, POSTER = PICTURES = ("none", "contact sheet", "poster")
COLUMNS, ROWS = 6, 3


def write_still(
    path: Path,
    chunks: Iterable[Tensor],
    total: int,
    fps: Fraction,
    kind: str,
    metadata: Mapping[str, Any],
) -> None:
    """Write a PNG of a frame stream.

    Args:
        path: of the new file.
        chunks: uint8 (frames, h, w, 3).
        total: how many frames there are.
        fps: frames per second, for the times on a sheet.
        kind: SHEET, or POSTER: the frame in the middle.
        metadata: JSON values by name, embedded as ComfyUI's own nodes do.
    """
    if kind == POSTER:
        ((_, picture),) = _pictures(chunks, {total // 2})
    else:
        wanted = set(evenly_spaced(total, COLUMNS * ROWS))
        tiles = [(float(n / fps), tile(frame)) for n, frame in _pictures(chunks, wanted)]
        picture = arranged(tiles, COLUMNS)
    text = PngInfo()
    for name, value in metadata.items():
        text.add_text(name, value if isinstance(value, str) else json.dumps(value))
    picture.save(path, pnginfo=text)


def _pictures(chunks: Iterable[Tensor], wanted: set[int]) -> Iterator[tuple[int, Image.Image]]:
    number = 0
    try:
        for chunk in chunks:
            for frame in chunk:
                if number in wanted:
                    yield number, Image.fromarray(frame.numpy())
                number += 1
            if number > max(wanted):
                return
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
