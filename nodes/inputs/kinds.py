"""Inputs of nodes. Each is declared once, as a value that makes the widget and reads the argument.

Arguments are checked when the node runs, because much reaches it unseen: ComfyUI does not check a
number that comes over a link, nor NaN, nor (before 2026) what was chosen in a menu.

`advanced` inputs are those that few people touch; newer hosts fold them away.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...engine.take.storyboard import LONGEST_PROMPT
from ...host.comfyui.offers import offered
from ...models.errors import InputError, LongtakeError
from ...models.weights_file import shards

# Where a host can be told what "control after generate" begins with.
FIXED = getattr(getattr(io, "ControlAfterGenerate", None), "fixed", True)


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`.

    Attributes:
        step: what the arrows beside the widget add. The browser keeps only as many digits of what
            is typed as this has: thousandths, unless told otherwise, for times and rates.
    """

    name: str
    low: float
    high: float
    default: float
    step: float = 0.001
    optional: bool = False
    advanced: bool = False

    def widget(self, tooltip: str) -> io.Float.Input:
        return _widget(io.Float, self, tooltip, min=self.low, max=self.high, step=self.step)

    def read(self, value: Any) -> float:
        """The argument as a float. Raises InputError if it is no number of this range."""
        if not _is_number(value) or not self.low <= value <= self.high:  # also refuses NaN
            raise InputError(
                f"{self.name} {_shown(value)}: choose a number from {self.low:g} to {self.high:g}."
            )
        return float(value)


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`.

    Attributes:
        step: what the arrows beside the widget add; None for 1.
        control_after_generate: whether the browser can choose another each time it is queued. It
            does so only when asked to: left to itself, an older browser would from the first run
            on, and for whatever is called "seed" where this is None.
    """

    name: str
    low: int
    high: int
    default: int
    step: int | None = None
    control_after_generate: bool | None = None
    optional: bool = False
    advanced: bool = False

    def widget(self, tooltip: str) -> io.Int.Input:
        again = self.control_after_generate and FIXED
        more = {"step": self.step, "control_after_generate": again}
        return _widget(io.Int, self, tooltip, min=self.low, max=self.high, **more)

    def read(self, value: Any) -> int:
        """The argument as an int. Raises InputError if it is no whole number of this range."""
        fits = _is_number(value) and self.low <= value <= self.high
        if not fits or value != math.floor(value):
            raise InputError(
                f"{self.name} {_shown(value)}: choose a whole number from {self.low} to "
                f"{self.high}."
            )
        return int(value)


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    name: str
    default: bool = False
    optional: bool = False
    advanced: bool = False

    def widget(self, tooltip: str) -> io.Boolean.Input:
        return _widget(io.Boolean, self, tooltip)

    def read(self, value: Any) -> bool:
        """The argument as a bool. Raises InputError if it is neither that nor a number."""
        if not isinstance(value, int | float):
            raise InputError(f"{self.name} {_shown(value)}: choose true or false.")
        return bool(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    name: str
    options: Sequence[str]
    default: str
    optional: bool = False
    advanced: bool = False

    def widget(self, tooltip: str) -> io.Combo.Input:
        return _widget(io.Combo, self, tooltip, options=list(self.options))

    def read(self, value: Any) -> str:
        """The argument. Raises InputError if it is not among the options."""
        if not isinstance(value, str) or value not in self.options:
            options = ", ".join(self.options)
            raise InputError(f"{self.name} {_shown(value)}: choose from {options}.")
        return value


@dataclass(frozen=True)
class File:
    """A file by its name in a menu, which is made anew each time the browser asks for it.

    Attributes:
        menu: gives the names.
        find: a name -> the file's path; raises InputError for a name that the menu does not have.
        none: the entry that stands for no file.
        upload: what the button beside the menu uploads.
    """

    name: str
    menu: Callable[[], list[str]]
    find: Callable[[str], Path]
    default: str
    none: str | None = None
    upload: io.UploadType | None = None
    optional: bool = False

    def widget(self, tooltip: str) -> io.Combo.Input:
        return _widget(io.Combo, self, tooltip, options=self.menu(), upload=self.upload)

    def read(self, value: str) -> str:
        """The argument. Raises InputError for a file that there is not."""
        if not isinstance(value, str):
            raise InputError(f"{self.name} {_shown(value)}: choose a file's name from the menu.")
        if value != self.none:
            self.find(value)
        return value

    def version(self, value: str) -> str:
        """Changes when the file does, so that the node runs again.

        ComfyUI writes it into the graph that saved files carry: nothing private may be in it.
        """
        if isinstance(value, str) and value == self.none:
            return value
        try:
            found = [part.stat() for part in shards(self.find(self.read(value)))]
        except (LongtakeError, OSError):
            return "no such file"  # an error would become NaN, which no JSON may hold
        return f"{sum(f.st_size for f in found)} bytes, {max(f.st_mtime_ns for f in found)}"


@dataclass(frozen=True)
class Line:
    """A short text on one line."""

    name: str
    default: str = ""
    optional: bool = False
    advanced: bool = False

    def widget(self, tooltip: str) -> io.String.Input:
        return _widget(io.String, self, tooltip)


@dataclass(frozen=True)
class TextBox:
    """Text for an encoder, in a box of several lines.

    Attributes:
        placeholder: what an empty box shows.
        longest: in characters; None where the text is taken apart before it is encoded.
    """

    name: str
    placeholder: str
    default: str = ""
    longest: int | None = LONGEST_PROMPT
    optional: bool = False

    def widget(self, tooltip: str) -> io.String.Input:
        box = {"multiline": True, "dynamic_prompts": True, "placeholder": self.placeholder}
        return _widget(io.String, self, tooltip, **box)

    def read(self, value: Any) -> str:
        """The argument. Raises InputError if it is no text that an encoder can read."""
        if not isinstance(value, str):
            raise InputError(f"the {self.name} must be text, not {type(value).__name__}.")
        if self.longest and len(value) > self.longest:
            raise InputError(
                f"the {self.name} is {len(value)} characters long: text encoders read some 2,500 "
                f"with attention, and at most {self.longest} are allowed."
            )
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the {self.name} is not valid text from character {error.start} on."
            ) from None
        return value


def verdict(*checks: tuple) -> bool | str:
    """For `validate_inputs`: True, or what the first check that fails says.

    Args:
        checks: (function, *arguments) each, such as (SECONDS.read, seconds). One with an argument
            of None is left out: it comes over a link, and is not known yet.
    """
    try:
        for check, *arguments in checks:
            if None not in arguments:
                check(*arguments)
    except LongtakeError as error:
        return str(error)
    return True


def _widget(kind: Any, one: Any, tooltip: str, **more: Any) -> Any:
    """An Input of one of ComfyUI's types, of what all kinds say of themselves, and `more`."""
    advanced = getattr(one, "advanced", False) or None
    more |= offered(kind.Input, advanced=advanced)
    return kind.Input(one.name, default=one.default, optional=one.optional, tooltip=tooltip, **more)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
