"""Our loaders under the dynamic VRAM of newer hosts: what they load is what it is without."""

from functools import partial
from inspect import signature
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.wan.dit import WanDiT
from tests.host.conftest import DIT, TEXT, VAE, random_weights
from tests.host.dynamic_vram import switch_on
from tests.host.networks.test_families import T2V, conditions, models, scaled  # noqa: F401
from tests.host.networks.test_lora import deltas, with_lora  # noqa: F401
from tests.host.runs import ksampler, latents
from tests.models.tiny import dit_to_diffusers

SLICE = "_comfy_tensor_file_slice"


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
    assert not getattr(other, "is_dynamic", lambda: False)()
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
    assert type(plain) is type(pack.patching.patcher_for(plain.model, *2 * ["cpu"], dynamic=False))


@pytest.mark.parametrize("dtype", ["auto", "fp8_e4m3fn"])
def test_loras_and_unloading_leave_everything_as_it_was(pack, dynamic, deltas, dtype):  # noqa: F811
    import comfy.model_management as mm

    model = load(pack, dtype)
    expected = {"plain": ksampler(model), "lora": ksampler(with_lora(model, deltas))}
    dynamic()
    model = load(pack, dtype)
    patched = with_lora(model, deltas)
    stored = {name: p.dtype for name, p in model.model.named_parameters()}

    def check(one, video):
        torch.testing.assert_close(ksampler(one), expected[video], rtol=0, atol=2e-5)

    for unload in (lambda: None, mm.unload_all_models, lambda: pack.load.models.drop_named("")):
        check(model, "plain")
        check(patched, "lora")
        check(model, "plain")
        unload()
    check(patched, "lora")
    check(load(pack, dtype), "plain")
    assert {name: p.dtype for name, p in model.model.named_parameters()} == stored


@pytest.fixture
def mapped(pack, monkeypatch):
    """Small files are mapped as large ones are."""
    import comfy.utils

    monkeypatch.setattr("longtake.models.checkpoint.READ", 0)
    monkeypatch.setattr(comfy.utils, "DISABLE_MMAP", False)


@pytest.mark.parametrize("layout", ["official", "diffusers"])
def test_scaled_fp8_is_the_same_and_is_read_from_its_file(pack, models, dynamic, mapped, layout):  # noqa: F811
    rename = dit_to_diffusers if layout == "diffusers" else str
    stored, _ = scaled(random_weights(WanDiT(T2V), 7), "2025")
    scales = {k: stored.pop(k) for k in list(stored) if k.endswith("scale_weight")}
    named = {rename(k): w.contiguous() for k, w in stored.items() if k != "scaled_fp8"}
    for name, scale in scales.items():
        layer = rename(f"{name.removesuffix('scale_weight')}weight").removesuffix("weight")
        named[f"{layer}scale_weight"] = scale
    path = models / "scaled.safetensors"
    save_file(named | {"scaled_fp8": stored["scaled_fp8"]}, path)
    model = pack.load.load_model(path.name)
    settings = conditions(T2V, model, (1, 16, 2, 4, 6))
    expected = ksampler(model, **settings)
    dynamic()
    model = pack.load.load_model(path.name)
    torch.testing.assert_close(ksampler(model, **settings), expected, rtol=0, atol=2e-5)
    del model
    if read := host_reader():
        weights = dict(pack.load.load_model(path.name).model.diffusion_model.named_parameters())
        same = [k for k in stored if k in weights and as_stored(weights[k], stored[k])]
        assert {k for k in stored if k.startswith("blocks.") and stored[k].ndim == 2} <= {*same}
        read_back(read, {k: weights[k] for k in same}, {k: stored[k] for k in same})


def as_stored(weight: torch.Tensor, stored: torch.Tensor) -> bool:
    """Whether a weight is not cast; the host casts what its quantised layers have plain."""
    return getattr(weight, "_qdata", weight).dtype == stored.dtype


def host_reader():
    """The host's function that reads marked weights from their file; None on older hosts."""
    import comfy

    memory = getattr(comfy, "memory_management", None)
    return getattr(memory, "read_tensor_file_slice_into", None)


def read_back(read, weights: dict, expected: dict) -> None:
    """Reads each weight with the host's function; the bytes must be those of the file."""
    from comfy.quant_ops import QuantizedTensor

    for name, weight in weights.items():
        into = empty_like(weight.data, QuantizedTensor)
        assert read(weight.data, into), name
        got = getattr(into, "_qdata", into)
        assert torch.equal(got.view(torch.uint8), expected[name].view(torch.uint8)), name


def empty_like(weight: torch.Tensor, quantised: type) -> torch.Tensor:
    if not isinstance(weight, quantised):
        return torch.empty_like(weight)
    params = weight._params.clone()
    return quantised(torch.empty_like(weight._qdata), weight._layout_cls, params)


def test_what_is_cast_is_not_read_from_the_file(pack, models, dynamic, mapped):  # noqa: F811
    import comfy.model_management as mm

    if not (read := host_reader()):
        pytest.skip("this host reads no weights from files to cards")
    weights = {k: w.bfloat16() for k, w in random_weights(WanDiT(T2V), 7).items()}
    save_file(weights, models / "bf16.safetensors")
    for dtype in ("bf16", "fp16"):
        dynamic()
        network = pack.load.load_model("bf16.safetensors", dtype).model.diffusion_model
        for name, weight in network.named_parameters():
            into = torch.zeros_like(weight.data)
            assert read(weight.data, into) == (dtype == "bf16")
            assert torch.equal(into, weights[name]) == (dtype == "bf16")
        mm.unload_all_models()


def test_without_dynamic_vram_nothing_is_marked(pack, models, mapped):  # noqa: F811
    save_file(random_weights(WanDiT(T2V), 7), models / "plain.safetensors")
    network = pack.load.load_model("plain.safetensors", "fp32").model.diffusion_model
    marks = {hasattr(p.untyped_storage(), SLICE) for p in network.parameters()}
    assert marks == {False}


def test_blocks_are_fetched_one_after_the_other(pack, model, monkeypatch):
    import comfy

    made, popped = [], []

    def make(blocks, device, options):
        made.append([None, *blocks, None])
        return made[-1]

    def pop(queue, device, module, **_):
        queue.pop(0)
        popped.append(module)

    host = SimpleNamespace(make_prefetch_queue=make, prefetch_queue_pop=pop)
    monkeypatch.setattr(comfy, "model_prefetch", host, raising=False)
    network = model.model.diffusion_model
    expected = velocity(network, {})
    assert made == popped == []
    assert torch.equal(velocity(network, {"prefetch_dynamic_vbars": True}), expected)
    assert popped == [*network.blocks, None]
    assert made == [[None]]  # all but the last have been asked for
    units, last = model.model.get_dynamic_vram__units()
    assert units == [block.layers_of_a_step() for block in network.blocks]
    often = {layer for unit in units for root in unit for layer in root.modules()}
    once = {layer for layer in last for layer in layer.modules()}
    assert network.blocks[0].ffn[0] in often
    assert network.blocks[1].cross_attn.k in once
    assert network.text_embedding[0] in once
    assert not often & once


def velocity(network, options: dict) -> torch.Tensor:
    text = torch.randn(1, 7, DIT.text_width, generator=torch.Generator().manual_seed(1))
    return network(latents(3), torch.tensor([500.0]), text, transformer_options=options)
