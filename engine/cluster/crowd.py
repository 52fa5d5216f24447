"""Workers as whoever gives them work sees them, whatever carries the words between."""

from typing import Any, Protocol


class UnreachableError(Exception):
    """There is no cluster to be spoken to; says why, in a line."""


class LostWorkerError(Exception):
    """A worker is gone, and what it was doing with it."""


class FailedCallError(Exception):
    """A worker answered that something went wrong; says what, in a line."""


class Call(Protocol):
    """A question on its way."""

    def ready(self) -> bool:
        """Whether there is an answer."""

    def result(self) -> Any:
        """The answer. Raises LostWorkerError or FailedCallError."""


class Crowd(Protocol):
    """The workers of a cluster. Questions and answers are text, bytes, and lists of them."""

    def names(self) -> list[str]:
        """Of those who are there now."""

    def call(self, name: str, method: str, *arguments: Any) -> Call:
        """Ask a worker something."""

    def close(self) -> None:
        """Nothing more will be asked."""
