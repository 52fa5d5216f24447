"""A hash of values that decide what a video looks like.

Two values with the same hash are the same: dictionaries in any order, tensors to the bit. What
cannot be compared by its contents, such as a lock or a native object, is refused rather than
guessed at.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from fractions import Fraction
from functools import partial
from hashlib import sha256
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DEEPEST = 24
WHOLE = 2**20  # bytes of a tensor up to which all of it is read
SAMPLES = 2**16  # numbers that are read of a larger one


class UnknownValueError(TypeError):
    """A value that cannot be compared with another by its contents."""


def digest(*values: Any, sampled: bool = False) -> str:
    """The hash of values, 64 hexadecimal digits.

    Args:
        values: numbers, text, bytes, tensors, arrays; containers, functions, modules and plain
            objects of such.
        sampled: of large tensors only evenly spread numbers are read. For weights: two
            checkpoints of a model differ nearly everywhere.

    Raises:
        UnknownValueError: for anything else.
    """
    state = sha256()
    for part in _parts(values, 0, frozenset(), sampled):
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def _parts(value: Any, depth: int, above: frozenset[int], sampled: bool) -> Iterator[bytes]:
    """Bytes that tell a value from any other one."""
    kind = type(value)
    if depth > DEEPEST:
        raise UnknownValueError(f"{kind.__qualname__} lies too deep")
    if isinstance(value, Enum | torch.dtype | torch.device | PurePath | range | slice):
        yield f"{kind.__qualname__}:{value!r}".encode()
        return
    if value is None or isinstance(value, int | float | complex | str | bytes | Fraction):
        yield f"{kind.__name__}:{value!r}".encode("utf-8", "backslashreplace")
        return
    if isinstance(value, Tensor):
        yield from _tensor(value, sampled)
        return
    if isinstance(value, np.ndarray | np.generic):
        yield from _tensor(torch.from_numpy(np.array(value)), sampled)
        return
    if id(value) in above:
        yield b"itself"  # a loop: everything else on it is compared
        return
    above = above | {id(value)}
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    for part in _inside(value):
        yield from _parts(part, depth + 1, above, sampled)


def _inside(value: Any) -> Iterator[Any]:
    """The parts of a compound value, in an order that depends on nothing else."""
    if isinstance(value, list | tuple):
        yield len(value)
        yield from value
    elif isinstance(value, Mapping):
        yield from sorted(((digest(k), v) for k, v in value.items()), key=lambda item: item[0])
    elif isinstance(value, set | frozenset):
        yield from sorted(digest(item) for item in value)
    elif isinstance(value, type | BuiltinFunctionType):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, FunctionType):
        yield from (value.__module__, value.__qualname__, value.__code__, value.__defaults__)
        yield from (cell.cell_contents for cell in value.__closure__ or ())
    elif isinstance(value, CodeType):
        yield from (value.co_code, value.co_names, value.co_consts)
    elif isinstance(value, nn.Module):
        yield from (value.training, dict(value.state_dict(keep_vars=True)), _plain(vars(value)))
    elif type(value).__reduce__ is object.__reduce__ and hasattr(value, "__dict__"):
        yield dict(vars(value))
    else:
        raise UnknownValueError(f"{type(value).__module__}.{type(value).__qualname__}")


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a module holds besides its parameters: its settings."""
    return {k: v for k, v in attributes.items() if not k.startswith("_") and k != "training"}


def _tensor(value: Tensor, sampled: bool) -> Iterator[bytes]:
    yield f"tensor:{value.dtype}:{tuple(value.shape)}".encode()
    value = value.detach()
    if sampled and value.numel() * value.element_size() > WHOLE:
        flat = value.reshape(-1)
        step = max(1, flat.numel() // SAMPLES)
        value = torch.cat((flat[::step], flat[-step:]))
    plain = value.cpu().contiguous().reshape(-1)
    yield plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
