"""What newer hosts do with a loader's factory: other devices, several GPUs, LoRAs on hooks."""

import copy
import logging
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file

from tests.host.conftest import TEXT, VAE, write_dit
from tests.host.dynamic_vram import CARD
from tests.host.networks.test_dynamic_vram import dynamic, load  # noqa: F401
from tests.host.networks.test_lora import LAYER, deltas, lora_file  # noqa: F401
from tests.host.runs import ksampler, latents, prompt

KINDS = ["model", "vae", "text_encoder"]


@pytest.fixture(autouse=True)
def several(comfyui, pack, monkeypatch, caplog):
    """Two devices, both of them this CPU; the host's nodes only log what they cannot do."""
    if not find_spec("comfy.multigpu"):
        pytest.skip("this host uses one device")
    import comfy.model_management as mm

    mm.unload_all_models()
    monkeypatch.setattr(pack.load, "models", pack.cache.LoadedModels())
    monkeypatch.setattr(
        mm, "get_all_torch_devices", lambda exclude_current=False: [torch.device("cpu"), CARD]
    )
    yield
    mm.unload_all_models()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "GPU" in r.message]
    assert "passing through" not in caplog.text


def patcher_of(kind, loaded):
    return loaded if kind == "model" else loaded.patcher


def selected(kind, loaded, device):
    from comfy_extras import nodes_multigpu as nodes

    select = {
        "model": nodes.SelectModelDeviceNode,
        "vae": nodes.SelectVAEDeviceNode,
        "text_encoder": nodes.SelectCLIPDeviceNode,
    }
    return select[kind].execute(loaded, device)[0]


