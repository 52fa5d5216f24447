"""Memory that was freed and that the process still holds."""

import ctypes
from collections.abc import Callable
from functools import cache


def give_back_holes() -> None:
    """Give to the system what lies free within the heap; nothing where C's library cannot.

    glibc keeps a heap for each of many threads, eight times as many as there are cores. What a
    thread frees below something that lives on stays in its heap, and the next thread may get
    another one: a server grows from film to film though nothing of them is left.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)  # 0: keep no more than is in use


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows
        return None
