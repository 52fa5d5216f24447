"""Files of int8, nvfp4 and the like, packed by the host's own quantisers.

Where the host computes with such weights they stay as they are; elsewhere they are refused.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from longtake.models.errors import CheckpointError, InputError
from longtake.models.wan.dit import WanDiT
from tests.host.conftest import random_weights
from tests.host.networks.test_dynamic_vram import (  # noqa: F401
    dynamic,
    host_reader,
    mapped,
    read_back,
)
from tests.host.networks.test_families import T2V, conditions, models  # noqa: F401
from tests.host.runs import ksampler
from tests.models.tiny import dit_to_diffusers

ROTATED = {"convrot_groupsize": 16}
# format: (its name in a file, how the quantiser is asked, what the file says, bits for a number,
# and how far a step may be from the network of the numbers that it means; those formats that round
# what is multiplied with them, to 8 or 4 bits, differ by that)
FORMATS: dict[str, tuple[str, dict, dict, float, float]] = {
    "int8": ("int8_tensorwise", {}, {}, 8.1, 0.01),
    "int8 by row": ("int8_tensorwise", {"per_channel": True}, {}, 8.5, 0.01),
    "int8 rotated": (
        "int8_tensorwise",
        {"per_channel": True, "convrot": True, **ROTATED},
        {"convrot": True, **ROTATED},
        8.5,
        0.01,
    ),
    "nvfp4": ("nvfp4", {}, {}, 4.9, 1e-5),
    "mxfp8": ("mxfp8", {}, {}, 8.6, 1e-5),
    "w4a4": ("convrot_w4a4", ROTATED, ROTATED, 4.6, 0.15),
    "w4a8": ("asym_w4a8_int8", ROTATED, ROTATED, 5.6, 0.01),
}
SIZES = replace(T2V, mlp_width=192)  # w4a4 packs 64 columns together
MATRICES = [
    name
    for name, p in WanDiT(SIZES, device="meta").named_parameters()
    if name.startswith("blocks.") and p.ndim == 2
]


@pytest.fixture
def quantises(comfyui):
    """Skips on a host without quantised tensors."""
    from comfy import supported_models

    if not hasattr(supported_models.WAN21_T2V, "quant_config"):
        pytest.skip("this host has no quantised tensors for Wan")


def packed(weights: dict, kind: str) -> tuple[dict, dict, dict]:
    """A file's tensors and its layers' notes, and the numbers that they stand for."""
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    name, asked, said, *_ = FORMATS[kind]
    layout = QUANT_ALGOS[name]["comfy_tensor_layout"]
    stored, notes, meant = {}, {}, {}
    for key, weight in weights.items():
        stored[key] = meant[key] = weight
        if key in MATRICES:
            tensor = QuantizedTensor.from_float(weight.float(), layout, **asked)
            del stored[key]
            stored |= {k: v.clone() for k, v in tensor.state_dict(key).items()}
            notes[key.removesuffix(".weight")] = {"format": name, **said}
            meant[key] = tensor.dequantize().clone()
    return stored, notes, meant


def same_weights(pack, weights):
    """A MODEL of plain float32 weights."""
    latent_format = pack.latent_format.format_for(SIZES, built_in=False)
    return pack.transformer.build_model(SIZES, weights, latent_format, torch.float32, "plain")


def texts(notes: dict) -> dict[str, Tensor]:
    return {
        f"{layer}.comfy_quant": torch.tensor(list(json.dumps(note).encode()), dtype=torch.uint8)
        for layer, note in notes.items()
    }


def diffusers(name: str) -> str:
    layer, _, leaf = name.rpartition(".")
    if leaf == "comfy_quant" or leaf.startswith("weight_"):
        return dit_to_diffusers(f"{layer}.weight").removesuffix("weight") + leaf
    return dit_to_diffusers(name)


def held(network: torch.nn.Module) -> int:
    """Bytes of all matrices in the blocks, with their scales."""
    return sum(
        w.numel() * w.element_size()
        for name, w in network.state_dict().items()
        if name.startswith("blocks.") and ".weight" in name and "norm" not in name
    )


def as_bytes(weight: Tensor) -> Tensor:
    return weight.contiguous().flatten().view(torch.uint8)


def distance(got: Tensor, expected: Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


@pytest.fixture(params=FORMATS)
def kind(request, quantises) -> str:
    return request.param


def test_it_stays_packed_and_means_its_numbers(pack, models, kind):  # noqa: F811
    stored, notes, meant = packed(random_weights(WanDiT(SIZES), 7), kind)
    save_file(stored | texts(notes), models / "packed.safetensors")
    ours = pack.load.load_model("packed.safetensors")
    name, _, _, bits, tolerance = FORMATS[kind]
    numbers = sum(meant[key].numel() for key in MATRICES)
    assert held(ours.model.diffusion_model) * 8 < bits * numbers
    assert name in pack.settings.described(ours)
    settings = conditions(SIZES, ours, (1, 16, 2, 4, 6))
    expected = ksampler(same_weights(pack, meant), **settings)
    assert distance(ksampler(ours, **settings), expected) < tolerance
    plain = pack.load.load_model("packed.safetensors", "fp32")
    for key, weight in plain.model.diffusion_model.state_dict().items():
        torch.testing.assert_close(weight, meant[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_names_and_notes_are_found_in_every_layout(pack, models, kind, prefix):  # noqa: F811
    stored, notes, _ = packed(random_weights(WanDiT(SIZES), 7), kind)
    layers = {prefix + layer: note for layer, note in notes.items()}
    told = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
    named = {prefix + name: weight for name, weight in stored.items()}
    save_file(named, models / "metadata.safetensors", told)
    renamed = {prefix + diffusers(k): w for k, w in (stored | texts(notes)).items()}
    save_file(renamed, models / "diffusers.safetensors")
    save_file(stored | texts(notes), models / "official.safetensors")
    one, *others = (
        pack.load.load_model(f"{name}.safetensors").model.diffusion_model.state_dict()
        for name in ("official", "metadata", "diffusers")
    )
    for other in others:
        assert other.keys() == one.keys()
        for name, weight in one.items():
            assert torch.equal(as_bytes(weight), as_bytes(other[name])), name


def test_loras_come_and_go(pack, models, kind):  # noqa: F811
    """The host unpacks, adds the LoRA and packs again."""
    from longtake.host.take import weights_hash

    stored, notes, meant = packed(random_weights(WanDiT(SIZES), 7), kind)
    save_file(stored | texts(notes), models / "packed.safetensors")
    rng = torch.Generator().manual_seed(5)
    lora = {
        "diffusion_model.blocks.0.ffn.0.lora_up.weight": torch.randn(192, 4, generator=rng) / 5,
        "diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.randn(4, 128, generator=rng),
    }
    ours, plain = pack.load.load_model("packed.safetensors"), same_weights(pack, meant)
    settings = conditions(SIZES, ours, (1, 16, 2, 4, 6))
    before, hashed = ksampler(ours, **settings), weights_hash.weights(ours)
    loras = models.parent / "loras"
    loras.mkdir(exist_ok=True)
    save_file(lora, loras / "packed.safetensors")
    with_it = [pack.lora.add(model, "packed.safetensors", 1.0)[0] for model in (ours, plain)]
    got, expected = (ksampler(m, **settings) for m in with_it)
    assert (got - expected).norm() < 0.3 * (expected - before).norm()
    weights_hash._WEIGHTS.clear()
    assert weights_hash.weights(with_it[0]) == hashed
    torch.testing.assert_close(ksampler(ours, **settings), before)


def test_under_dynamic_vram_it_is_the_same(pack, models, kind, dynamic, mapped):  # noqa: F811
    stored, notes, _ = packed(random_weights(WanDiT(SIZES), 7), kind)
    save_file(stored | texts(notes), models / "packed.safetensors")
    model = pack.load.load_model("packed.safetensors")
    settings = conditions(SIZES, model, (1, 16, 2, 4, 6))
    expected = ksampler(model, **settings)
    dynamic()
    model = pack.load.load_model("packed.safetensors")
    assert model.is_dynamic()
    torch.testing.assert_close(ksampler(model, **settings), expected, rtol=0, atol=2e-5)
    weights = dict(
        pack.load.load_model("packed.safetensors").model.diffusion_model.named_parameters()
    )
    read_back(host_reader(), {name: weights[name] for name in MATRICES}, stored)


def test_formats_may_be_mixed(pack, models, quantises):  # noqa: F811
    weights = random_weights(WanDiT(SIZES), 7)
    kinds = ("nvfp4", "int8 by row")
    files = [packed(weights, kind) for kind in kinds]
    stored = {key: weight for key, weight in weights.items() if key not in MATRICES}
    notes, meant = {}, dict(weights)
    for i, key in enumerate(MATRICES):
        of, told, means = files[i % 2]
        stored |= {k: v for k, v in of.items() if k == key or k.startswith(f"{key}_")}
        meant[key] = means[key]
        notes |= {k: v for k, v in told.items() if key == f"{k}.weight"}
    save_file(stored | texts(notes), models / "mixed.safetensors")
    ours = pack.load.load_model("mixed.safetensors")
    assert "int8_tensorwise and nvfp4" in pack.settings.described(ours)
    settings = conditions(SIZES, ours, (1, 16, 2, 4, 6))
    expected = ksampler(same_weights(pack, meant), **settings)
    assert distance(ksampler(ours, **settings), expected) < 0.01


def refused(pack: Any, name: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        pack.load.load_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def int8(folder: Any, note: Any) -> str:
    """Writes a file with one packed layer; gives its name."""
    weights = random_weights(WanDiT(SIZES), 7)
    layer = "blocks.0.ffn.0"
    weights[f"{layer}.weight"] = weights[f"{layer}.weight"].to(torch.int8)
    weights[f"{layer}.weight_scale"] = torch.ones(())
    save_file(weights | texts({layer: note}), folder / "int8.safetensors")
    return "int8.safetensors"


def test_a_host_that_cannot_compute_with_it_refuses_it(pack, models, monkeypatch):  # noqa: F811
    monkeypatch.setattr("longtake.host.networks.quantised.host_quantises", lambda: False)
    message = refused(pack, int8(models, {"format": "int8_tensorwise"}))
    assert "holds weights as int8_tensorwise, which this ComfyUI does not compute with" in message
    assert "use the bf16, fp16 or fp8 file" in message


def test_formats_that_no_host_knows_are_refused(pack, models):  # noqa: F811
    name = int8(models, {"format": "int3_of_tomorrow"})
    assert "holds weights as int3_of_tomorrow" in refused(pack, name)


@pytest.mark.parametrize("note", [[], {"format": 8}, {"layers": {}}])
def test_a_note_that_says_nothing_is_refused(pack, models, note):  # noqa: F811
    assert "what it says of how (comfy_quant) cannot be read" in refused(pack, int8(models, note))


def test_on_apples_gpus_nothing_stays_in_fp8(pack, monkeypatch):
    import comfy.model_management as mm

    from longtake.host.networks import quantised
    from longtake.models.wan.detect import Checkpoint

    def asked(dtype, **kind):
        found = Checkpoint("dit", "", SIZES, {}, torch.float8_e4m3fn, **kind)
        return quantised.storage_for(found, dtype, "x"), pack.dtypes.dtype_for(
            "auto", found.dtype, 9
        )

    storage, dtype = asked("auto", scaled=True)
    assert storage != "plain"
    monkeypatch.setattr(mm, "get_torch_device", lambda: torch.device("mps"))
    storage, dtype = asked("auto", scaled=True)
    assert storage == "plain"
    assert dtype.itemsize > 1
    with pytest.raises(InputError, match="this GPU has no fp8_e4m3fn: choose auto, bf16"):
        pack.dtypes.dtype_for("fp8_e4m3fn", torch.float16, 9)
