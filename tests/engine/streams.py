"""A stream that says whether it was closed."""

from collections.abc import Iterable
from typing import Any


class Stream:
    """Items of a stage that must be closed, as one with a thread must be.

    It is no generator, which would be closed whenever its last reference goes.
    """

    def __init__(self, items: Iterable[Any]):
        self.items, self.closed = iter(items), False

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Any:
        return next(self.items)

    def close(self) -> None:
        self.closed = True
