"""A stage of a stream in a thread of its own, so that stages work at the same time."""

import contextvars
import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Any, TypeVar

import torch

T = TypeVar("T")
POLL = 0.05  # seconds after which somebody who waits looks whether it is all over
_ENDED: contextvars.ContextVar[tuple[threading.Event, ...]] = contextvars.ContextVar(
    "longtake_ended", default=()
)


def abandoned() -> bool:
    """Whether what this thread is making for `prefetch` is wanted no more: for work that takes long
    to ask on its way."""
    return any(ended.is_set() for ended in _ENDED.get())


def prefetch(items: Iterable[T], most: int = 2) -> Iterator[T]:
    """The same items, the next of them made in a thread while one is used.

    Closing the iterator ends the thread as soon as the item in hand is made, or whoever makes it
    asks `abandoned`, and closes `items`.

    Args:
        items: iterated in the thread, under the caller's inference mode and context variables.
        most: how many may lie finished and unused; one more is in the making.

    Raises:
        Whatever `items` raises, after the items before it.
    """
    queue: Queue[tuple[str, Any]] = Queue(most)
    stop = threading.Event()
    mode = torch.is_inference_mode_enabled()

    def make() -> None:
        with torch.inference_mode(mode):  # is a thread's own
            _hand_over(items, queue, stop)

    context = contextvars.copy_context()
    context.run(_ENDED.set, (*_ENDED.get(), stop))
    thread = threading.Thread(target=context.run, args=(make,), daemon=True, name="longtake-ahead")
    thread.start()
    try:
        yield from _taken(queue)
    finally:
        stop.set()
        thread.join()


def _hand_over(items: Iterable[T], queue: Queue, stop: threading.Event) -> None:
    iterator = iter(items)
    try:
        for item in iterator:
            if not _put(queue, ("item", item), stop):
                return
            del item  # who takes it alone decides how long it lives
        _put(queue, ("end", None), stop)
    except BaseException as error:  # noqa: BLE001 - raised where the items are used
        _put(queue, ("error", error), stop)
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


def _put(queue: Queue, message: tuple[str, Any], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            queue.put(message, timeout=POLL)
        except Full:
            continue
        return True
    return False


def _taken(queue: Queue) -> Iterator[Any]:
    while True:
        try:
            kind, value = queue.get(timeout=POLL)  # a wait without end would not hear Ctrl-C
        except Empty:
            continue
        if kind == "error":
            raise value
        if kind == "end":
            return
        yield value
        del value
