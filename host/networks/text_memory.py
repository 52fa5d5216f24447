"""Text keys and values, kept for the length of one sampling run.

Core passes the same prompts to the model at every step, batched anew each time. Computing their
keys and values costs two matrices per block, and with little memory the transfer of those weights.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...models.wan.dit import KeysValues, Text

Read = Callable[[Tensor, Tensor | None], Text]
LIMIT = 16  # prompts; a run with more of them computes the oldest again


class _Row(NamedTuple):
    """One prompt of a batch, and its keys and values.

    Attributes:
        context: (1, m, c) from the text encoder.
        image: (1, i, c) CLIP image tokens.
        text: keys and values.
    """

    context: Tensor
    image: Tensor | None
    text: Text


class _Stacked(Sequence[KeysValues]):
    """Keys and values of several prompts, batched for one block at a time, when it asks.

    Batched for all blocks they would take as much memory again: gigabytes for 14B.
    """

    def __init__(self, rows: Sequence[Sequence[KeysValues]]):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows[0])

    def __getitem__(self, block: int) -> KeysValues:
        keys, values = zip(*(row[block] for row in self.rows), strict=True)
        return (keys[0], values[0]) if len(keys) == 1 else (torch.cat(keys), torch.cat(values))


class TextMemory:
    """Keeps each prompt's keys and values between `open` and `close`.

    Outside of a run nothing is kept, so that a change of weights can never be missed.
    """

    def __init__(self):
        self._rows: list[_Row] = []
        self._open = False

    def open(self) -> None:
        """A run begins, in which the weights will not change."""
        self._rows, self._open = [], True

    def close(self) -> None:
        self._rows, self._open = [], False

    def forget(self) -> None:
        """Nothing is kept of what was read so far; what is read from now on is."""
        self._rows = []

    @property
    def bytes(self) -> int:
        """Of the keys and values that are kept now."""
        pairs = [
            *(pair for row in self._rows for pair in row.text.words),
            *(pair for row in self._rows for pair in row.text.image or ()),
        ]
        return sum(x.numel() * x.element_size() for pair in pairs for x in pair)

    def read(self, read: Read, context: Tensor, image: Tensor | None) -> Text:
        """read(context, image), called once per new row of (b, m, c) and (b, i, c)."""
        if not self._open:
            return read(context, image)
        each = range(context.shape[0])
        texts = [self._row(read, context[i : i + 1], _row(image, i)) for i in each]
        words = _Stacked([text.words for text in texts])
        return Text(words, None if image is None else _Stacked([text.image for text in texts]))

    def _row(self, read: Read, context: Tensor, image: Tensor | None) -> Text:
        for row in self._rows:
            if _same(row.context, context) and _same(row.image, image):
                return row.text
        text = read(context, image)
        self._rows = [*self._rows, _Row(context.clone(), _clone(image), text)][-LIMIT:]
        return text


def _row(x: Tensor | None, i: int) -> Tensor | None:
    return None if x is None else x[i : i + 1]


def _clone(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.clone()


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
