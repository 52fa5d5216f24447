"""Frames per second, exactly."""

from fractions import Fraction

from ..models.errors import InputError

MAX_RATE = 1000.0  # of a node's input and of a file
IN_SHORT = {23.98: 24, 47.95: 48}  # as people write 24000/1001 and 48000/1001, with two digits


def frame_rate(fps: float) -> Fraction:
    """Frames per second as an exact fraction; 23.976, 23.98 and 29.97 are meant as n·1000/1001.

    Args:
        fps: above 0, at most MAX_RATE.

    Raises:
        InputError: for anything else, NaN included.
    """
    if not 0 < fps <= MAX_RATE:  # also false for NaN
        raise InputError(f"{fps} frames per second: it must be above 0 and at most {MAX_RATE:g}.")
    ntsc = IN_SHORT.get(fps, fps * 1001 / 1000)
    if not float(fps).is_integer() and abs(ntsc - round(ntsc)) < 1e-3 and round(ntsc) >= 1:
        return Fraction(round(ntsc) * 1000, 1001)
    return Fraction(fps).limit_denominator(1000) or Fraction(1, 1000)
