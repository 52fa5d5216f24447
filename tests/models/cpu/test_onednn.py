"""oneDNN's private ways in torch: as torch's public ones, and only where they are sound."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.models.attention import chunked, sdpa
from longtake.models.cpu import channels_last, onednn
from longtake.models.layers import ChannelNorm, NormSiLU, fast_convolution
from longtake.models.wan.causal import Past, convolved
from tests.models.tiny import relative_error

ROWS = 257  # just enough for oneDNN to be worth it


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def untried():
    """Self-tests as in a process that has run none."""
    onednn.works.cache_clear()
    yield
    onednn.works.cache_clear()


def numbers(rng, dtype=torch.float32) -> tuple:
    x = torch.randn(1, ROWS, 19, generator=rng)
    weight, bias = torch.randn(23, 19, generator=rng), torch.randn(23, generator=rng)
    return tuple(t.to(dtype) for t in (x, weight, bias))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("gelu", [False, True])
def test_a_product_is_torchs(dtype, bound, gelu, rng):
    x, weight, bias = numbers(rng, dtype)
    truth = F.linear(x.double(), weight.double(), bias.double())
    truth = F.gelu(truth, approximate="tanh") if gelu else truth
    with torch.no_grad():
        if not onednn.linear_serves(x, weight):
            assert dtype is torch.bfloat16, "every processor has float32"
            pytest.skip("this processor has no bfloat16")
        assert relative_error(onednn.linear(x, weight, bias, gelu).double(), truth) < bound


def test_a_dtype_that_the_processor_lacks_is_left_to_torch(rng, untried, monkeypatch):
    """As on processors without AVX-512, where oneDNN refuses bfloat16."""
    ways = {name: getattr(onednn, name) for name in ("linear", "convolution")}

    def refusing(name):
        def way(*args, **kw):
            if any(getattr(t, "dtype", None) is torch.bfloat16 for t in args):
                raise RuntimeError("bf16 path needs the cpu support avx512bw")
            return ways[name](*args, **kw)

        return way

    for name in ways:
        monkeypatch.setattr(onednn, name, refusing(name))
    conv = fast_convolution(nn.Conv3d)(5, 7, 3, padding=(0, 1, 1))
    frames = torch.randn(1, 5, 4, 6, 3, generator=rng)
    x, weight, _ = numbers(rng)
    with torch.no_grad():
        assert onednn.linear_serves(x, weight)
        assert onednn.convolution_serves(conv, frames)
        assert not onednn.linear_serves(x.bfloat16(), weight.bfloat16())
        assert (
            relative_error(conv.bfloat16()(frames.bfloat16()).float(), conv.float()(frames)) < 2e-2
        )


def test_a_weight_changed_in_place_counts_at_once(rng):
    x, weight, bias = numbers(rng)
    with torch.no_grad():
        before = onednn.linear(x, weight, bias)
        weight.mul_(2)
        after = onednn.linear(x, weight, bias)
        assert relative_error(after, 2 * before - bias) < 1e-6


def test_where_it_does_not_serve(rng):
    x, weight, _ = numbers(rng)
    assert not onednn.linear_serves(x, weight), "while learning"
    with torch.no_grad():
        assert not onednn.linear_serves(x[:, 1:255], weight), "few rows"
        assert not onednn.linear_serves(x.bfloat16(), weight), "two dtypes"
        assert not onednn.linear_serves(x.half(), weight.half()), "a dtype that is not tried"


@pytest.mark.parametrize("fault", [RuntimeError("no such operator"), None])
def test_a_way_that_is_missing_or_wrong_is_not_taken(fault, rng, untried, monkeypatch):
    def other(x, weight, bias, gelu=False):
        if fault:
            raise fault
        return F.linear(x, weight, bias) + 1

    monkeypatch.setattr(onednn, "linear", other)
    x, weight, _ = numbers(rng)
    with torch.no_grad():
        assert not onednn.linear_serves(x, weight)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_a_convolution_is_torchs(last, rng):
    conv = fast_convolution(nn.Conv3d)(5, 7, 3, padding=(0, 1, 1))
    x = torch.randn(1, 5, 4, 6, 3, generator=rng)
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    with torch.no_grad():
        assert onednn.convolution_serves(conv, x)
        assert relative_error(conv(x), nn.Conv3d.forward(conv, x)) < 1e-6


def test_a_convolution_that_the_host_patches_goes_the_hosts_way(rng):
    conv = nn.Conv3d(5, 7, 1)
    conv.weight_function = [lambda weight: 2 * weight]
    with torch.no_grad():
        assert not onednn.convolution_serves(conv, torch.randn(1, 5, 2, 3, 3, generator=rng))


@pytest.mark.parametrize("tokens", [1, 67, 601])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_attention_in_chunks_is_attention(tokens, dtype, bound, rng, monkeypatch):
    monkeypatch.setattr("longtake.models.attention.CHUNK", 64 * 53)
    monkeypatch.setattr("longtake.models.attention.SMALL", 64 * 53)
    q = torch.randn(2, 3, tokens, 10, generator=rng)
    k, v = torch.randn(2, 2, 3, 53, 10, generator=rng)
    out = chunked(*(t.to(dtype) for t in (q, k, v)))
    assert out.dtype is dtype
    assert relative_error(out.float(), sdpa(q, k, v)) < bound


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("block", [1, 2**16])
def test_norm_and_silu_in_one_go(dtype, bound, block, rng, monkeypatch):
    monkeypatch.setattr(channels_last, "BLOCK", block)
    norm = NormSiLU(7, 3)
    norm.gamma.data.normal_(generator=rng)
    x = torch.randn(2, 7, 3, 5, 2, generator=rng)
    x[0, :, 1, 2, 0] = 0
    out = torch.empty_like(x, dtype=dtype)
    with torch.no_grad():
        norm.write(x.to(dtype), out)
        expected = F.silu(ChannelNorm.forward(norm, x.to(dtype).float()))
    assert relative_error(out.float(), expected) < bound
    assert not out[0, :, 1, 2, 0].any()


def test_the_norm_before_a_large_convolution_can_be_stopped(rng, monkeypatch):
    monkeypatch.setattr(channels_last, "BLOCK", 1)
    looks = []
    conv = fast_convolution(nn.Conv3d, before=lambda: looks.append(1))(5, 5, 1)
    with torch.no_grad():
        convolved(conv, torch.randn(1, 5, 1, 6, 4, generator=rng), Past(None), NormSiLU(5, 3))
    assert len(looks) >= 6


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.Conv3d])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_large_convolution_is_done_band_by_band_and_can_be_stopped(
    kind, stride, padding, rng, monkeypatch
):
    monkeypatch.setattr(onednn, "PRODUCTS", 5 * 7 * 9 * 8)
    axes = (1,) if kind is nn.Conv3d else ()
    between = []
    conv = fast_convolution(kind, before=lambda: between.append(1))(
        5, 7, 3, padding=(*(0 for _ in axes), padding, padding), stride=(*axes, stride, stride)
    )
    x = torch.randn(1, 5, *(4 for _ in axes), 13, 11, generator=rng)
    with torch.no_grad():
        expected = kind.forward(conv, x)
        assert relative_error(conv(x), expected) < 1e-6
    assert len(between) > 3

    def stop():
        between.append(1)
        if len(between) == 2:
            raise InterruptedError

    between.clear()
    with torch.no_grad(), pytest.raises(InterruptedError):
        onednn.in_bands(conv, x, stop)
