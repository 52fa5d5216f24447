"""Width and height from an aspect ratio and a number of pixels."""

import math
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from .grid import Grid

FREE = "free"
ASPECTS: Mapping[str, Fraction] = MappingProxyType(
    {
        "16:9": Fraction(16, 9),
        "9:16": Fraction(9, 16),
        "1:1": Fraction(1),
        "4:3": Fraction(4, 3),
        "3:4": Fraction(3, 4),
        "3:2": Fraction(3, 2),
        "2:3": Fraction(2, 3),
        "21:9": Fraction(21, 9),
        "9:21": Fraction(9, 21),
        "1.85:1": Fraction(37, 20),
        "2.39:1": Fraction(239, 100),
        "8:3": Fraction(8, 3),
        "4:5": Fraction(4, 5),
    }
)
SAME = 0.01  # by how much a ratio may be another one, in its logarithm
RATIO_COUNTS = 3  # how much more the aspect ratio counts than the number of pixels


def chosen_size(
    grid: Grid, width: int, height: int, aspect: str = FREE, megapixels: float = 0.0
) -> tuple[int, int]:
    """(width, height) as they are, or on the grid for an aspect ratio and a number of pixels.

    Args:
        aspect: FREE, or one of ASPECTS.
        megapixels: million pixels of a frame; 0: as many as width times height.
    """
    if aspect == FREE and not megapixels:
        return width, height
    ratio = ASPECTS.get(aspect) or Fraction(width, height)
    return fitting_size(grid, ratio, megapixels * 1e6 or width * height)


def aspect_in_words(width: int, height: int, aspect: str) -> str:
    """What to say of a size that is not quite the aspect ratio asked for; nothing where it is."""
    off = {name: abs(math.log(width / height / float(to))) for name, to in ASPECTS.items()}
    if off.get(aspect, 0.0) < SAME:
        return ""
    nearest = min(off, key=off.__getitem__)
    if nearest != aspect:
        return f"{width}×{height} is nearer to {nearest} than to {aspect}: take more pixels"
    is_, asked = width / height, float(ASPECTS[aspect])
    return f"{width}×{height} is nearest to {aspect} here: {is_:.3g} to 1, not {asked:.3g}"


def fitting_size(grid: Grid, ratio: Fraction, pixels: float) -> tuple[int, int]:
    """(width, height) on the grid, nearest to a ratio of width to height and a pixel count."""

    def misfit(size: tuple[int, int]) -> tuple[float, int]:
        width, height = size
        shape = abs(math.log(width / height / float(ratio)))
        return RATIO_COUNTS * shape + abs(math.log(width * height / pixels)), width

    ideal = math.sqrt(pixels / float(ratio)) / grid.multiple
    heights = [n * grid.multiple for n in range(max(1, int(ideal) - 1), int(ideal) + 3)]
    exact = [(height, float(ratio) * height / grid.multiple) for height in heights]
    return min(
        (
            (max(1, n) * grid.multiple, height)
            for height, wide in exact
            for n in (math.floor(wide), math.ceil(wide))
        ),
        key=misfit,
    )
