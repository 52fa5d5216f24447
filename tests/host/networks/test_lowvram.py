"""Little memory: what fits is on the device, the rest comes block by block, and nothing changes.

There is no device but the CPU here; the host's own partial loading is asked for a budget.
"""

import pytest
import torch

from tests.fake_card import PinnedPages
from tests.host.conftest import write_dit
from tests.host.networks.test_lora import deltas, with_lora  # noqa: F401
from tests.host.runs import SHAPE, ksampler


def loaded_in_part(model, share: float):
    """What ModelPatcher does on a card that has room for this share of the weights."""
    import comfy.model_management as mm

    mm.unload_all_models()
    budget = int(model.model_size() * share)
    model.load(model.load_device, lowvram_model_memory=budget)
    return model


def cast_as_used(model) -> int:
    """Layers whose weights stay behind and are moved when they are called."""
    modules = model.model.diffusion_model.modules()
    return sum(bool(getattr(m, "comfy_cast_weights", False)) for m in modules)


def once(model):
    """One call of the network as the host has loaded it."""
    from tests.host.runs import latents, prompt

    return model.model.apply_model(
        latents(3, SHAPE),
        torch.tensor([0.7]),
        c_crossattn=prompt(model, 1)[0][0],
        transformer_options={},
    )


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_a_part_of_the_weights_is_enough(pack, model, share):
    whole = once(model)
    part = loaded_in_part(model.clone(), share)
    assert cast_as_used(part) > 0
    assert torch.equal(once(part), whole)
    part.unpatch_model(part.offload_device)


def test_less_room_leaves_more_behind(pack, model):
    counts = []
    for share in (0.9, 0.4, 0.05):
        part = loaded_in_part(model.clone(), share)
        counts.append(cast_as_used(part))
        part.unpatch_model(part.offload_device)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_loras_come_along(pack, model, deltas, share):  # noqa: F811
    patched = with_lora(model, deltas)
    patched.load(patched.load_device, full_load=True)
    whole = once(patched)
    patched.unpatch_model(patched.offload_device)
    part = loaded_in_part(with_lora(model, deltas), share)
    torch.testing.assert_close(once(part), whole, rtol=1e-5, atol=1e-5)
    part.unpatch_model(part.offload_device)
    before = once(model)
    assert not torch.allclose(before, whole, atol=1e-3)


def test_sampling_after_a_part_was_loaded(pack, model):
    whole = ksampler(model, steps=2)
    part = loaded_in_part(model.clone(), 0.3)
    part.unpatch_model(part.offload_device)
    torch.testing.assert_close(ksampler(model, steps=2), whole)


CARD = torch.device("meta")  # what goes there has no numbers any more


@pytest.fixture
def mapped(pack, nano, tmp_path, monkeypatch, comfyui):
    """A MODEL of its own whose weights are mapped from its file."""
    import comfy.model_management as mm

    from longtake.models import checkpoint

    mm.unload_all_models()
    monkeypatch.setattr(checkpoint, "READ", 0)
    folder = comfyui.base / "models" / "diffusion_models"
    folder.mkdir(exist_ok=True)
    path = write_dit(folder / "mapped.safetensors", seed=8)
    yield pack.load.load_model(path.name, "bf16")
    path.unlink()


def places(model) -> dict:
    return {name: w.data_ptr() for name, w in model.model.diffusion_model.named_parameters()}


def test_leaving_a_card_copies_nothing_that_is_mapped(mapped):
    """As when one expert gives way to the other."""
    network, before = mapped.model, places(mapped)
    numbers = {name: w.clone() for name, w in network.diffusion_model.named_parameters()}
    for _ in range(2):
        network.diffusion_model.to(CARD)
        assert {w.device for w in network.diffusion_model.parameters()} == {CARD}
        network.to("cpu")
        assert places(mapped) == before
    assert all(
        torch.equal(w, numbers[name]) for name, w in network.diffusion_model.named_parameters()
    )


def test_a_layer_leaves_by_itself(mapped):
    layer, before = mapped.model.diffusion_model.blocks[1].ffn[0], places(mapped)
    layer.to(CARD)
    assert layer.weight.device == CARD
    layer.to(torch.device("cpu"))
    assert places(mapped) == before


def test_another_dtype_is_a_copy(mapped):
    layer = mapped.model.diffusion_model.blocks[0].self_attn.q
    before = layer.weight.clone()
    layer.to("cpu", torch.float32)
    assert torch.equal(layer.weight, before.float())


def test_loras_come_off_again_to_what_is_mapped(mapped, deltas):  # noqa: F811
    before, patched = places(mapped), with_lora(mapped, deltas)
    patched.load(patched.load_device, full_load=True)
    assert places(mapped) != before
    patched.unpatch_model(patched.offload_device)
    assert places(mapped) == before


def test_parameters_beside_layers_come_along(mapped):
    """Left behind, each would be fetched at every call, and everything would wait for it."""
    import comfy.model_management as mm

    network = mapped.model.diffusion_model
    mapped.load(CARD, lowvram_model_memory=1)
    behind = {name for name, w in network.named_parameters() if w.device != CARD}
    assert "blocks.0.ffn.0.weight" in behind
    assert not {name for name in behind if name.endswith("modulation")}
    mapped.unpatch_model(torch.device("cpu"))
    assert {w.device.type for w in network.parameters()} == {"cpu"}
    mm.unload_all_models()


@pytest.fixture
def driver(comfyui, monkeypatch):
    """Of a card for which the host pins what stays behind."""
    import comfy.model_management as mm

    pinned = PinnedPages()
    monkeypatch.setattr(torch.cuda, "cudart", lambda: pinned)
    for name, value in (("MAX_PINNED_MEMORY", 2**40), ("TOTAL_PINNED_MEMORY", 0)):
        monkeypatch.setattr(mm, name, value)
    monkeypatch.setattr(mm, "PINNED_MEMORY", {})
    return pinned


def test_what_lies_in_a_file_is_not_pinned(mapped, driver):
    """Neighbours share pages, which are pinned once; and what is pinned is copied first."""
    part = mapped.clone().clone()
    part.load(CARD, lowvram_model_memory=1)
    assert cast_as_used(part) > 20
    assert (driver.pages, driver.refused, part.pinned) == ({}, 0, set())
    part.unpatch_model(torch.device("cpu"))


def test_what_lies_in_memory_is_pinned_as_ever(pack, model, driver):
    part = loaded_in_part(model.clone(), 0.05)
    assert part.pinned
    assert len(part.pinned) == len(driver.pages)
    part.unpatch_model(part.offload_device)
    assert driver.pages == {}
