"""A camera's path as a picture: what it sees at each second, on what it is moved over."""

import math
from itertools import pairwise

from PIL import Image, ImageDraw
from torch import Tensor

from .camera import CameraPath
from .moved_picture import Picture, View

LONG_SIDE = 512  # pixels
MOST_OUTLINES = 9
GROUND, GRID = (32, 38, 46), (52, 60, 71)
FIRST, LAST = (86, 180, 233), (230, 159, 0)  # told apart by all eyes


def drawn_path(
    path: CameraPath, view: View, picture: Picture, shown: Image.Image | None = None
) -> Image.Image:
    """Outlines of what the camera sees, from blue at the beginning to orange at the end.

    Args:
        picture: that the path needs.
        shown: what it is a picture of; without one a grid.
    """
    scale = LONG_SIDE / max(picture.width, picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    sheet = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(sheet)
    if shown is None:
        _grid(draw, size, picture)
    else:
        sheet.paste(Image.eval(shown.convert("RGB").resize(size), lambda level: level // 2))
    seconds = float(path.seconds)
    count = min(MOST_OUTLINES, max(2, math.ceil(seconds) + 1))
    at = [seconds * n / 64 for n in range(65)]
    middles = [_on(size, picture, _seen(path, view, time, 1)[0]) for time in at]
    for n, (a, b) in enumerate(pairwise(middles)):
        draw.line((a, b), colour_at(n / 63), 2)
    for n in range(count):
        part = n / (count - 1)
        corners = [_on(size, picture, p) for p in _seen(path, view, seconds * part, 2)]
        order = [corners[i] for i in (0, 1, 3, 2, 0)]
        draw.line(order, colour_at(part), 3 if n in (0, count - 1) else 1, joint="curve")
    return sheet


def _seen(path: CameraPath, view: View, time: float, side: int) -> Tensor:
    """(side², 2): corners of what is seen at a time, or its middle."""
    pose = path.poses([time], view.focal)
    rays = view.rays(2, 2) if side == 2 else view.rays(2, 2).mean((0, 1), keepdim=True)
    return view.seen_at(rays, pose.c2w[0], pose.zoom[0], 0).flatten(0, 1)


def _on(size: tuple[int, int], picture: Picture, point: Tensor) -> tuple[float, float]:
    x, y = picture.places(point).tolist()
    return (x + 1) / 2 * size[0], (y + 1) / 2 * size[1]


def _grid(draw: ImageDraw.ImageDraw, size: tuple[int, int], picture: Picture) -> None:
    """Lines a quarter of a picture width apart."""
    step = size[0] / (4 * picture.crop)
    for axis in (0, 1):
        middle = size[axis] / 2 - picture.middle[axis] * 4 * step
        for n in range(-int(middle / step), int((size[axis] - middle) / step) + 1):
            at = middle + n * step
            line = (at, 0, at, size[1]) if axis == 0 else (0, at, size[0], at)
            draw.line(line, GRID)


def colour_at(part: float) -> tuple[int, int, int]:
    """Of a line that is gone along so far, 0 to 1."""
    return tuple(round(a + (b - a) * part) for a, b in zip(FIRST, LAST, strict=True))
