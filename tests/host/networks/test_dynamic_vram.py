"""Our loaders under the dynamic VRAM of newer hosts: what they load is what it is without."""

from functools import partial
from inspect import signature

import pytest
import torch

from tests.host.conftest import TEXT, VAE, random_weights
from tests.host.dynamic_vram import switch_on
from tests.host.networks.test_lora import deltas, with_lora  # noqa: F401
from tests.host.runs import ksampler, latents


@pytest.fixture
def dynamic(pack, monkeypatch):
    """Switches dynamic VRAM on, and empties the cache before and after."""
    import comfy.model_management as mm

    def switch() -> None:
        mm.unload_all_models()
        monkeypatch.setattr(pack.load, "models", pack.cache.LoadedModels())
        switch_on(monkeypatch)

    yield switch
    mm.unload_all_models()


def load(pack, dtype: str = "auto"):
    return pack.load.load_model(pack.folders.BUILT_IN, dtype)


def test_a_model_loads_and_samples_the_same(pack, dynamic):
    expected = ksampler(load(pack))
    dynamic()
    model = load(pack)
    assert model.is_dynamic()
    assert torch.equal(ksampler(model), expected)


@pytest.mark.parametrize("dtype", ["fp32", "fp8_e4m3fn"])
def test_what_stays_out_of_fp8_is_not_cast_to_it_on_the_card(pack, dynamic, dtype):
    expected = ksampler(load(pack, dtype))
    dynamic()
    model = load(pack, dtype)
    stored = {name: p.dtype for name, p in model.model.named_parameters()}
    assert torch.equal(ksampler(model), expected)
    assert {name: p.dtype for name, p in model.model.named_parameters()} == stored


def test_loras_come_and_go(pack, dynamic, deltas):  # noqa: F811
    model = load(pack)
    expected = ksampler(model), ksampler(with_lora(model, deltas))
    dynamic()
    model = load(pack)
    patched = with_lora(model, deltas)
    for one, video in ((patched, 1), (model, 0), (patched, 1)):
        torch.testing.assert_close(ksampler(one), expected[video], rtol=0, atol=2e-5)


def test_a_vae_loads_and_decodes_the_same(pack, dynamic):
    z = latents(3, (1, VAE.latent_channels, 3, 2, 3))
    expected = pack.load.load_vae(pack.folders.BUILT_IN).decode(z)
    dynamic()
    vae = pack.load.load_vae(pack.folders.BUILT_IN)
    assert vae.patcher.is_dynamic()
    assert torch.equal(vae.decode(z), expected)


def test_a_text_encoder_loads_and_encodes_the_same(pack, dynamic):
    def encoded():
        clip = pack.load.load_text_encoder(pack.folders.BUILT_IN)
        return clip.encode_from_tokens(clip.tokenize("a red ball"))

    expected = encoded()
    dynamic()
    assert expected.abs().sum() > 0
    assert torch.equal(encoded(), expected)


def test_cores_text_encoder_takes_over_embeddings_and_layers_that_are_not_there_yet(pack, dynamic):
    import comfy.ops
    from comfy.text_encoders.t5 import T5

    sizes = {**TEXT, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True}
    make = partial(
        T5, {**sizes, "model_type": "umt5"}, torch.bfloat16, "cpu", comfy.ops.manual_cast
    )
    weights = random_weights(make(), 5)
    dynamic()
    network = make()
    with pack.text_encoder.weights_taken_over():
        lost = network.load_state_dict(weights, strict=False)
    assert not lost.missing_keys
    assert not lost.unexpected_keys
    taken = network.state_dict()
    assert taken.keys() == weights.keys()
    assert all(taken[name].data_ptr() == weights[name].data_ptr() for name in weights)


def test_frames_between_frames_are_the_same(pack, dynamic, monkeypatch):
    from comfy import model_management as mm

    from longtake.host.networks import rife

    def between():
        monkeypatch.setattr(rife, "models", pack.cache.LoadedModels())
        patcher = rife.load_rife(rife.RIFE_BUILT_IN)
        mm.load_models_gpu([patcher])
        pairs = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        return patcher, patcher.model(pairs, torch.tensor([0.5]), 1.0)

    _, expected = between()
    dynamic()
    patcher, got = between()
    assert patcher.is_dynamic()
    assert torch.equal(got, expected)
    other = patcher.clone(disable_dynamic=True)
    assert not getattr(other, "is_dynamic", lambda: False)()
    assert other.model is not patcher.model


@pytest.mark.parametrize("kind", ["model", "vae", "text_encoder"])
def test_the_host_can_make_another_that_shares_no_weights(pack, dynamic, kind):
    import comfy.sd

    knows = "disable_dynamic" in signature(comfy.sd.CLIP.__init__).parameters
    if kind == "text_encoder" and not knows:
        pytest.skip("this host has dynamic VRAM for no text encoder")
    dynamic()
    loaded = getattr(pack.load, f"load_{kind}")(pack.folders.BUILT_IN)
    patcher = loaded if kind == "model" else loaded.patcher
    factory, args, *_ = patcher.clone().cached_patcher_init
    other = factory(*args, disable_dynamic=True)
    assert type(other).__name__ == "ModelPatcher"
    ours, theirs = patcher.model.state_dict(), other.model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name])
    weight = next(name for name in ours if ours[name].is_floating_point() and ours[name].any())
    theirs[weight].zero_()
    assert ours[weight].any()


def test_a_patcher_without_dynamic_vram_samples_the_same(pack, dynamic):
    expected = ksampler(load(pack))
    dynamic()
    plain = load(pack).clone(disable_dynamic=True)
    assert not getattr(plain, "is_dynamic", lambda: False)()
    assert torch.equal(ksampler(plain), expected)
