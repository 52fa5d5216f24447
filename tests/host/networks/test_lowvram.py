"""Little memory: what fits is on the device, the rest comes block by block, and nothing changes.

There is no device but the CPU here; the host's own partial loading is asked for a budget.
"""

import pytest
import torch

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
