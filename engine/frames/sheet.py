"""Several videos side by side, numbered, as one frame stream."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, sqrt

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP = 2  # pixels between tiles


def shape_of_sheet(count: int) -> tuple[int, int]:
    """(columns, rows) of the grid, as nearly square as can be."""
    columns = ceil(sqrt(count))
    return columns, ceil(count / columns)


def sheet(streams: Sequence[Iterable[Tensor]], height: int, width: int) -> Iterator[Tensor]:
    """Videos in reading order, each with its number, from 1 on; one that ends keeps its last frame.

    Args:
        streams: a frame stream each; closed at the end.
        height, width: of a tile; smaller videos lie in its middle on black.

    Yields:
        One frame at a time: uint8 (1, h, w, 3) with even sides.
    """
    columns, rows = shape_of_sheet(len(streams))
    whole = torch.zeros(_even(rows, height), _even(columns, width), 3, dtype=torch.uint8)
    places = [divmod(n, columns) for n in range(len(streams))]
    tiles = [
        whole[y : y + height, x : x + width]
        for y, x in ((down * (height + GAP), right * (width + GAP)) for down, right in places)
    ]
    numbers = [_number(n + 1, height) for n in range(len(streams))]
    playing = {n: _frames(stream) for n, stream in enumerate(streams)}
    try:
        while _advance(playing, tiles):
            for tile, number in zip(tiles, numbers, strict=True):
                corner = number[:height, :width]
                tile[: corner.shape[0], : corner.shape[1]] = corner
            yield whole[None].clone()
    finally:
        for stream in streams:
            if hasattr(stream, "close"):
                stream.close()


def _advance(playing: dict[int, Iterator[Tensor]], tiles: Sequence[Tensor]) -> bool:
    """Put the next frame of each video that goes on into its tile; whether there was any."""
    for n, frames in list(playing.items()):
        frame = next(frames, None)
        if frame is None:
            del playing[n]
            continue
        height, width = frame.shape[:2]
        top, left = (tiles[n].shape[0] - height) // 2, (tiles[n].shape[1] - width) // 2
        tiles[n][top : top + height, left : left + width] = frame
    return bool(playing)


def _frames(stream: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in stream:
        yield from chunk


def _even(count: int, side: int) -> int:
    length = count * (side + GAP) - GAP
    return length + length % 2


def _number(number: int, height: int) -> Tensor:
    """White on black, small enough for a tile."""
    font = ImageFont.load_default(size=min(48, max(10, height // 9)))
    left, top, right, bottom = font.getbbox(str(number))
    picture = Image.new("RGB", (round(right - left) + 6, round(bottom - top) + 6), "black")
    ImageDraw.Draw(picture).text((3 - left, 3 - top), str(number), "white", font)
    return torch.from_numpy(np.array(picture))
