"""Winograd's filtering against convolutions in float64, and that it keeps to where it pays."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.models.cpu import onednn, winograd
from longtake.models.layers import video_layers
from longtake.models.wan.causal import Past, convolved
from longtake.models.wan.vae import WanVAE
from tests.models.tiny import VAE_21, VAE_22, randomised, relative_error

EXACT_TO = 4e-6  # direct convolutions: 2e-7 to 1e-6; with the points of the paper: up to 7e-6


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(19)


@pytest.fixture
def eager(monkeypatch):
    """Small convolutions go this way too, in blocks of a few windows and a few channels."""
    monkeypatch.setattr(winograd, "PIXELS", 1)
    monkeypatch.setattr(winograd, "CHANNELS", 1)
    monkeypatch.setattr(winograd, "WINDOWS", 5)
    monkeypatch.setattr(winograd, "WEIGHTS", 1)


def numbers(rng, *sizes: int) -> torch.Tensor:
    """Random, channels last in memory."""
    shape = (sizes[0], *sizes[2:], sizes[1])
    return torch.randn(shape, generator=rng).movedim(-1, 1)


@pytest.mark.parametrize("videos", [1, 2])
@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (3, 2), (4, 4), (5, 23), (8, 16), (37, 3), (19, 29)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_it_is_the_convolution(size, taps, videos, rng, eager):
    x = numbers(rng, videos, 11, taps + 1, *size)
    weight, bias = torch.randn(37, 11, taps, 3, 3, generator=rng), torch.randn(37, generator=rng)
    with torch.no_grad():
        out = winograd.filtered(x, weight, bias)
    truth = F.conv3d(x.double(), weight.double(), bias.double(), padding=(0, 1, 1))
    assert out.movedim(1, -1).is_contiguous()
    assert relative_error(out.double(), truth) < EXACT_TO


def test_rounding_stays_small_with_many_channels(rng):
    x = numbers(rng, 1, 384, 3, 9, 10)
    weight = torch.randn(48, 384, 3, 3, 3, generator=rng)
    with torch.no_grad():
        out = winograd.filtered(x, weight, None)
    truth = F.conv3d(x.double(), weight.double(), padding=(0, 1, 1))
    assert relative_error(out.double(), truth) < EXACT_TO


def test_a_bias_alone_is_the_same_everywhere(rng):
    bias = torch.randn(5, generator=rng)
    with torch.no_grad():
        out = winograd.filtered(numbers(rng, 1, 3, 1, 6, 9), torch.zeros(5, 3, 1, 3, 3), bias)
    torch.testing.assert_close(out, bias.view(5, 1, 1, 1).expand_as(out), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(7, 11, 3, padding=1), nn.Conv3d(7, 11, 3, padding=(0, 1, 1))],
    ids=["pictures", "frames"],
)
def test_layers_take_it_where_it_pays(conv, rng, eager, monkeypatch):
    taken = []
    monkeypatch.setattr(
        winograd, "filtered", lambda *a, f=winograd.filtered: taken.append(1) or f(*a)
    )
    x = numbers(rng, 1, 7, 5, 6, 9) if isinstance(conv, nn.Conv3d) else numbers(rng, 5, 7, 6, 9)
    with torch.inference_mode():
        assert relative_error(winograd.fastest_convolution(conv, x), conv(x)) < EXACT_TO
    assert taken


def layer(**changes) -> nn.Conv3d:
    return nn.Conv3d(**{"in_channels": 64, "out_channels": 64, "kernel_size": 3,
                        "padding": (0, 1, 1)} | changes)  # fmt: skip


@pytest.mark.parametrize(
    ("conv", "shape"),
    {
        "few pixels": (layer(), (1, 64, 3, 32, 32)),
        "few channels": (layer(out_channels=16), (1, 64, 4, 32, 32)),
        "another kernel": (layer(kernel_size=(3, 1, 1), padding=0), (1, 64, 4, 32, 32)),
        "a stride": (layer(stride=(1, 2, 2)), (1, 64, 4, 32, 32)),
        "no padding": (layer(padding=0), (1, 64, 4, 48, 48)),
        "padding over time": (layer(padding=1), (1, 64, 4, 32, 32)),
        "groups": (layer(groups=64), (1, 64, 4, 32, 32)),
    }.values(),
)
def test_where_it_does_not_pay(conv, shape, rng):
    assert not winograd.pays(conv, numbers(rng, *shape))


def test_what_pays(rng):
    conv, x = layer(), numbers(rng, 1, 64, 4, 32, 32)
    assert winograd.pays(conv, x)
    assert not winograd.pays(conv.bfloat16(), x.bfloat16()), "bfloat16 rounds too coarsely"
    assert not winograd.pays(conv, x.contiguous()), "channels first would have to be copied"


def test_weights_changed_in_place_count_at_once(rng, eager):
    conv, x = nn.Conv3d(7, 11, 3, padding=(0, 1, 1)), numbers(rng, 1, 7, 4, 6, 9)
    with torch.inference_mode():
        before = winograd.fastest_convolution(conv, x) - conv.bias.view(-1, 1, 1, 1)
        conv.weight.mul_(2)
        after = winograd.fastest_convolution(conv, x) - conv.bias.view(-1, 1, 1, 1)
    assert relative_error(after, 2 * before) < EXACT_TO


@pytest.mark.parametrize("broken", [RuntimeError("no such operator"), None])
def test_a_torch_in_which_it_fails_or_errs_goes_the_plain_way(broken, rng, monkeypatch):
    def other(x, weight, bias):
        if broken:
            raise broken
        return torch.zeros(1, 3, 2, 7, 9)

    onednn.works.cache_clear()
    monkeypatch.setattr(winograd, "filtered", other)
    conv, x = layer(), numbers(rng, 1, 64, 4, 32, 32)
    try:
        with torch.inference_mode():
            assert relative_error(winograd.fastest_convolution(conv, x), conv(x)) < 1e-6
    finally:
        onednn.works.cache_clear()


@pytest.mark.parametrize("videos", [1, 2])
def test_a_first_frame_is_convolved_without_the_zeros_before_it(videos, rng, monkeypatch):
    conv = video_layers(nn).Conv3d(5, 7, 3, padding=(0, 1, 1))
    x = numbers(rng, videos, 5, 1, 6, 4)
    seen = []
    convolution = winograd.fastest_convolution
    monkeypatch.setattr(
        winograd,
        "fastest_convolution",
        lambda _, x, *more: seen.append(x) or convolution(_, x, *more),
    )
    with torch.inference_mode():
        past = Past(None)
        out = convolved(conv, x, past)
        assert relative_error(out, nn.Conv3d.forward(conv, F.pad(x, (0, 0, 0, 0, 2, 0)))) < 1e-6
        kept = past.state()
        convolved(conv, x, Past(list(kept)))
    assert [frames.shape[2] for frames in seen] == [1, 3]
    assert not kept[0][:, :, 0].any()
    assert torch.equal(kept[0][:, :, 1:], x)


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_a_video_comes_out_the_same_and_in_pieces_to_the_last_bit(config, rng, eager, monkeypatch):
    network = randomised(WanVAE(config), rng)
    latents = torch.randn(1, config.latent_channels, 3, 2, 3, generator=rng)
    with torch.inference_mode():
        whole = network.decode(latents)
        first, state = network.decode_piece(latents[:, :, :1], None)
        rest = network.decode_piece(latents[:, :, 1:], state)[0]
        again = network.encode(whole)
        monkeypatch.setattr(winograd, "pays", lambda conv, x: False)
        assert relative_error(whole, network.decode(latents)) < 1e-5
        assert relative_error(again, network.encode(whole)) < 1e-5
    assert torch.equal(torch.cat((first, rest), dim=2), whole)
