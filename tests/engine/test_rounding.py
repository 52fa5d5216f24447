from fractions import Fraction

import pytest

from longtake.engine.rounding import nearest


@pytest.mark.parametrize(
    ("value", "whole"),
    [(0.5, 1), (1.5, 2), (2.5, 3), (-0.5, 0), (-1.5, -1), (0.49, 0), (Fraction(7, 2), 4), (7, 7)],
)
def test_a_half_goes_up(value, whole):
    assert nearest(value) == whole


def test_a_fraction_is_rounded_exactly_where_a_float_would_not_be():
    """A float of 53 bits cannot tell this from a half."""
    below = Fraction(1, 2) - Fraction(1, 2**80)
    assert nearest(10**6 + below) == 10**6
    assert nearest(float(10**6 + below)) == 10**6 + 1
