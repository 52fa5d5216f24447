"""A picture of a video at a glance: evenly spaced frames in a grid, each with its time below it.

python pack.py longtake.engine.media.contact_sheet VIDEO PICTURE
"""

import sys
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

TILE = 192  # pixels; smaller frames are enlarged to about this width, larger ones reduced
CAPTION = 20  # pixels below each tile
GAP = 4


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to count - 1, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def read_tiles(video: Path, most: int) -> list[tuple[float, Image.Image]]:
    """(seconds, picture) of evenly spaced frames.

    Reads the file twice, so that a long video is never in memory whole.

    Raises:
        ValueError: if there is no picture in the file.
    """
    with av.open(str(video)) as file:
        count = sum(1 for _ in file.decode(video=0)) if file.streams.video else 0
    if not count:
        raise ValueError(f"{video} has no frames")
    wanted = set(evenly_spaced(count, most))
    with av.open(str(video)) as file:
        frames = enumerate(file.decode(video=0))
        return [(frame.time, tile(frame.to_image())) for i, frame in frames if i in wanted]


def tile(picture: Image.Image) -> Image.Image:
    size = (TILE, max(1, round(TILE * picture.height / picture.width)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def contact_sheet(video: Path, columns: int = 6, rows: int = 3) -> Image.Image:
    """A grid of at most `columns` by `rows` frames, in reading order."""
    return arranged(read_tiles(video, columns * rows), columns)


def arranged(tiles: list[tuple[float, Image.Image]], columns: int) -> Image.Image:
    """A sheet of (seconds, picture)."""
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    wide, high = TILE + GAP, tiles[0][1].height + CAPTION
    sheet = Image.new("RGB", (columns * wide + GAP, rows * high + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for i, (seconds, picture) in enumerate(tiles):
        x, y = GAP + i % columns * wide, GAP + i // columns * high
        sheet.paste(picture, (x, y))
        draw.text((x, y + picture.height + 2), f"{seconds:.2f} s", "black", font)
    return sheet


if __name__ == "__main__":
    contact_sheet(Path(sys.argv[1])).save(sys.argv[2])
