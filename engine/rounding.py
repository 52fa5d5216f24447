"""Rounding for counts of frames and pixels."""

import math
from fractions import Fraction


def nearest(value: Fraction | float) -> int:
    """The whole number nearest to `value`; of two as near, the larger one.

    Python's `round` takes the even one: of frames at 0.5, 1.5 and 2.5 two would fall together.
    """
    return math.floor(value + Fraction(1, 2))
