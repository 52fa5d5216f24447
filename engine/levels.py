"""Bytes of pictures as numbers."""

from torch import Tensor

from ..models.cpu import bands


def as_numbers(chunk: Tensor) -> Tensor:
    """Pictures (n, h, w, c) in uint8 as float32 in [0, 1]."""
    return bands.by_rows(lambda rows: rows.float() / 255, chunk, axis=1)
