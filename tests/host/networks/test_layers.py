"""Layers of the host that know oneDNN: never with other weights than the host's own."""

import pytest
import torch
import torch.nn.functional as F

from tests.models.tiny import relative_error

ROWS = 257  # enough for oneDNN


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


def layer(kind, rng, dtype=torch.float32):
    import comfy.ops

    from longtake.host.networks.layers import layers_from

    layers = layers_from(getattr(comfy.ops, kind))
    linear, with_gelu = (cls(19, 23, dtype=dtype) for cls in (layers.Linear, layers.LinearGELU))
    linear.weight.data.copy_(torch.randn(23, 19, generator=rng))
    linear.bias.data.copy_(torch.randn(23, generator=rng))
    linear.with_gelu = with_gelu.requires_grad_(False)
    return linear.requires_grad_(False)


def check(linear, x, weight=None) -> None:
    weight = linear.weight if weight is None else weight
    expected = F.linear(x, weight.to(x), linear.bias.to(x))
    assert relative_error(linear(x), expected) < 1e-6
    gelu = F.gelu(expected, approximate="tanh")
    for name in ("weight", "bias", "weight_function"):
        setattr(linear.with_gelu, name, getattr(linear, name))
    assert relative_error(linear.with_gelu(x), gelu) < 1e-6


@pytest.mark.parametrize("kind", ["disable_weight_init", "manual_cast"])
@pytest.mark.parametrize("rows", [3, ROWS])
def test_it_is_the_hosts_layer(kind, rows, rng, pack):
    check(layer(kind, rng), torch.randn(1, rows, 19, generator=rng))


def test_a_patched_weight_counts_however_it_was_put_there(rng, pack):
    linear, x = layer("disable_weight_init", rng), torch.randn(1, ROWS, 19, generator=rng)
    linear(x)
    linear.weight.add_(1)
    check(linear, x)
    linear.weight = torch.nn.Parameter(torch.randn(23, 19, generator=rng), requires_grad=False)
    check(linear, x)
    linear.weight_function = [lambda weight: 3 * weight]
    check(linear, x, 3 * linear.weight)
    linear.weight_function = []
    check(linear, x)


def test_weights_stored_in_another_dtype_are_cast(rng, pack):
    check(layer("manual_cast", rng, torch.bfloat16), torch.randn(1, ROWS, 19, generator=rng))


def test_layers_of_another_kind_are_left_alone(pack):
    import comfy.ops

    mixed = comfy.ops.mixed_precision_ops()
    assert pack.layers.layers_from(mixed) is mixed


def test_our_model_has_them(model):
    for layer in (ffn := model.model.diffusion_model.blocks[0].ffn)[0], ffn[2]:
        assert type(layer).forward.__module__ == "longtake.host.networks.layers"


def test_convolutions_are_the_hosts(rng, pack):
    import comfy.ops

    conv = pack.layers.layers_from(comfy.ops.disable_weight_init).Conv3d(5, 7, 3, padding=(0, 1, 1))
    conv.weight.data.copy_(torch.randn(7, 5, 3, 3, 3, generator=rng))
    conv.bias.data.copy_(torch.randn(7, generator=rng))
    x = torch.randn(1, 5, 4, 6, 3, generator=rng)
    expected = F.conv3d(x, conv.weight, conv.bias, padding=(0, 1, 1))
    assert relative_error(conv(x), expected) < 1e-6
    conv.weight_function = [lambda weight: 2 * weight]
    expected = F.conv3d(x, 2 * conv.weight, conv.bias, padding=(0, 1, 1))
    assert relative_error(conv(x), expected) < 1e-6


@pytest.mark.parametrize("kind", ["disable_weight_init", "manual_cast"])
def test_a_first_frame_alone_is_one_after_nothing(kind, rng, pack):
    import comfy.ops

    from longtake.models.wan.causal import Past, convolved

    layers = pack.layers.layers_from(getattr(comfy.ops, kind))
    conv = layers.Conv3d(5, 7, 3, padding=(0, 1, 1))
    conv.weight.data.copy_(torch.randn(7, 5, 3, 3, 3, generator=rng))
    conv.bias.data.copy_(torch.randn(7, generator=rng))
    conv.requires_grad_(False)
    x = torch.randn(1, 5, 1, 6, 3, generator=rng)
    before = F.pad(x, (0, 0, 0, 0, 2, 0))
    with torch.inference_mode():
        expected = F.conv3d(before, conv.weight, conv.bias, padding=(0, 1, 1))
        assert relative_error(convolved(conv, x, Past(None)), expected) < 1e-6
        conv.weight_function = [lambda weight: 2 * weight]
        expected = F.conv3d(before, 2 * conv.weight, conv.bias, padding=(0, 1, 1))
        assert relative_error(convolved(conv, x, Past(None)), expected) < 1e-6


def test_cancel_stops_between_layers(rng, pack):
    import comfy.model_management as mm
    import comfy.ops

    linear, x = layer("disable_weight_init", rng), torch.randn(1, ROWS, 19, generator=rng)
    mm.interrupt_current_processing()
    with pytest.raises(mm.InterruptProcessingException):
        linear(x)
    conv = pack.layers.layers_from(comfy.ops.disable_weight_init).Conv3d(5, 7, 1)
    conv.requires_grad_(False)
    mm.interrupt_current_processing()
    with pytest.raises(mm.InterruptProcessingException):
        conv(torch.randn(1, 5, 2, 3, 3, generator=rng))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 3e-3)])
def test_norms_are_the_hosts_whatever_patches_them(dtype, bound, rng, pack, monkeypatch):
    import comfy.ops

    monkeypatch.setattr(pack.layers, "WORTH", 1)
    norm = pack.layers.layers_from(comfy.ops.disable_weight_init).RMSNorm(19, eps=1e-6, dtype=dtype)
    norm.weight.data.copy_(torch.randn(19, generator=rng))
    norm.requires_grad_(False)
    x = torch.randn(1, 5, 19, generator=rng).to(dtype)
    for change in (lambda: None, lambda: norm.weight.add_(1)):
        change()
        expected = F.rms_norm(x.float(), (19,), norm.weight.float(), 1e-6)
        assert relative_error(norm(x).float(), expected) < bound
    norm.weight_function = [lambda weight: 0 * weight]
    assert not norm(x).any()


def test_every_product_of_a_block_reaches_cores_fp8(pack, monkeypatch):
    """Core has them for two or three axes; of tokens by frame it would multiply the weights out."""
    import comfy.ops

    from longtake.host.networks.layers import layers_from
    from longtake.models.wan.dit import WanDiT
    from tests.host.conftest import DIT

    asked = []

    def fp8_linear(layer, x):
        if layer.weight.dtype is torch.float8_e4m3fn:
            asked.append(x.ndim in (2, 3))

    monkeypatch.setattr(comfy.ops, "fp8_linear", fp8_linear)
    network = WanDiT(DIT, operations=layers_from(comfy.ops.fp8_ops), dtype=torch.bfloat16)
    network.eval().requires_grad_(False)
    for name, part in network.named_modules():
        if isinstance(part, torch.nn.Linear) and "blocks" in name:
            part.weight = torch.nn.Parameter(part.weight.to(torch.float8_e4m3fn), False)
    kw = {"dtype": torch.bfloat16}
    text = network.read_text(torch.zeros(1, 5, DIT.text_width, **kw))
    network(torch.zeros(1, DIT.in_channels, 3, 5, 7, **kw), torch.zeros(1, 3), text)
    assert len(asked) == 10 * DIT.depth
    assert all(asked)
