"""Large tensors on a CPU worked on in bands, between which the work can be stopped.

A frame of 8192 x 8192 pixels takes seconds each time it is copied, padded, joined or brought to
another number format. In bands the results are the same to the bit, a band of them stays in the
caches, and whoever pressed Cancel need not wait for the whole. What is not large is one band.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BYTES = 2**26  # in a band of the largest tensor: of plain operations a twentieth of a second
ROWS = -2  # the axis of rows in (..., h, w)
_LOOK: ContextVar[Callable[[], Any]] = ContextVar("longtake_look", default=lambda: None)


@contextmanager
def stoppable(look: Callable[[], Any]) -> Iterator[None]:
    """Work in this block can be stopped: `look` is called between its parts, and may raise.

    Threads that take over the context variables can be stopped as well.
    """
    token = _LOOK.set(look)
    try:
        yield
    finally:
        _LOOK.reset(token)


def look() -> None:
    """Called between parts of long work. Raises what stops it."""
    _LOOK.get()()


def bands(
    *tensors: Tensor, axis: int = ROWS, per: int = 1, grows: int = 1
) -> Iterator[tuple[Tensor, ...]]:
    """Tensors in bands: the same share of the rows of each, from first to last.

    Args:
        tensors: of as many rows each, or of a multiple of the first's over `per`.
        axis: of rows.
        per: rows of the first that must not be parted; at the end there may be fewer.
        grows: how many times larger what is made of them is.
    """
    units = -(-tensors[0].shape[axis] // per)
    largest = grows * max(x.numel() * x.element_size() for x in tensors)
    count = max(1, min(units, -(-largest // BYTES))) if _may_part(tensors[0]) else 1
    if count == 1:
        yield tensors
        return
    size = -(-units // count)
    parts = [x.split(size * -(-x.shape[axis] // units), axis) for x in tensors]
    for band in zip(*parts, strict=True):
        look()
        yield band


def _may_part(x: Tensor) -> bool:
    """Not where a graph is recorded; other devices are left to their own speed."""
    return x.is_cpu and not x.requires_grad and not torch.compiler.is_compiling()


def by_rows(
    change: Callable[..., Tensor],
    *tensors: Tensor,
    axis: int = ROWS,
    per: int = 1,
    grows: int = 1,
) -> Tensor:
    """change(*tensors), where each row of the result comes of the same share of rows of each.

    Args:
        change: of some rows of each.
        tensors, axis, per, grows: see `bands`; the result has the same axis of rows.
    """
    if not _may_part(tensors[0]):
        return change(*tensors)
    rows, out, at = tensors[0].shape[axis], None, 0
    for parts in bands(*tensors, axis=axis, per=per, grows=grows):
        made, seen = change(*parts), parts[0].shape[axis]
        if seen == rows:
            return made
        if out is None:
            shape = list(made.shape)
            shape[axis] = -(-rows * made.shape[axis] // seen)
            out = empty_like(made, shape)
        out.narrow(axis, at, made.shape[axis]).copy_(made)
        at += made.shape[axis]
    return out


def empty_like(x: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty tensor of another shape whose axes lie in memory in the order of x's."""
    order = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    places = sorted(range(x.ndim), key=order.__getitem__)
    return x.new_empty([shape[axis] for axis in order]).permute(places)


def fill(out: Tensor, source: Tensor | float, axis: int = ROWS) -> Tensor:
    """out, which becomes a copy of a tensor of its shape, or all one number."""
    if isinstance(source, Tensor):
        for to, part in bands(out, source, axis=axis):
            to.copy_(part)
    else:
        for (to,) in bands(out, axis=axis):
            to.fill_(source)
    return out


def copied(x: Tensor) -> Tensor:
    """x.clone()"""
    return by_rows(torch.clone, x)


def concatenated(parts: Sequence[Tensor], axis: int) -> Tensor:
    """torch.cat(parts, axis)"""
    if sum(x.numel() * x.element_size() for x in parts) <= BYTES or not _may_part(parts[0]):
        return torch.cat(list(parts), axis)
    shape, at = list(parts[0].shape), 0
    shape[axis] = sum(x.shape[axis] for x in parts)
    out = empty_like(parts[0], shape)
    for x in parts:
        fill(out.narrow(axis, at, x.shape[axis]), x)
        at += x.shape[axis]
    return out


def padded(x: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    """F.pad(x, sides) with zeros; sides: columns before and after, rows before and after."""
    if x.numel() * x.element_size() <= BYTES or not _may_part(x):
        return F.pad(x, sides)
    left, right, top, bottom = sides
    h, w = x.shape[-2:]
    out = empty_like(x, (*x.shape[:-2], top + h + bottom, left + w + right))
    fill(out[..., top : top + h, left : left + w], x)
    for edge in (out[..., :top, :], out[..., top + h :, :], out[..., :left], out[..., left + w :]):
        edge.zero_()
    return out


def all_finite(x: Tensor, axis: int = ROWS) -> bool:
    """Whether no number is NaN or infinite. On a card it waits for the numbers."""
    return all(bool(torch.isfinite(part).all()) for (part,) in bands(x, axis=axis))


def added(y: Tensor, x: Tensor) -> Tensor:
    """y + x, written into y, which nobody else may need. Both of one shape."""
    for to, part in bands(y, x):
        torch.add(to, part, out=to)
    return y
