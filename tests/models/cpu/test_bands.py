import contextvars
from functools import partial
from threading import Thread

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from longtake.models.cpu import bands
from tests.looks import Looks

SIDES = ((1, 2, 3, 4), (0, 1, 0, 1), (0, 0, 0, 0))


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(bands, "BYTES", 256)


def numbers(*shape: int, last: bool = False) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(5))
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if last else x


CHANGES = {
    "the same": (lambda x: x * 2, 1),
    "doubled": (partial(F.interpolate, scale_factor=2.0, mode="nearest"), 1),
    "halved": (partial(F.avg_pool2d, kernel_size=2, ceil_mode=True), 2),
    "in channels": (lambda x: rearrange(x, "n c h (w q) -> n (c q) h w", q=2), 1),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 13, 16])
@pytest.mark.parametrize("name", CHANGES)
def test_rows_in_bands_are_the_whole(name, rows, last):
    change, per = CHANGES[name]
    x = numbers(2, 3, rows, 10, last=last)
    with Looks() as looks, bands.stoppable(looks.look):
        banded = bands.by_rows(change, x, per=per)
    whole = change(x)
    assert torch.equal(banded, whole)
    assert rows < 13 or looks.count >= rows / per / 2
    assert rows == 1 or banded.stride() == whole.contiguous().stride() or last


@pytest.mark.parametrize("last", [False, True])
def test_the_result_lies_in_memory_as_the_whole_would(last):
    x = numbers(2, 3, 8, 10, last=last)
    assert bands.copied(x).stride() == x.clone().stride()
    assert bands.concatenated((x, x), 0).stride() == torch.cat((x, x), 0).stride()
    assert bands.padded(x, SIDES[0]).stride() == F.pad(x, SIDES[0]).stride()
    assert bands.by_rows(torch.neg, x[:, :, :, 1:]).stride() == torch.neg(x[:, :, :, 1:]).stride()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("sides", SIDES)
def test_padding_joining_copying_and_adding(sides, last):
    x, y = numbers(2, 3, 8, 10, last=last), numbers(2, 3, 8, 10)
    assert torch.equal(bands.padded(x, sides), F.pad(x, sides))
    for axis in (0, 1, 2, 3):
        assert torch.equal(bands.concatenated((x, y), axis), torch.cat((x, y), axis))
    assert torch.equal(bands.copied(x), x)
    assert torch.equal(bands.fill(torch.empty(2, 3, 8, 10), x), x)
    assert not bands.fill(torch.ones(2, 3, 8, 10), 0).any()
    expected = y + x
    assert torch.equal(bands.added(y, x), expected)
    assert torch.equal(y, expected)


@pytest.mark.parametrize("row", [0, 5, 7])
def test_one_number_that_is_none_is_found(row):
    x = numbers(1, 3, 8, 10)
    assert bands.all_finite(x)
    x[0, 1, row, 2] = torch.nan
    assert not bands.all_finite(x)


def test_between_bands_it_can_be_stopped():
    def cancel():
        raise KeyboardInterrupt

    x, seen = numbers(1, 3, 8, 10), []
    with pytest.raises(KeyboardInterrupt), bands.stoppable(cancel):
        bands.by_rows(lambda part: seen.append(part) or part, x)
    assert not seen
    bands.by_rows(lambda part: seen.append(part) or part * 1, x)  # nobody stops it any more
    assert len(seen) == 4


def test_so_it_can_in_a_thread_that_takes_over_the_context():
    looks = []
    with bands.stoppable(lambda: looks.append(1)):
        run = contextvars.copy_context().run
    thread = Thread(target=run, args=(bands.copied, numbers(1, 3, 8, 10)))
    thread.start()
    thread.join()
    assert len(looks) == 4


def test_what_is_small_is_done_at_once():
    x = numbers(1, 1, 4, 4)
    with Looks() as looks, bands.stoppable(looks.look):
        parts = list(bands.bands(x, x))
        bands.padded(x, SIDES[0])
        bands.concatenated((x, x), 1)
    assert [(a is x, b is x) for a, b in parts] == [(True, True)]
    assert looks.count == 0


def test_a_graph_is_recorded_of_the_whole():
    x = numbers(1, 3, 8, 10).requires_grad_()
    assert len(list(bands.bands(x))) == 1
    bands.padded(bands.concatenated((bands.copied(x), x), 1), SIDES[0]).sum().backward()
    assert x.grad.eq(2).all()
