"""Files of this project's own making: by the note in their metadata, or without it by their shapes.

A note says what shapes do not show. Whatever they do show is read from them and must agree: the
note of a stranger's file may say anything, and a network of its sizes would be built.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CheckpointError, ConfigError
from ..weights_file import Header, one_line, read_header, under
from .config import DiTConfig, VAEConfig
from .shapes import Shapes, dit_config, text_encoder_config, vae_config

BUILT_IN = Path(__file__).resolve().parents[1] / "nano"
VOCABULARY = "spiece_model"
LONGEST_TEXT = 4096  # tokens
# What text of unknown origin can raise on its way to a config.
NOT_A_NOTE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


class OwnNote(NamedTuple):
    """What a file of ours is.

    Attributes:
        kind: "dit", "vae" or "text_encoder".
        config: its sizes, in numbers that its shapes agree with.
        more: whatever else the note says, as JSON values.
    """

    kind: str
    config: DiTConfig | VAEConfig | dict[str, Any]
    more: Mapping[str, Any]


def read_note(header: Header) -> OwnNote:
    """The note in a file's metadata. Raises CheckpointError unless the file agrees with it."""
    shapes = Shapes(header, {name: name for name in header.tensors})
    of_kind: Mapping[str, Callable[[Shapes, dict], Any]] = {
        "dit": _transformer,
        "vae": _vae,
        "text_encoder": _text_encoder,
    }
    try:
        note = json.loads(header.metadata["longtake"])
        config = of_kind[note["kind"]](shapes, note["config"])
    except CheckpointError:
        raise
    except NOT_A_NOTE as error:
        raise CheckpointError(
            f"'{header.name}' was made by Longtake, but its metadata, which says what it is, "
            f"cannot be read ({one_line(error)}). Get another copy of it."
        ) from None
    return OwnNote(note["kind"], config, note)


def like_built_in(header: Header, kind: str) -> tuple[dict[str, str], OwnNote] | None:
    """(name in the file -> official name, the note) of built-in weights that were saved without it.

    Core's ModelSave, CLIPSave, VAESave and CheckpointSave put prefixes before the names, and leave
    out the metadata. Anything of the same names and shapes as the built-in weights is taken for
    theirs; None for any other file.
    """
    own = _built_in(kind)
    if own is None:
        return None
    names = under(header, next(name for name in own.tensors if name != VOCABULARY)) or {}
    names = {old: new for old, new in names.items() if new in own.tensors}
    if VOCABULARY in own.tensors and VOCABULARY not in names.values():  # it lies by itself
        names |= {old: VOCABULARY for old in header.tensors if f".{old}".endswith(f".{VOCABULARY}")}
    shapes = {new: header.tensors[old].shape for old, new in names.items()}
    if len(names) != len(shapes) or shapes != {n: info.shape for n, info in own.tensors.items()}:
        return None
    return names, read_note(own)


@lru_cache(maxsize=3)
def _built_in(kind: str) -> Header | None:
    path = BUILT_IN / f"{kind}.safetensors"
    return read_header(path) if path.is_file() else None


def _transformer(shapes: Shapes, numbers: dict) -> DiTConfig:
    said = DiTConfig.from_json(numbers)
    _check_number(said.heads, "heads", 1, said.width)
    _check_number(said.text_length, "text_length", 1, LONGEST_TEXT)
    if not isinstance(said.frame_levels, bool):
        raise ConfigError(f"frame_levels is {said.frame_levels!r}, and should be true or false")
    if not isinstance(said.eps, float) or not 0 < said.eps < 0.01:
        raise ConfigError(f"eps is {said.eps!r}, and should be a number such as 1e-6")
    found = replace(
        dit_config(shapes, said.heads),
        text_length=said.text_length,
        frame_levels=said.frame_levels,
        eps=said.eps,
    )
    _compare({f.name: (getattr(said, f.name), getattr(found, f.name)) for f in fields(found)})
    return found


def _vae(shapes: Shapes, numbers: dict) -> VAEConfig:
    said, found = VAEConfig.from_json(numbers), vae_config(shapes)
    _compare({f.name: (getattr(said, f.name), getattr(found, f.name)) for f in fields(found)})
    return found


def _text_encoder(shapes: Shapes, numbers: dict) -> dict[str, Any]:
    found = text_encoder_config(shapes)
    _compare({name: (numbers[name], number) for name, number in found.items()})
    return found


def _check_number(number: Any, name: str, low: int, high: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise ConfigError(f"{name} is {one_line(repr(number))}, and may be {low} to {high}")


def _compare(numbers: Mapping[str, tuple[Any, Any]]) -> None:
    """Raises ConfigError for the first number that is not what the shapes show."""
    for name, (said, found) in numbers.items():
        if said != found:
            raise ConfigError(f"{name} is {one_line(repr(said))}, but its tensors show {found}")
