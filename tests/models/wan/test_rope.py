import cmath
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from longtake.models.wan.rope import AS_TRAINED, cached_table, rope_table, rotate

CPU = torch.device("cpu")


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def by_definition(x: Tensor, grid, dims, first_frame=0, axes=AS_TRAINED) -> Tensor:
    """Pair i of an axis with d channels turns by position / 10000^(2i / d). x: (n, h, d)."""
    t, h, w = grid
    places = itertools.product(range(first_frame, first_frame + t), range(h), range(w))
    turned = []
    for token, place in zip(x.double(), places, strict=True):
        turns = [
            cmath.rect(1.0, (shift + scale * index) / 10_000 ** (2 * i / d))
            for index, d, (shift, scale) in zip(place, dims, axes, strict=True)
            for i in range(d // 2)
        ]
        pairs = torch.view_as_complex(token.unflatten(-1, (-1, 2)).contiguous())
        turn = torch.tensor(turns, dtype=torch.complex128)
        turned.append(torch.view_as_real(pairs * turn).flatten(-2))
    return torch.stack(turned)


@pytest.mark.parametrize("first_frame", [0, 31, 5003])
@pytest.mark.parametrize(
    ("head_dim", "dims"),
    [(128, (44, 42, 42)), (64, (24, 20, 20)), (22, (10, 6, 6)), (6, (2, 2, 2))],
)
def test_it_is_its_definition(rng, head_dim, dims, first_frame):
    grid = (5, 3, 7)  # three different primes: a swapped axis shows
    x = torch.randn(1, 5 * 3 * 7, 2, head_dim, generator=rng)
    ours = rotate(x, rope_table(grid, head_dim, CPU, first_frame))
    expected = by_definition(x[0], grid, dims, first_frame)
    torch.testing.assert_close(ours[0].double(), expected, rtol=0, atol=1e-6)


def test_axes_can_be_stretched_and_moved(rng):
    axes = ((2.5, 0.5), (-3, 1.25), (0, 2))
    x = torch.randn(1, 5 * 3 * 7, 2, 22, generator=rng)
    ours = rotate(x, rope_table((5, 3, 7), 22, CPU, axes=axes))
    expected = by_definition(x[0], (5, 3, 7), (10, 6, 6), axes=axes)
    torch.testing.assert_close(ours[0].double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_of_turning_agree(rng, monkeypatch, dtype, learning):
    """Complex numbers are multiplied, in place where they are a copy; compilers write it out."""
    x, table = torch.randn(2, 30, 3, 22, generator=rng).to(dtype), rope_table((2, 3, 5), 22, CPU)
    before = x.clone()
    with torch.set_grad_enabled(learning):
        complex_product = rotate(x, table)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        torch.testing.assert_close(rotate(x, table), complex_product, rtol=0, atol=2e-6)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_knows_every_frame_apart(dtype):
    """Positions in bfloat16 would merge frames beyond 256."""
    table = rope_table((400, 1, 1), 22, CPU)
    assert table.dtype is torch.float32
    assert len(torch.unique(table[:, :, 0].movedim(0, 1), dim=0)) == 400
    x = torch.ones(1, 400, 1, 22, dtype=dtype)
    turned = rotate(x, table)
    assert turned.dtype is dtype
    torch.testing.assert_close(turned.float(), rotate(x.float(), table), rtol=0, atol=2e-2)


@given(
    a=st.tuples(*[st.integers(0, 6)] * 3),
    b=st.tuples(*[st.integers(0, 6)] * 3),
    shift=st.integers(0, 3000),
)
def test_only_the_distance_between_tokens_counts(a, b, shift):
    q, k = torch.randn(2, 1, 343, 1, 22, generator=torch.Generator().manual_seed(5))
    q, k = q[:, :1].expand_as(q), k[:, :1].expand_as(k)  # the same vector at every place

    def score(first_frame: int, i, j) -> Tensor:
        table = rope_table((7, 7, 7), 22, CPU, first_frame)
        turned_q, turned_k = rotate(q, table), rotate(k, table)
        return turned_q[0, index(i), 0] @ turned_k[0, index(j), 0]

    def index(place) -> int:
        return place[0] * 49 + place[1] * 7 + place[2]

    torch.testing.assert_close(score(shift, a, b), score(0, a, b), rtol=0, atol=1e-4)
    low = tuple(map(min, a, b))
    moved = [tuple(p - q for p, q in zip(place, low, strict=True)) for place in (a, b)]
    torch.testing.assert_close(score(0, *moved), score(0, a, b), rtol=0, atol=1e-4)


def test_turning_keeps_lengths(rng):
    x = torch.randn(2, 30, 3, 22, generator=rng)
    turned = rotate(x, rope_table((2, 3, 5), 22, CPU))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_a_table_is_made_once_per_shape():
    assert cached_table((2, 3, 5), 22, CPU) is cached_table((2, 3, 5), 22, CPU)


def test_a_table_from_a_sampler_serves_training():
    with torch.inference_mode():
        table = rope_table((3, 5, 2), 10, CPU)
    x = torch.ones(1, 30, 1, 10, requires_grad=True)
    rotate(x, table).sum().backward()
    assert x.grad.isfinite().all()


def test_a_stretched_grid_holds_the_plain_one():
    table = rope_table((2, 3, 5), 16, CPU)
    moved = rope_table((4, 3, 5), 16, CPU, axes=((-2, 1), (0, 1), (0, 1)))
    torch.testing.assert_close(moved[:, 30:], table)  # its frames 2 and 3 stand at 0 and 1
    dense = rope_table((2, 3, 9), 16, CPU, axes=((0, 1), (0, 1), (0, 0.5)))
    every_other = dense.unflatten(1, (2, 3, 9))[:, :, :, ::2].flatten(1, 3)
    torch.testing.assert_close(every_other, table)
