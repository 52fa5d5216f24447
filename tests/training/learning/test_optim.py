"""Muon against its definition, Adam against torch's, and the sum that processes share."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from longtake.models.errors import NotFiniteError
from training.learning import optim
from training.learning.optim import FlatOptimizer, load_average, ordered, orthogonal

A, B, C = 3.4445, -4.7750, 2.0315


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def by_definition(matrix, steps):
    """The Newton-Schulz polynomial of each singular value, in float64."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.square().sum(-1, keepdim=True).sqrt()
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    return u @ torch.diag_embed(s) @ v


@pytest.mark.parametrize("shape", [(3, 11, 29), (3, 29, 11), (1, 96, 864)])
@pytest.mark.parametrize("steps", [1, 4])
def test_orthogonal_is_the_polynomial_of_the_singular_values(shape, steps):
    matrix = torch.randn(shape, generator=rng())
    expected = by_definition(matrix, steps)
    off = (orthogonal(matrix, steps).double() - expected).norm() / expected.norm()
    assert off < 0.02  # bfloat16 has 8 bits


def test_orthogonal_brings_singular_values_near_one():
    spread = torch.linspace(0.05, 1, 17)[:, None]
    matrix = torch.randn(1, 17, 53, generator=rng()) * spread
    values = torch.linalg.svdvals(orthogonal(matrix, steps=6)[0].float())
    assert 0.6 < values.min() < values.max() < 1.3


def test_orthogonal_does_not_look_at_the_scale():
    matrix = torch.randn(2, 7, 19, generator=rng())
    torch.testing.assert_close(orthogonal(1024 * matrix), orthogonal(matrix))
    assert orthogonal(torch.zeros(1, 7, 19)).eq(0).all()


