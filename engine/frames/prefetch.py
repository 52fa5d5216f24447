"""Stages of a stream in threads of their own, so that they run at the same time."""

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar

import torch

from ..heap import give_back_holes

T, R = TypeVar("T"), TypeVar("R")
POLL = 0.05  # seconds between looks whether the other side has ended
PATIENCE = 0.5  # seconds in which a thread may clean up before it is left to itself
ALONGSIDE = "alongside"  # what such threads are called
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
    return poured(partial(_hand_on, items), depth)


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
    line: _Line[T] = _Line(depth)
    context = contextvars.copy_context()
    context.run(STOPS.set, (*STOPS.get(), line.stop))
    thread = _started(context, "prefetch", partial(line.fill, pour))
    try:
        yield from line.items()
    finally:
        line.stop.set()
        _end(thread)


def behind(items: Iterable[T], use: Callable[[Iterator[T]], R], depth: int = 2) -> R:
    """`use(items)` in a thread of its own, while the items are made here, ahead of it.

    For what had better not leave its thread, such as the sampling of a window.

    Args:
        items: iterated here; whatever it raises, `use` gets to see first.
        use: called in the thread, under the caller's inference mode and context variables. Once
            it has ended, no more items are made.
        depth: how many may be ready and unused.

    Raises:
        Whatever `use` raises.
    """
    line: _Line[T] = _Line(depth)
    ended: list[tuple[R | None, BaseException | None]] = []

    work = partial(_work, use, line.items(), ended, line.stop.set)
    thread = _started(contextvars.copy_context(), "behind", work)
    line.fill(partial(_hand_on, items))
    return _outcome(thread, ended)


def alongside(items: Iterable[T], use: Callable[[Iterator[T]], R], look: Callable[[], Any]) -> R:
    """`use(items)` in a thread of its own, which is left to itself once nobody waits any more.

    For what works on one item for long and cannot be stopped in the middle, as an encoder on a
    large frame. The thread ends at its next question whether it is `abandoned`, and cleans up.

    Args:
        items: iterated here, each when it is asked for; closed at the end.
        use: called in the thread, under the caller's inference mode and context variables.
        look: called here again and again; what it raises ends the wait, after `PATIENCE`.

    Raises:
        Whatever `items`, `use` or `look` raises.
    """
    hand: _Hand[T] = _Hand()
    ended: list[tuple[R | None, BaseException | None]] = []

    work = partial(_work, use, hand.items(), ended, hand.asked.release)
    context = contextvars.copy_context()
    context.run(STOPS.set, (*STOPS.get(), hand.stop))
    thread, iterator = _started(context, ALONGSIDE, work), iter(items)
    try:
        while not ended:
            if hand.asked.acquire(timeout=POLL) and not ended:
                hand.give(iterator)
            look()
    except BaseException:
        hand.stop.set()
        thread.join(PATIENCE)
        raise
    finally:
        if hasattr(iterator, "close"):
            iterator.close()
    return _outcome(thread, ended)


def _work(
    use: Callable[[Iterator[T]], R],
    items: Iterator[T],
    ended: list[tuple[R | None, BaseException | None]],
    after: Callable[[], Any],
) -> None:
    """What a thread does: `use(items)`, whose result or error goes into `ended`, then `after()`."""
    try:
        ended.append((use(items), None))
    except BaseException as error:  # noqa: BLE001 - raised by `_outcome`
        ended.append((None, error))
    finally:
        after()


def _outcome(thread: threading.Thread, ended: list[tuple[R | None, BaseException | None]]) -> R:
    """The result of a thread's work, once it has ended. Raises what that raised."""
    _end(thread)
    result, error = ended[0]
    if error is not None:
        raise error
    return result


class _Hand(Generic[T]):
    """Items that go from one thread to another when they are asked for, until `stop` is set."""

    def __init__(self):
        self.stop, self.asked = threading.Event(), threading.Semaphore(0)
        self._queue: Queue[tuple[T, ...]] = Queue()

    def give(self, iterator: Iterator[T]) -> None:
        """The next item, or the end."""
        for item in iterator:
            self._queue.put((item,))
            return
        self._queue.put(())

    def items(self) -> Iterator[T]:
        while True:
            self.asked.release()
            entry = self._asked_for()
            if not entry:
                return
            yield entry[0]
            del entry

    def _asked_for(self) -> tuple[T, ...]:
        while not self.stop.is_set():
            with suppress(Empty):
                return self._queue.get(timeout=POLL)
        raise Closed


def _started(context: contextvars.Context, name: str, work: Callable[[], None]) -> threading.Thread:
    """A thread that works under the caller's inference mode, which each thread has of its own."""
    mode = torch.is_inference_mode_enabled()

    def in_mode() -> None:
        with torch.inference_mode(mode):
            work()

    thread = threading.Thread(
        target=context.run, args=(in_mode,), daemon=True, name=f"longtake-{name}"
    )
    thread.start()
    return thread


def _end(thread: threading.Thread) -> None:
    thread.join()
    if not STOPS.get():  # of stages within stages the outermost ends last
        give_back_holes()


def _hand_on(items: Iterable[T], give: Callable[[T], None]) -> None:
    iterator = iter(items)
    try:
        for item in iterator:
            give(item)
            del item  # its user alone decides how long it lives
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


class _Line(Generic[T]):
    """Items on their way from one thread to another, until `stop` is set."""

    def __init__(self, depth: int):
        self.stop = threading.Event()
        self._queue: Queue[tuple[str, Any]] = Queue(depth)

    def fill(self, pour: Callable[[Callable[[T], None]], Any]) -> None:
        """Put in what `pour` gives, then its end or its error."""
        try:
            pour(self._give)
        except BaseException as error:  # noqa: BLE001 - raised where the items are used
            self._put("error", error)
        else:
            self._put("end", None)

    def items(self) -> Iterator[T]:
        while True:
            try:
                kind, value = self._queue.get(timeout=POLL)  # an endless wait would ignore Ctrl-C
            except Empty:
                continue
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
            del value

    def _give(self, item: T) -> None:
        if not self._put("item", item):
            raise Closed

    def _put(self, kind: str, value: Any) -> bool:
        while not self.stop.is_set():
            try:
                self._queue.put((kind, value), timeout=POLL)
            except Full:
                continue
            return True
        return False
