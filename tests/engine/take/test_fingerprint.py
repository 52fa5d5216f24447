"""The same values have the same hash, others another, and what nobody can compare is refused."""

import threading
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from longtake.engine.take.fingerprint import UnknownValueError, digest


class Thing:
    def __init__(self, **values):
        vars(self).update(values)


def closure(value):
    return lambda x: x * value


DIFFERENT = [
    *(None, 0, 0.0, False, "", b"", "0", (), [], {}, set()),
    *(1, 1.0, True, Fraction(1, 3), "ab", ["ab"], ["a", "b"], [["a"], "b"], {"a": "b"}, {"b": "a"}),
    *(torch.zeros(2), torch.zeros(1, 2), torch.zeros(2).half(), torch.ones(2), np.zeros(3)),
    *(Thing(a=1), Thing(a=2), Thing(b=1), closure(2), closure(3), torch.relu, Thing),
    *(nn.Linear(2, 3), nn.Linear(2, 3), torch.float32, torch.float16, float("nan"), -0.0),
]


def test_each_of_these_is_another():
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_the_same_again_is_the_same():
    for value in DIFFERENT:
        assert digest(value) == digest(value)
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({1, 2, 3}) == digest({3, 2, 1})
    assert digest(Thing(a=[1])) == digest(Thing(a=[1]))
    assert digest(closure(2)) == digest(closure(2))
    assert digest(torch.ones(3, 2).t()) == digest(torch.ones(2, 3))
    assert digest(1, 2) != digest((1, 2)) != digest(12)


def test_one_bit_of_a_small_tensor_or_one_in_many_of_a_large_one_counts():
    small = torch.zeros(1000)
    changed = small.clone()
    changed[77] = 1e-30
    assert digest(small, sampled=True) != digest(changed, sampled=True)
    large = torch.zeros(1_000_003)
    assert digest(large, sampled=True) != digest(large + 1e-30, sampled=True)
    assert digest(large) != digest(large.index_fill(0, torch.tensor([5]), 1.0))


def test_loops_end():
    loop = Thing()
    loop.own = [loop]
    assert digest(loop) == digest(loop)


@pytest.mark.parametrize(
    "value", [threading.Lock(), iter([1]), {"a": [open]}, partial(print, threading.Lock())]
)
def test_what_cannot_be_compared_is_refused(value):
    if value == {"a": [open]}:  # a builtin function is known by its name
        assert digest(value)
        return
    with pytest.raises(UnknownValueError):
        digest(value)
