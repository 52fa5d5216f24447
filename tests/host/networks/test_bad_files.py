"""Files that will not do, each in its slot: one line, and nothing left half loaded."""

import gc
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.errors import CheckpointError, LongtakeError
from longtake.models.wan.config import VAE_PRESETS
from longtake.models.wan.dit import WanDiT
from tests.host.conftest import (
    DIT,
    VAE,
    random_weights,
    write,
    write_dit,
    write_text_encoder,
    write_vae,
)
from tests.host.networks.test_families import T2V
from tests.host.runs import SHAPE, prompt, sample
from tests.models.tiny import header_of

SLOTS = {"dit": "diffusion_models", "vae": "vae", "text_encoder": "text_encoders"}


@pytest.fixture
def put(comfyui, tmp_path):
    """Puts a file into a loader's folder; gives its name."""
    made = []

    def place(slot: str, write) -> str:
        folder = comfyui.base / "models" / SLOTS[slot]
        folder.mkdir(exist_ok=True)
        made.append(folder / "bad.safetensors")
        write(made[-1])
        return "bad.safetensors"

    yield place
    for path in made:
        path.unlink(missing_ok=True)


def refusal(pack, slot: str, name: str) -> str:
    """What the loader says, having left nothing behind."""
    loaders = {
        "dit": pack.load.load_model,
        "vae": pack.load.load_vae,
        "text_encoder": pack.load.load_text_encoder,
    }
    gc.collect()  # what other tests have left is let go of now, not while this one counts
    before = len(pack.cache.models.entries())
    with pytest.raises(LongtakeError) as caught:
        loaders[slot](name)
    assert len(pack.cache.models.entries()) == before
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    return message


def broken(path):
    weights = random_weights(WanDiT(DIT), 1)
    weights["blocks.0.ffn.0.weight"][3, 5] = torch.nan
    note = {"longtake": json.dumps({"kind": "dit", "config": DIT.to_json()})}
    save_file(weights, path, note)


def cut(path):
    write_dit(path)
    path.write_bytes(path.read_bytes()[:-1000])


def mixed(path):
    """Half of one model and half of another."""
    a, b = random_weights(WanDiT(T2V), 1), random_weights(WanDiT(T2V), 2)
    b["blocks.0.ffn.0.weight"] = torch.zeros(64, 128)
    save_file(a | {k: w for k, w in b.items() if k.startswith("blocks.0.ffn")}, path)


def lora(path):
    save_file({"lora_unet_blocks_0_ffn_0.lora_up.weight": torch.ones(3, 2)}, path)


def vace_cut(path):
    weights = random_weights(WanDiT(replace(T2V, vace_blocks=1)), 1)
    del weights["vace_blocks.0.after_proj.weight"]
    save_file(weights, path)


def vace_alone(path):
    weights = random_weights(WanDiT(replace(T2V, vace_blocks=1)), 1)
    save_file({name: weights[name] for name in weights if name.startswith("vace_")}, path)


def vace_of_others(path):
    save_file(random_weights(WanDiT(replace(T2V, vace_blocks=1, vace_channels=80)), 1), path)


def bias_only(path):
    save_file({"head.modulation": torch.ones(1, 2, 128)}, path)


