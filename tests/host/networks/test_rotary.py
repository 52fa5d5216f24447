"""Positions by the host's kernel are those of ours."""

import pytest
import torch

from longtake.models.wan.dit import WanDiT
from longtake.models.wan.rope import cached_table, rope_table, rotate
from tests.host.conftest import DIT
from tests.models.tiny import randomised

GRID, HEAD = (3, 5, 7), 22


@pytest.fixture
def rotary(comfyui):
    from longtake.host.networks import layers

    asked = layers.has_kernel
    yield layers
    layers.forget_matrices()
    asked.cache_clear()


def numbers(dtype):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 105, 2, HEAD, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_matrices_turn_as_the_table_does(rotary, dtype):
    """By the definition that core gives its own."""
    table, x = rope_table(GRID, HEAD, torch.device("cpu"), 2), numbers(dtype)
    matrices = rotary.matrices_of(table)
    pairs = x.float().unflatten(-1, (-1, 1, 2))
    turned = (matrices * pairs).sum(-1).flatten(-2).to(dtype)
    torch.testing.assert_close(turned, rotate(x, table), rtol=1e-2, atol=1e-6)
    assert rotary.matrices_of(table) is matrices
    assert rotary.matrices_of(table.clone()) is not matrices


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_newer_hosts_kernel_turns_the_same(rotary, dtype):
    import comfy.quant_ops

    if not hasattr(comfy.quant_ops, "ck"):
        pytest.skip("this host has no such kernel")
    table, x = rope_table(GRID, HEAD, torch.device("cpu")), numbers(dtype)
    turned = comfy.quant_ops.ck.apply_rope1(x, rotary.matrices_of(table))
    torch.testing.assert_close(turned, rotate(x, table), rtol=1e-2, atol=1e-6)


BACKEND = {"available": True, "disabled": False, "capabilities": ["apply_rope1"]}


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        ({"eager": BACKEND}, False),
        ({"eager": BACKEND, "cuda": BACKEND}, True),
        ({"eager": BACKEND, "cuda": {**BACKEND, "disabled": True}}, False),
        ({"cuda": {**BACKEND, "capabilities": ["apply_rope"]}}, False),
        ({"cuda": {**BACKEND, "available": False}}, False),
    ],
)
def test_torchs_own_operations_are_no_kernel(rotary, monkeypatch, backends, expected):
    import comfy.quant_ops

    class Kitchen:
        @staticmethod
        def list_backends():
            return backends

    monkeypatch.setattr(comfy.quant_ops, "ck", Kitchen, raising=False)
    assert rotary.has_kernel() is expected


def test_each_layer_of_a_step_asks_the_kernel_with_the_same_matrices(pack, rotary, monkeypatch):
    """On tensors of the meta device, which have no numbers, as if that were a card."""
    import comfy.ops
    import comfy.quant_ops

    asked = []

    class Kitchen:
        @staticmethod
        def apply_rope1(x, matrices):
            asked.append((tuple(x.shape), matrices))
            return torch.empty_like(x)

    monkeypatch.setattr(comfy.quant_ops, "ck", Kitchen, raising=False)
    monkeypatch.setattr(rotary, "has_kernel", lambda: True)
    operations = pack.layers.layers_from(comfy.ops.disable_weight_init)
    network = WanDiT(DIT, operations=operations, device="meta")
    kw = {"device": "meta"}
    text = network.read_text(torch.empty(1, 5, DIT.text_width, **kw))
    network(torch.empty(1, 6, 3, 4, 6, **kw), torch.empty(1, 3, **kw), text)
    tokens, d = 3 * 2 * 3, DIT.width // DIT.heads
    assert [shape for shape, _ in asked] == [(1, tokens, DIT.heads, d)] * 2 * DIT.depth
    assert len({id(matrices) for _, matrices in asked}) == 1
    assert asked[0][1].shape == (1, tokens, 1, d // 2, 2, 2)
    cached_table.cache_clear()


def test_on_a_cpu_it_is_ours(pack, rotary, monkeypatch):
    import comfy.ops

    monkeypatch.setattr(rotary, "has_kernel", lambda: True)
    plain = randomised(WanDiT(DIT), torch.Generator().manual_seed(1))
    hosted = WanDiT(DIT, operations=pack.layers.layers_from(comfy.ops.disable_weight_init))
    hosted.load_state_dict(plain.state_dict())
    x, level = torch.randn(1, 6, 3, 4, 6), torch.full((1, 3), 500.0)
    context = torch.randn(1, 5, DIT.text_width)
    ours, theirs = (n(x, level, n.read_text(context)) for n in (plain, hosted))
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
