"""A prefetching stage gives the same items, keeps to its bound, and ends when it is closed."""

import contextvars
import os
import platform
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.engine.frames import prefetch as stages
from longtake.engine.frames.prefetch import abandoned, alongside, behind, prefetch


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


# What comes behind: the items are made here, and used in the thread


def test_what_comes_behind_gets_the_items_in_their_order():
    here = threading.current_thread()
    made, used = [], []

    def items():
        for n in range(9):
            made.append(threading.current_thread())
            yield n

    def use(stream):
        used.append(threading.current_thread())
        return list(stream)

    with torch.inference_mode():
        assert behind(items(), use) == list(range(9))
    assert {*made} == {here} != {*used}


def test_items_are_made_ahead_of_a_slow_user_but_not_without_bound():
    made, let_go, counts = [], threading.Event(), []

    def items():
        for n in range(20):
            made.append(n)
            if n == 3:
                let_go.set()
            yield n

    def use(stream):
        next(stream)
        assert let_go.wait(10)
        time.sleep(0.1)
        counts.append(len(made))
        return sum(1 for _ in stream)

    assert behind(items(), use, depth=2) == 19
    assert counts == [4]  # one used, two waiting, one in the making


def test_what_the_items_raise_ends_the_user_first():
    seen = []

    def items():
        yield 1
        raise ValueError("no more")

    def use(stream):
        try:
            return list(stream)
        except ValueError:
            seen.append("the user")
            raise

    with pytest.raises(ValueError, match="no more"):
        behind(items(), use)
    assert seen == ["the user"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_user_that_ends_early_ends_the_items(fails):
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    def use(stream):
        first = next(stream)
        if fails:
            raise OSError("disk full")
        return first

    if fails:
        with pytest.raises(OSError, match="disk full"):
            behind(items(), use)
    else:
        assert behind(items(), use) == 0
    assert closed == [True]
    assert "longtake-behind" not in {thread.name for thread in threading.enumerate()}


def test_the_user_has_the_callers_inference_mode_and_variables():
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    for mode in (True, False):
        with torch.inference_mode(mode):
            found = behind([1], lambda _: (torch.is_inference_mode_enabled(), variable.get()))
        assert found == (mode, 7)


def held() -> float:
    """MB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep no heap for a thread")
def test_a_stage_that_has_ended_leaves_no_holes_in_the_heap():
    def items():
        frames = [np.ones(90_000, np.uint8) for _ in range(600)]  # too small for pages of their own
        yield frames[-1]

    def last(frames):
        *_, frame = frames
        return frame

    before = held()
    kept = [*prefetch(items())], behind(items(), last)
    assert held() - before < 20, "54 MB were freed below each that is kept"
    assert all(np.all(one) for one in kept)


# Work on one item that cannot be stopped in the middle


def nothing() -> None:
    pass


def test_alongside_gives_what_is_made_of_the_items():
    closed = []

    def items():
        try:
            yield from range(5)
        finally:
            closed.append(threading.current_thread().name)

    assert alongside(items(), list, nothing) == [0, 1, 2, 3, 4]
    assert closed == [threading.current_thread().name]  # they are made where they were before
    assert alongside((), sum, nothing) == 0


def test_an_item_is_made_only_when_it_is_asked_for():
    made = []

    def use(rest):
        first = next(rest)
        time.sleep(0.1)
        return first, list(made)

    assert alongside((made.append(n) or n for n in range(9)), use, nothing) == (0, [0])


def test_an_error_of_the_items_or_of_their_use_is_told():
    def broken():
        yield 1
        raise Broken

    def use(rest):
        for _ in rest:
            raise Broken

    for items, using in ((broken(), list), (range(3), use)):
        with pytest.raises(Broken):
            alongside(items, using, nothing)


def test_whoever_cancels_need_not_wait_for_what_cannot_be_stopped(monkeypatch):
    monkeypatch.setattr(stages, "PATIENCE", 0.01)
    at_work, go_on, ended = (threading.Event() for _ in range(3))
    seen = []

    def use(rest):
        next(rest)
        at_work.set()
        assert go_on.wait(10)  # an encoder on a large frame
        seen.append(abandoned())
        try:
            next(rest)
        except stages.Closed:
            ended.set()

    def cancel():
        if at_work.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alongside(range(3), use, cancel)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(10)
    assert seen == [True]