def result(kind, loaded) -> torch.Tensor:
    if kind == "model":
        return ksampler(loaded)
    if kind == "vae":
        return loaded.decode(latents(3, (1, VAE.latent_channels, 3, 2, 3)))
    return loaded.encode_from_tokens(loaded.tokenize("a red ball"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_can_be_put_on_another_gpu_and_back(pack, kind, monkeypatch):
    """The host's nodes, told that neither device is the CPU, which they treat in another way."""
    from comfy_extras import nodes_multigpu as nodes

    def as_a_gpu(patcher, resolved, base_offload_override=None):
        nodes._remember_base_devices(patcher)
        target = patcher.model._select_base_load_device if resolved is None else resolved
        return nodes._retarget_patcher(patcher, target, patcher.offload_device)

    monkeypatch.setattr(nodes, "_apply_patcher_device", as_a_gpu)
    loaded = getattr(pack.load, f"load_{kind}")(pack.folders.BUILT_IN)
    expected = result(kind, loaded)
    there = loaded
    if kind == "vae":  # of which the node leaves out what is of type "cpu"
        there = copy.copy(loaded)
        there.patcher = as_a_gpu(loaded.patcher.clone(), CARD)
        there.first_stage_model, there.device = there.patcher.model, CARD
    else:
        there = selected(kind, loaded, "gpu:1")
    mine, theirs = patcher_of(kind, loaded), patcher_of(kind, there)
    assert (mine.load_device, theirs.load_device) == (torch.device("cpu"), CARD)
    assert theirs.model is not mine.model
    assert torch.equal(result(kind, there), expected)
    back = selected(kind, there, "default")
    assert patcher_of(kind, back).load_device == torch.device("cpu")
    assert torch.equal(result(kind, back), expected)
    assert torch.equal(result(kind, loaded), expected)


@pytest.mark.parametrize("kind", ["model", "text_encoder"])  # the host leaves out the VAE
def test_each_can_be_put_on_the_cpu_under_dynamic_vram(pack, dynamic, kind):  # noqa: F811
    expected = result(kind, getattr(pack.load, f"load_{kind}")(pack.folders.BUILT_IN))
    dynamic()
    loaded = getattr(pack.load, f"load_{kind}")(pack.folders.BUILT_IN)
    there = selected(kind, loaded, "cpu")
    assert not patcher_of(kind, there).is_dynamic()
    assert torch.equal(result(kind, there), expected)


def test_prompts_are_shared_out_among_gpus(pack):
    from comfy_extras.nodes_multigpu import MultiGPUCFGSplitNode

    model = load(pack)
    expected = ksampler(model)
    both = MultiGPUCFGSplitNode.execute(model, 2)[0]
    (other,) = both.get_additional_models_with_key("multigpu")
    assert other.load_device == CARD
    calls = {"one": 0, "other": 0}

    def counting(name):
        def count(*_):
            calls[name] += 1

        return count

    hooks = [
        patcher.model.diffusion_model.register_forward_pre_hook(counting(name))
        for name, patcher in (("one", both), ("other", other))
    ]
    try:
        torch.testing.assert_close(ksampler(both), expected, rtol=0, atol=2e-5)
    finally:
        for hook in hooks:
            hook.remove()
    assert calls["one"] == calls["other"] == 4  # a prompt each, in each step


def hooked(file: str, model=None, strength: float = 0.7):
    """A prompt with a LoRA on a hook; or of no MODEL, the hook."""
    from comfy_extras.nodes_hooks import ConditioningSetProperties, CreateHookLora

    hooks = CreateHookLora().create_hook(file, strength, strength)[0]
    if model is None:
        return hooks
    return ConditioningSetProperties().set_properties(
        prompt(model, 1), 1.0, "default", hooks=hooks
    )[0]


def test_hooks_switch_loras_of_a_model(pack, dynamic, lora_file):  # noqa: F811
    model = load(pack)
    expected = ksampler(model.clone(), positive=hooked(lora_file, model))
    plain = ksampler(model)
    assert not torch.allclose(expected, plain, atol=1e-3)
    dynamic()
    model = load(pack)
    got = ksampler(model, positive=hooked(lora_file, model))
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(ksampler(model), plain, rtol=0, atol=2e-5)


def test_hooks_switch_loras_of_both_experts(pack, dynamic, lora_file, comfyui):  # noqa: F811
    folder = comfyui.base / "models" / "diffusion_models"
    folder.mkdir(exist_ok=True)
    write_dit(folder / "low.safetensors", seed=5)

    def sampled():
        high, low = load(pack), pack.load.load_model("low.safetensors")
        pair = pack.experts.pair(high, low, 0.9, 3.0, 2.0)
        return ksampler(pair, positive=hooked(lora_file, high)), ksampler(pair)

    expected = sampled()
    assert not torch.allclose(*expected, atol=1e-3)
    dynamic()
    for got, wanted in zip(sampled(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=2e-5)


def test_torch_compile_gets_a_patcher_that_it_can_use(pack, dynamic):  # noqa: F811
    expected = ksampler(load(pack))
    dynamic()
    model = load(pack).clone(disable_dynamic=True)
    assert not model.is_dynamic()
    assert torch.equal(ksampler(model), expected)


def test_hooks_on_a_text_encoder(pack, dynamic, comfyui):  # noqa: F811
    """As with core's own CLIP: the clone for hooks has weights of its own, without dynamic VRAM."""
    from comfy_extras.nodes_hooks import SetClipHooks

    width = TEXT["d_model"]
    layer = "text_encoders.longtake_umt5.transformer.encoder.block.0.layer.0.SelfAttention.q"
    tensors = {f"{layer}.diff": torch.ones(TEXT["num_heads"] * TEXT["d_kv"], width)}
    folder = comfyui.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "text.safetensors")

    def encoded(schedule: bool):
        clip = pack.load.load_text_encoder(pack.folders.BUILT_IN)
        clip = SetClipHooks().apply_hooks(clip, schedule, True, hooked("text.safetensors"))[0]
        return clip.encode_from_tokens_scheduled(clip.tokenize("a red ball"))[0][0]

    plain = result("text_encoder", pack.load.load_text_encoder(pack.folders.BUILT_IN))
    expected = encoded(True)
    assert not torch.allclose(expected, plain)
    dynamic()
    clip = pack.load.load_text_encoder(pack.folders.BUILT_IN)
    assert clip.clone(disable_dynamic=True).patcher.model is not clip.patcher.model
    assert encoded(True).shape == expected.shape
