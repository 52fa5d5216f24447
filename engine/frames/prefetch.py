"""A stage of a stream in a thread of its own, so that stages run at the same time."""

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Any, TypeVar

import torch

T = TypeVar("T")
POLL = 0.05  # seconds between looks whether the other side has ended
STOPS: contextvars.ContextVar[tuple[threading.Event, ...]] = contextvars.ContextVar(
    "longtake_prefetch_stops", default=()
)


def abandoned() -> bool:
    """Whether this thread works for a `prefetch` that was closed; long work should ask and stop."""
    return any(stop.is_set() for stop in STOPS.get())


class Closed(Exception):
    """Nobody takes what is made any more."""


def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The same items, made in a thread ahead of their use.

    Closing the iterator closes `items` and ends the thread, once the current item is made or
    whatever makes it asks `abandoned`.

    Args:
        items: iterated in the thread, under the caller's inference mode and context variables.
        depth: how many may be ready and unused; one more is being made.

    Raises:
        Whatever `items` raises, after the items before it.
    """

    def pour(give: Callable[[T], None]) -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                give(item)
                del item  # its user alone decides how long it lives
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    return poured(pour, depth)


def poured(pour: Callable[[Callable[[T], None]], Any], depth: int = 2) -> Iterator[T]:
    """What a function gives, one by one, while it runs in a thread.

    Closing the iterator ends the thread: what the function gives next raises Closed in it.

    Args:
        pour: is handed a function that takes an item, and waits while `depth` are unused. It runs
            under the caller's inference mode and context variables.
        depth: how many may be ready and unused; one more is being made.

    Raises:
        Whatever `pour` raises, after the items before it.
    """
    queue: Queue[tuple[str, Any]] = Queue(depth)
    stop = threading.Event()
    mode = torch.is_inference_mode_enabled()

    def give(item: T) -> None:
        if not _put(queue, ("item", item), stop):
            raise Closed

    def make() -> None:
        try:
            with torch.inference_mode(mode):  # which each thread has of its own
                pour(give)
        except BaseException as error:  # noqa: BLE001 - raised where the items are used
            _put(queue, ("error", error), stop)
        else:
            _put(queue, ("end", None), stop)

    context = contextvars.copy_context()
    context.run(STOPS.set, (*STOPS.get(), stop))
    thread = threading.Thread(
        target=context.run, args=(make,), daemon=True, name="longtake-prefetch"
    )
    thread.start()
    try:
        yield from _consume(queue)
    finally:
        stop.set()
        thread.join()


def _put(queue: Queue, message: tuple[str, Any], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            queue.put(message, timeout=POLL)
        except Full:
            continue
        return True
    return False


def _consume(queue: Queue) -> Iterator[Any]:
    while True:
        try:
            kind, value = queue.get(timeout=POLL)  # an endless wait would ignore Ctrl-C
        except Empty:
            continue
        if kind == "error":
            raise value
        if kind == "end":
            return
        yield value
        del value