@pytest.mark.parametrize(
    ("slot", "write", "said"),
    [
        ("dit", write_vae, "is a VAE (Longtake nano), not a video model; choose it"),
        ("vae", write_dit, "is a video model (Longtake nano), not a VAE; choose it"),
        ("text_encoder", write_vae, "is a VAE (Longtake nano), not a text encoder"),
        ("dit", broken, "NaN or infinite in 1 of"),
        ("dit", cut, "is cut short"),
        ("dit", mixed, "2 of another shape (blocks.0.ffn.0.bias is (96,)"),
        ("dit", lora, "is a LoRA. Load the model first"),
        ("vae", lora, "is a LoRA. Load the model first"),
        ("dit", vace_cut, "1 missing (vace_blocks.0.after_proj.weight)"),
        ("dit", vace_alone, "VACE's blocks without the model that they belong to"),
        ("dit", vace_of_others, "a VACE model that is shown 80 channels; those known here are"),
        ("dit", bias_only, "is incomplete: it has no tensor 'patch_embedding.weight'"),
        ("dit", lambda p: p.write_bytes(b""), "is empty (0 bytes)"),
        ("vae", lambda p: p.write_text("<!DOCTYPE html>"), "is a web page"),
        ("dit", lambda p: p.write_bytes(b"PK\x03\x04" + bytes(99)), "a PyTorch pickle"),
        ("text_encoder", lambda p: p.write_bytes(b"GGUF" + bytes(99)), "is a GGUF file"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_it_is_named_in_a_line(pack, put, slot, write, said):
    assert said in refusal(pack, slot, put(slot, write))


def test_a_text_encoder_in_other_slots(pack, put, tmp_path):
    for slot in ("dit", "vae"):
        name = put(slot, lambda path: write_text_encoder(path, tmp_path))
        assert "is a text encoder (Longtake nano)" in refusal(pack, slot, name)


def test_a_large_file_is_looked_at_here_and_there_and_wholly_once_it_fails(pack, put, monkeypatch):
    monkeypatch.setattr("longtake.models.checkpoint.SMALL_MODEL", 0)
    monkeypatch.setattr("longtake.models.checkpoint.SMALL_TENSOR", 4096)
    weights = random_weights(WanDiT(DIT), 1)
    note = {"longtake": json.dumps({"kind": "dit", "config": DIT.to_json()})}
    weights["patch_embedding.weight"].view(-1)[-1] = torch.nan
    name = put("dit", lambda path: save_file(weights, path, note))
    assert "patch_embedding.weight" in refusal(pack, "dit", name)

    weights["patch_embedding.weight"].view(-1)[-1] = 0.0
    hidden = weights["time_projection.1.weight"].view(-1)  # 24 KiB in float32
    hidden[hidden.numel() // 3] = torch.nan
    name = put("dit", lambda path: save_file(weights, path, note))
    model = pack.load.load_model(name)
    levels = torch.tensor([1.0, 0.5, 0.0])
    prompts = prompt(model, 1), prompt(model, 2)
    empty = {"samples": torch.zeros(SHAPE)}
    with pytest.raises(CheckpointError, match=r"'bad.safetensors' .*time_projection.1.weight"):
        sample(pack, model, *prompts, empty, levels, seed=1, cfg=2.0)


@pytest.mark.parametrize("name", ["2.1", "2.2"])
def test_published_vaes_are_known_whole(name):
    from longtake.models.wan.detect import detect
    from longtake.models.wan.vae import WanVAE

    found = detect(header_of(WanVAE(VAE_PRESETS[name], device="meta")), "vae")
    assert (found.config, found.title) == (VAE_PRESETS[name], f"Wan {name} VAE")
    assert found.config != VAE


def test_umt5_xxl_goes_to_core_scaled_or_not(pack, monkeypatch, put):
    """Its sizes are core's own, so nothing smaller can be tried; how it is asked for can."""
    from tests.models.wan.test_detect import UMT5

    asked = []
    monkeypatch.setattr("comfy.sd.load_clip", lambda paths, **kw: asked.append((paths, kw)) or clip)
    clip = pack.load.load_text_encoder(pack.folders.BUILT_IN)
    sizes = {k: [4096 if n == 24 else n for n in shape] for k, shape in UMT5.items()}
    scale = "encoder.block.0.layer.0.SelfAttention.q.scale_weight"
    for extra in ({}, {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn), scale: torch.ones(1)}):
        tensors = {k: torch.zeros(n).to(torch.float8_e4m3fn) for k, n in sizes.items()} | extra
        name = put("text_encoder", lambda path, made=tensors: save_file(made, path))
        pack.load.load_text_encoder(name)
    assert len(asked) == 2
    assert all(kw["clip_type"].name == "WAN" for _, kw in asked)


@pytest.mark.parametrize(
    "colours",
    [
        "x",
        5,
        {"factors": "abc", "bias": [0, 0, 0]},
        {"factors": [[1]]},
        {"factors": [[1, 2, 3]], "bias": [0, 0]},
    ],
)
def test_colours_of_a_preview_that_are_none(pack, put, colours):
    weights = random_weights(WanDiT(DIT), 1)
    name = put("dit", lambda path: write(path, "dit", DIT.to_json(), weights, preview=colours))
    assert "colours of its preview cannot be read" in refusal(pack, "dit", name)


def test_a_vocabulary_that_is_none(pack, put, nano):
    from safetensors.torch import load_file

    made = load_file(nano / "text_encoder.safetensors")
    made["spiece_model"] = torch.zeros_like(made["spiece_model"])
    from longtake.models.weights_file import read_header

    note = dict(read_header(nano / "text_encoder.safetensors").metadata)
    name = put("text_encoder", lambda path: save_file(made, path, note))
    assert "weights or vocabulary are damaged" in refusal(pack, "text_encoder", name)
