"""LoRAs on every kind of parameter, however the host holds the weights."""

import pytest
import torch
from safetensors.torch import save_file

from tests.host.runs import SHAPE, ksampler, latents, prompt

MODULATION = "diffusion_model.blocks.1.modulation"
HEAD = "diffusion_model.head.modulation"
LAYER = "diffusion_model.blocks.0.ffn.0"
NORM = "diffusion_model.blocks.0.self_attn.norm_q"


def lora(rng) -> dict[str, torch.Tensor]:
    """A LoRA as it comes in files, one part for each kind of parameter."""
    return {
        f"{MODULATION}.diff": torch.randn(1, 6, 32, generator=rng),
        f"{HEAD}.diff": torch.randn(1, 2, 32, generator=rng),
        f"{LAYER}.lora_up.weight": torch.randn(48, 3, generator=rng),
        f"{LAYER}.lora_down.weight": torch.randn(3, 32, generator=rng),
        f"{LAYER}.diff_b": torch.randn(48, generator=rng),
        f"{NORM}.diff": torch.randn(32, generator=rng),
    }


@pytest.fixture
def deltas():
    return lora(torch.Generator().manual_seed(9))


@pytest.fixture
def lora_file(comfyui, deltas):
    folder = comfyui.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(deltas, folder / "test.safetensors")
    return "test.safetensors"


def with_lora(model, deltas, strength=0.7, only=""):
    import comfy.sd

    chosen = {name: delta for name, delta in deltas.items() if name.startswith(only)}
    return comfy.sd.load_lora_for_models(model, None, chosen, strength, 0)[0]


def weights(model) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.model.state_dict().items()}


def expected(before, deltas, strength=0.7) -> dict[str, torch.Tensor]:
    after = dict(before)
    low_rank = deltas[f"{LAYER}.lora_up.weight"] @ deltas[f"{LAYER}.lora_down.weight"]
    after[f"{LAYER}.weight"] = before[f"{LAYER}.weight"] + strength * low_rank
    after[f"{LAYER}.bias"] = before[f"{LAYER}.bias"] + strength * deltas[f"{LAYER}.diff_b"]
    after[f"{NORM}.weight"] = before[f"{NORM}.weight"] + strength * deltas[f"{NORM}.diff"]
    for name in (MODULATION, HEAD):
        after[name] = before[name] + strength * deltas[f"{name}.diff"]
    return after


def velocity(model) -> torch.Tensor:
    """One call of the network with whatever weights are loaded."""
    return model.model.apply_model(
        latents(3), torch.tensor([0.7]), c_crossattn=prompt(model, 1)[0][0], transformer_options={}
    )


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_all_parts_reach_the_weights_and_leave_again(model, deltas):
    import comfy.model_management as mm

    before = weights(model)
    patched = with_lora(model, deltas)

    mm.load_models_gpu([patched])
    torch.testing.assert_close(weights(patched), expected(before, deltas))
    mm.load_models_gpu([model])
    assert same(weights(model), before)


def test_loading_again_does_not_add_again(model, deltas):
    import comfy.model_management as mm

    before = weights(model)
    patched = with_lora(model, deltas)
    for _ in range(3):
        mm.load_models_gpu([patched])
        patched.load(mm.get_torch_device(), full_load=True)
    torch.testing.assert_close(weights(patched), expected(before, deltas))
    patched.detach()
    assert same(weights(model), before)


@pytest.mark.parametrize("only", [MODULATION, HEAD])
def test_modulation_changes_the_video(model, deltas, only):
    plain = ksampler(model, steps=2)
    patched = with_lora(model, deltas, only=only)
    assert (ksampler(patched, steps=2) - plain).abs().mean() > 0.01
    assert torch.equal(ksampler(model, steps=2), plain)


def test_cores_lora_loader(model, lora_file, deltas):
    import nodes

    loaded = nodes.LoraLoaderModelOnly().load_lora_model_only(model, lora_file, 0.7)[0]
    assert torch.equal(ksampler(loaded, steps=2), ksampler(with_lora(model, deltas), steps=2))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_partly_loaded_weights_give_the_same_video(model, deltas, share):
    import comfy.model_management as mm

    before = weights(model)
    patched = with_lora(model, deltas)
    mm.load_models_gpu([patched])
    whole = velocity(patched)
    patched.detach()

    patched.patch_model(mm.get_torch_device(), lowvram_model_memory=share * patched.model_size())
    layers = [m for m in patched.model.modules() if hasattr(m, "comfy_cast_weights")]
    offloaded = [m.comfy_cast_weights for m in layers]
    assert any(offloaded)
    torch.testing.assert_close(velocity(patched), whole, rtol=1e-5, atol=1e-5)

    patched.detach()
    assert same(weights(model), before)


def test_unloading_a_part_keeps_the_video(model, deltas):
    import comfy.model_management as mm

    before = weights(model)
    patched = with_lora(model, deltas)
    mm.load_models_gpu([patched])
    whole = velocity(patched)

    freed = patched.partially_unload(mm.unet_offload_device(), patched.model_size() // 2)

    assert freed > 0
    torch.testing.assert_close(velocity(patched), whole, rtol=1e-5, atol=1e-5)
    patched.detach()
    assert same(weights(model), before)


def test_weights_of_8_bits_take_loras(pack, deltas):
    import comfy.model_management as mm

    model = pack.load.load_model(pack.folders.BUILT_IN, "fp8_e4m3fn")
    before = weights(model)
    patched = with_lora(model, deltas)
    mm.load_models_gpu([patched])
    wanted = expected({name: weight.float() for name, weight in before.items()}, deltas)
    for name in (MODULATION, HEAD, f"{LAYER}.weight"):
        error = (weights(patched)[name].float() - wanted[name]).norm() / wanted[name].norm()
        assert error < 0.05, name
    patched.detach()
    assert same(weights(model), before)


def test_hooks_switch_loras_between_prompts(model, lora_file, deltas):
    """One prompt with the LoRA, the other without: in core both go through one run."""
    from comfy_extras.nodes_hooks import ConditioningSetProperties, CreateHookLora

    hooks = CreateHookLora().create_hook(lora_file, 0.7, 0.0)[0]
    hooked = ConditioningSetProperties().set_properties(
        prompt(model, 1), 1.0, "default", hooks=hooks
    )[0]
    before = weights(model)

    both = ksampler(model.clone(), positive=hooked, steps=1, cfg=2.0)

    go = ksampler(with_lora(model, deltas), steps=1, cfg=1.0)
    avoid = ksampler(model, positive=prompt(model, 2), steps=1, cfg=1.0)
    torch.testing.assert_close(both, avoid + 2.0 * (go - avoid), rtol=1e-3, atol=1e-3)
    assert same(weights(model), before)
    assert tuple(both.shape) == SHAPE
