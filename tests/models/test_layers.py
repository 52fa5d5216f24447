"""Each layer against the equation in its docstring, while learning and not."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.models.layers import (
    NormSiLU,
    Residual,
    rearrange_video,
    transformer_layers,
    video_layers,
)
from longtake.models.wan.causal import Past, convolved
from tests.models.tiny import randomised

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture(params=[False, True], ids=["inference", "training"])
def mode(request):
    with torch.set_grad_enabled(request.param):
        yield


def numbers(rng, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=rng)


def test_a_linear_with_gelu(mode, rng):
    layer = randomised(transformer_layers(nn).LinearGELU(7, 11), rng)
    x = numbers(rng, 2, 3, 7)
    y = x @ layer.weight.T + layer.bias
    expected = y / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (y + 0.044715 * y**3)))
    torch.testing.assert_close(layer(x), expected, **CLOSE)


def test_a_modulated_norm(mode, rng):
    layer = transformer_layers(nn).ModulatedNorm(7, eps=1e-3, elementwise_affine=False)
    x, shift, scale = numbers(rng, 2, 3, 7), numbers(rng, 2, 1, 7), numbers(rng, 1, 3, 7)
    normed = (x - x.mean(-1, True)) / (x.var(-1, correction=0, keepdim=True) + 1e-3).sqrt()
    given = x.clone()
    torch.testing.assert_close(layer(x, shift, scale), normed * (1 + scale) + shift, **CLOSE)
    assert torch.equal(x, given)


@pytest.mark.parametrize("gated", [False, True])
def test_a_residual_sum_spares_the_stream_it_adds_to(gated, mode, rng):
    x, y, gate = numbers(rng, 2, 3, 7), numbers(rng, 2, 3, 7), numbers(rng, 2, 1, 7)
    expected, given = x + gate * y if gated else x + y, x.clone()
    torch.testing.assert_close(Residual()(x, y, gate if gated else None), expected, **CLOSE)
    assert torch.equal(x, given)


def test_norm_and_silu(mode, rng):
    layer = randomised(NormSiLU(7, 3), rng)
    x = numbers(rng, 2, 7, 3, 2, 5)
    y = x / x.square().mean(1, keepdim=True).sqrt() * layer.gamma
    torch.testing.assert_close(layer(x), y * torch.sigmoid(y), **CLOSE)


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("after", [None, NormSiLU(5, 3)], ids=["plain", "after a norm"])
def test_a_causal_convolution(frames, after, mode, rng):
    """In two pieces it is the convolution of the whole with two frames of zeros before it."""
    conv = randomised(video_layers(nn).Conv3d(5, 7, 3, padding=(0, 1, 1)), rng)
    x = numbers(rng, 2, 5, frames + 2, 4, 3)
    whole = x if after is None else after(x)
    expected = F.conv3d(F.pad(whole, (1, 1, 1, 1, 2, 0)), conv.weight, conv.bias)
    past = Past(None)
    first = convolved(conv, x[:, :, :frames], past, after)
    rest = convolved(conv, x[:, :, frames:], Past(past.state()), after)
    torch.testing.assert_close(torch.cat((first, rest), 2), expected, rtol=1e-4, atol=1e-5)


def test_a_rearranged_video_is_einops_own(mode, rng):
    x = numbers(rng, 2, 12, 3, 4, 5)
    out = rearrange_video(x, "b (p c) t h w -> b c (t p) h w", p=2)
    expected = torch.stack((x[:, :6], x[:, 6:]), dim=3).flatten(2, 3)
    assert torch.equal(out, expected)
    assert torch.equal(rearrange_video(x, "b (c p) t h w -> b c t (h p) w", p=3)[:, :, :, 1::3],
                       x[:, 1::3])  # fmt: skip
    assert out.movedim(1, -1).is_contiguous() is not torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (transformer_layers, ("LinearGELU", "ModulatedNorm")),
        (video_layers, ("LinearGELU", "Conv3d")),
    ],
)
def test_layers_that_are_there_are_taken(layers, names):
    own = SimpleNamespace(**dict.fromkeys(names, nn.Module))
    assert layers(own) is own
