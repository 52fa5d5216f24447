"""Text keys and values, kept while one sampling run goes on.

Core hands the same prompts to the model again at every step, put together anew each time. Reading
a prompt costs two matrices per block, and under low memory the transfer of their weights as well.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...models.wan.dit import KeysValues, Text

Read = Callable[[Tensor, Tensor | None], Text]
LIMIT = 16  # prompts; a run with more of them reads the oldest again


class Row(NamedTuple):
    """One prompt of a batch, and what was read from it."""

    context: Tensor  # (1, m, c)
    image: Tensor | None  # (1, i, c) CLIP image tokens
    text: Text


class Stacked(Sequence[KeysValues]):
    """Keys and values of several prompts, put together for one block when that block asks.

    A batch of all blocks would hold as much again as the rows themselves: gigabytes for 14B.
    """

    def __init__(self, rows: Sequence[Sequence[KeysValues]]):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows[0])

    def __getitem__(self, block: int) -> KeysValues:
        keys, values = zip(*(row[block] for row in self.rows), strict=True)
        return (keys[0], values[0]) if len(keys) == 1 else (torch.cat(keys), torch.cat(values))


class TextMemory:
    """Remembers what was read from each prompt between `open` and `close`.

    Outside of a run nothing is remembered, so that a change of weights can never be missed.
    """

    def __init__(self):
        self._rows: list[Row] = []
        self._open = False

    def open(self) -> None:
        """A run begins, in which the weights will not change."""
        self._rows, self._open = [], True

    def close(self) -> None:
        self._rows, self._open = [], False

    def read(self, read: Read, context: Tensor, image: Tensor | None) -> Text:
        """What `read` gives for context: (b, m, c) and image: (b, i, c), one call per new row."""
        if not self._open:
            return read(context, image)
        each = range(context.shape[0])
        texts = [self._row(read, context[i : i + 1], _row(image, i)) for i in each]
        words = Stacked([text.words for text in texts])
        return Text(words, None if image is None else Stacked([text.image for text in texts]))

    def _row(self, read: Read, context: Tensor, image: Tensor | None) -> Text:
        for row in self._rows:
            if _same(row.context, context) and _same(row.image, image):
                return row.text
        text = read(context, image)
        self._rows = [*self._rows, Row(context.clone(), _clone(image), text)][-LIMIT:]
        return text


def _row(x: Tensor | None, i: int) -> Tensor | None:
    return None if x is None else x[i : i + 1]


def _clone(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.clone()


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