class Net(nn.Module):
    """Two matrices for Muon (one tall, one wide), one for Adam by name, and vectors."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(23, 11)
        self.tall = nn.Conv2d(11, 47, 1, bias=False)
        self.end = nn.Linear(47, 13)

    def forward(self, x):
        return self.end(self.tall(self.wide(x)[..., None, None]).flatten(1))


def net(dtype=torch.float32):
    torch.manual_seed(3)
    return Net().to(dtype)


def backward(model, rows=97, seed=1):
    x = torch.randn(rows, 23, generator=rng(seed)).to(next(model.parameters()).dtype)
    model(x).square().mean().backward()


def test_matrices_go_to_muon_and_the_rest_to_adam():
    named, matrices = ordered(net(), ("end",))
    assert {name for name, _ in named[:matrices]} == {"wide.weight", "tall.weight"}
    assert {name for name, _ in named[matrices:]} == {"wide.bias", "end.weight", "end.bias"}


def test_adam_is_torchs():
    ours, theirs = net(), net()
    optimizer = FlatOptimizer(ours, 0.0, 3e-3, ("end",))
    reference = torch.optim.AdamW(
        theirs.parameters(), lr=3e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0
    )
    for seed in range(7):
        theirs.wide.weight.data.copy_(ours.wide.weight)
        theirs.tall.weight.data.copy_(ours.tall.weight)
        for model in (ours, theirs):
            backward(model, seed=seed)
        optimizer.gather()
        optimizer.step(1.0, clip=float("inf"))
        reference.step()
        reference.zero_grad()
    for name in ("wide.bias", "end.weight", "end.bias"):
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name))


def test_muon_is_orthogonalised_nesterov_momentum():
    model = net()
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    optimizer = FlatOptimizer(model, 0.02, 0.0, ("end",))
    momentum = {"wide.weight": 0.0, "tall.weight": 0.0}
    for seed in range(3):
        grads = {k: torch.randn(before[k].shape, generator=rng(seed)) for k in momentum}
        for name, grad in grads.items():  # a network's own would be too near to singular
            model.get_parameter(name).grad.copy_(grad)
        optimizer.gather()
        optimizer.step(0.5, clip=float("inf"))
        for name, grad in grads.items():
            momentum[name] = 0.95 * momentum[name] + 0.05 * grad
            ahead = 0.05 * grad + 0.95 * momentum[name]
            matrix = ahead.flatten(1)
            rows, columns = matrix.shape
            move = by_definition(matrix[None], 4)[0] * max(1, rows / columns) ** 0.5
            before[name] = before[name] - 0.02 * 0.5 * move.view_as(grad).float()
    for name in momentum:
        moved = model.get_parameter(name)
        torch.testing.assert_close(moved, before[name], atol=3e-4, rtol=0)
    torch.testing.assert_close(model.end.weight, before["end.weight"])


def test_parts_of_a_batch_are_averaged():
    whole, halves = net(), net()
    one, two = (FlatOptimizer(model, 0.02, 2e-3) for model in (whole, halves))
    x = torch.randn(6, 23, generator=rng())
    whole(x).square().mean().backward()
    one.gather()
    for part in x.chunk(2):
        halves(part).square().mean().backward()
        two.gather()
    assert one.step(1.0) == pytest.approx(two.step(1.0), rel=1e-5)
    torch.testing.assert_close(one.momentum, two.momentum)
    assert two.grads.eq(0).all()
    assert two.total.eq(0).all()


class Pair:
    """Two processes played by two threads."""

    def __init__(self):
        self.local, self.given = threading.local(), {}
        self.meet = threading.Barrier(2, timeout=30)

    def place(self):
        return self.local.rank, 2

    def all_reduce(self, tensor):
        self.given[self.local.rank] = tensor.clone()
        self.meet.wait()
        tensor.copy_(self.given[0] + self.given[1])
        self.meet.wait()

    def run(self, work):
        def enter(rank):
            self.local.rank = rank
            torch.set_num_threads(1)  # which each thread has for itself
            return work(rank)

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(enter, range(2)))


def test_two_processes_make_the_steps_of_one(monkeypatch):
    def steps(model, parts):
        optimizer = FlatOptimizer(model, 0.02, 2e-3, ("end",))
        for seed in range(3):
            for part in parts:
                backward(model, seed=10 * seed + part)
                optimizer.gather()
            optimizer.step(0.5)
        return optimizer.state()

    alone = steps(net(), (0, 1))
    pair, models = Pair(), [net(), net()]
    monkeypatch.setattr(optim, "place", pair.place)
    monkeypatch.setattr(optim.dist, "all_reduce", pair.all_reduce)
    for state in pair.run(lambda rank: steps(models[rank], (rank,))):
        for name, value in alone.items():
            assert torch.equal(state[name], value), name


def test_a_long_gradient_is_cut_to_its_limit():
    model = net()
    optimizer = FlatOptimizer(model, 0.02, 2e-3)
    optimizer.grads.fill_(7.0)
    optimizer.gather()
    norm = optimizer.step(1.0, clip=1.0)
    assert norm == pytest.approx(7 * len(optimizer.grads) ** 0.5)
    adam = optimizer.momentum[optimizer.boundary :]
    torch.testing.assert_close(adam, torch.full_like(adam, 0.1 * 7 / norm))


def test_the_average_follows_the_weights_and_loads_into_a_model_of_its_like():
    model = net(torch.bfloat16)
    optimizer = FlatOptimizer(model, 0.02, 2e-3, ("end",), ema=0.9)
    for seed in range(3):
        before = optimizer.ema.clone()
        backward(model, seed=seed)
        optimizer.gather()
        optimizer.step(1.0)
        decay = min(0.9, (2 + seed) / (21 + seed))  # young averages forget faster
        expected = decay * before + (1 - decay) * optimizer.master
        torch.testing.assert_close(optimizer.ema, expected)
    other = Net()
    load_average(other, ("end",), optimizer.ema)
    loaded = torch.cat([p.flatten() for _, p in ordered(other, ("end",))[0]])
    assert torch.equal(loaded, optimizer.ema)


def test_parameters_are_views_in_their_own_type_of_float32_masters():
    model = net(torch.bfloat16)
    optimizer = FlatOptimizer(model, 0.02, 2e-3)
    backward(model)
    optimizer.gather()
    optimizer.step(1e-4)  # far below what bfloat16 would notice
    assert optimizer.master.dtype == torch.float32
    flat = torch.cat([p.flatten() for p in optimizer.parameters])
    assert torch.equal(flat, optimizer.master.bfloat16())
    assert not torch.equal(optimizer.master, flat.float())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(bad):
    model = net()
    optimizer = FlatOptimizer(model, 0.02, 2e-3)
    before = optimizer.state()["master"].clone()
    optimizer.grads[3] = bad
    optimizer.gather()
    with pytest.raises(NotFiniteError, match="the gradient of step 0"):
        optimizer.step(1.0)
    assert torch.equal(optimizer.master, before)
    assert optimizer.step_count == 0


def test_state_goes_on_to_the_last_bit():
    models = [net(torch.bfloat16) for _ in range(3)]
    straight, broken, resumed = (FlatOptimizer(model, 0.02, 2e-3) for model in models)
    for seed in range(6):
        backward(models[0], seed=seed)
        straight.gather()
        straight.step(0.7)
    for seed in range(3):
        backward(models[1], seed=seed)
        broken.gather()
        broken.step(0.7)
    resumed.load(broken.state())
    for seed in range(3, 6):
        backward(models[2], seed=seed)
        resumed.gather()
        resumed.step(0.7)
    for name, value in straight.state().items():
        assert torch.equal(value, resumed.state()[name]), name
