"""Weights read as the host wants them: mapped if it allows that, and marked with where they lie.

With dynamic VRAM, newer hosts read marked weights from the file to the card, with no copy between.
Without it, `networks.home` has those go back to the file that leave the card.
"""

import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import comfy
import comfy.utils
from torch import Tensor

from ...models.checkpoint import load_weights
from ...models.weights_file import Header, TensorInfo

_MAPPED = "longtake_mapped"  # the mark of a storage that lies in a file
SLICE = "_comfy_tensor_file_slice"  # where the host looks for the mark, on a tensor's storage


class _Kept(io.FileIO):
    """A file that stays open while a weight is marked with it."""

    def __del__(self) -> None:
        self.close()


def read_for_host(
    header: Header, names: Mapping[str, str] | None = None, **how: Any
) -> dict[str, Tensor]:
    """`load_weights`, for networks that the host manages."""
    return load_weights(header, names, mapped=may_map(), on_mapped=_marker(), **how)


def may_map() -> bool:
    """Whether weights may stay mapped from the disk; ComfyUI's --disable-mmap forbids it."""
    return not comfy.utils.DISABLE_MMAP


def lies_in_file(weight: Tensor) -> bool:
    """Whether a weight, or the numbers of a quantised one, is mapped and not a copy in memory."""
    numbers = getattr(weight, "_qdata", weight)
    return numbers.device.type == "cpu" and hasattr(numbers.untyped_storage(), _MAPPED)


def _marker() -> Callable[[Tensor, TensorInfo], None]:
    """Marks a mapped tensor as that, and with its place in its file where the host reads so."""
    memory = getattr(comfy, "memory_management", None)
    if not getattr(memory, "aimdo_enabled", False) or not hasattr(memory, "TensorFileSlice"):
        return lambda tensor, _info: setattr(tensor.untyped_storage(), _MAPPED, True)
    files: dict[Path, tuple[_Kept, threading.Lock]] = {}

    def mark(tensor: Tensor, info: TensorInfo) -> None:
        if info.file not in files:
            files[info.file] = _Kept(info.file), threading.Lock()
        place = memory.TensorFileSlice(*files[info.file], info.offset, info.bytes)
        setattr(tensor.untyped_storage(), SLICE, place)
        setattr(tensor.untyped_storage(), _MAPPED, True)

    return mark
