"""A contact sheet: evenly spaced frames of a video in a grid, each with its time below it.

python pack.py longtake.engine.media.contact_sheet VIDEO PICTURE
"""

import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .reader import media_facts, read_frames

TILE = 192  # width of a thumbnail in pixels
CAPTION = 20  # pixels below each thumbnail
GAP = 4
COLUMNS, ROWS = 6, 3


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to count - 1, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def contact_sheet(
    chunks: Iterable[Tensor],
    total: int,
    fps: Fraction,
    columns: int = COLUMNS,
    rows: int = ROWS,
) -> Image.Image:
    """A grid of at most `columns` by `rows` frames, in reading order.

    Args:
        chunks: uint8 (frames, h, w, 3); closed at the end.
        total: how many frames there are.
        fps: frames per second.
        columns, rows: of the grid.
    """
    wanted = set(evenly_spaced(total, columns * rows))
    shown = [(float(n / fps), _thumbnail(frame)) for n, frame in pick_frames(chunks, wanted)]
    columns = min(columns, len(shown))
    wide, high = TILE + GAP, shown[0][1].height + CAPTION
    size = (columns * wide + GAP, -(-len(shown) // columns) * high + GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for i, (seconds, picture) in enumerate(shown):
        x, y = GAP + i % columns * wide, GAP + i // columns * high
        sheet.paste(picture, (x, y))
        draw.text((x, y + picture.height + 2), f"{seconds:.2f} s", "black", font)
    return sheet


def _thumbnail(picture: Image.Image) -> Image.Image:
    size = (TILE, max(1, round(TILE * picture.height / picture.width)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def pick_frames(chunks: Iterable[Tensor], wanted: set[int]) -> Iterator[tuple[int, Image.Image]]:
    """The frames with some numbers, and these. The stream is closed after the last of them."""
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


def write_contact_sheet(video: Path, picture: Path) -> None:
    """Write the contact sheet of a video file to an image file."""
    facts = media_facts(video)
    contact_sheet(read_frames(video), facts.frames, facts.fps).save(picture)


if __name__ == "__main__":
    write_contact_sheet(*map(Path, sys.argv[1:]))
