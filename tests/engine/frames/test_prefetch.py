"""A prefetching stage gives the same items, keeps to its bound, and ends when it is closed."""

import contextvars
import threading
import time
import weakref

import pytest
import torch

from longtake.engine.frames.prefetch import abandoned, prefetch


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name == "longtake-prefetch"}


def test_the_items_are_the_same_in_the_same_order():
    assert list(prefetch(range(23), depth=3)) == list(range(23))
    assert list(prefetch(prefetch(iter("abc")))) == ["a", "b", "c"]
    assert list(prefetch([])) == []
    assert not threads()


def test_they_are_made_meanwhile_but_not_without_bound():
    made = []

    def items():
        for n in range(50):
            made.append(n)
            yield n

    stream = prefetch(items(), depth=2)
    assert next(stream) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made == [0, 1, 2, 3]  # one used, two waiting, one in the making
    stream.close()
    assert not threads()


def test_nothing_is_made_before_it_is_wanted():
    assert not threads()
    stream = prefetch(range(3))
    assert not threads()
    stream.close()


class Broken(Exception):
    pass


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise Broken("here")

    stream = prefetch(items())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(Broken, match="here"):
        next(stream)
    assert not threads()


def test_closing_closes_what_it_reads_from_in_its_own_thread():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread().name)

    stream = prefetch(items())
    next(stream)
    stream.close()
    assert closed == ["longtake-prefetch"]
    assert not threads()


def test_whoever_makes_items_can_ask_whether_they_are_wanted():
    """Through stages upon stages, of which only the last is closed."""
    asked, ready = [], threading.Event()

    def items():
        yield 0
        ready.set()
        while not abandoned():
            time.sleep(0.01)
        asked.append("heard")
        yield 1

    stage = prefetch(prefetch(items()))
    assert next(stage) == 0
    assert ready.wait(10)
    assert not asked
    stage.close()
    assert asked == ["heard"]
    assert not threads()
    assert not abandoned()


def test_the_thread_works_under_the_callers_circumstances():
    place = contextvars.ContextVar("place", default="nowhere")

    def items():
        yield torch.is_inference_mode_enabled(), place.get()

    place.set("here")
    with torch.inference_mode():
        assert list(prefetch(items())) == [(True, "here")]
    assert list(prefetch(items())) == [(False, "here")]


def test_an_item_that_was_used_is_let_go_while_the_next_is_made():
    """A chunk of a large video must not stay in memory beside the next."""
    released = threading.Event()

    class Item:
        pass

    def items():
        first = Item()
        weakref.finalize(first, released.set)
        yield first
        del first
        yield released.wait(5)

    stream = prefetch(items())
    item = next(stream)
    del item
    assert next(stream) is True
