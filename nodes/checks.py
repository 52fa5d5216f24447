"""Values are looked at again in the node, because much reaches it unseen.

ComfyUI does not check a number that comes over a link, nor NaN, nor (before 2026) what was chosen
in a menu.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..models.errors import InputError, LongtakeError

LONGEST_PROMPT = 20_000  # characters


def number(name: str, value: Any, low: float, high: float) -> float:
    """The value as a float. Raises InputError if it is no number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{name} {shown(value)}: choose a number from {low:g} to {high:g}.")
    return float(value)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """The value as an int. Raises InputError if it is no whole number from `low` to `high`."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not fits or value != math.floor(value):
        raise InputError(f"{name} {shown(value)}: choose a whole number from {low} to {high}.")
    return int(value)


def one_of(name: str, value: Any, options: Sequence[str]) -> str:
    """The value. Raises InputError if it is not among the options."""
    if value not in options:
        raise InputError(f"{name} {shown(value)}: choose from {', '.join(options)}.")
    return value


def prompt(name: str, value: Any) -> str:
    """The value. Raises InputError if it is no text that an encoder can read."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, not {type(value).__name__}.")
    if len(value) > LONGEST_PROMPT:
        raise InputError(
            f"{name} is {len(value)} characters long: text encoders read some 2,500 with "
            f"attention, and at most {LONGEST_PROMPT} are allowed."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is not valid text from character {error.start} on.") from None
    return value


def verdict(check: Callable[..., Any], *values: Any) -> bool | str:
    """For `validate_inputs`: True, or what is wrong. A value that comes by a link is None yet."""
    if None in values:
        return True
    try:
        check(*values)
    except LongtakeError as error:
        return str(error)
    return True


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
