"""A still image of a video: one of its frames, or a contact sheet."""

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .contact_sheet import contact_sheet, pick_frames

NONE, SHEET, POSTER = PICTURES = ("none", "contact sheet", "poster")


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
        chunks: uint8 (frames, h, w, 3); closed at the end.
        total: how many frames there are.
        fps: frames per second, for the times on a sheet.
        kind: SHEET, or POSTER: the frame in the middle.
        metadata: JSON values by name, embedded as ComfyUI's own nodes do.
    """
    if kind == POSTER:
        ((_, picture),) = pick_frames(chunks, {total // 2})
    else:
        picture = contact_sheet(chunks, total, fps)
    text = PngInfo()
    for name, value in metadata.items():
        text.add_text(name, value if isinstance(value, str) else json.dumps(value))
    picture.save(path, pnginfo=text)
