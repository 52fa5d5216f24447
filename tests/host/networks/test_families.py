"""Published kinds of files at reduced sizes: loaded by name, run, and compared with core."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from longtake.engine.sampling.presets import DMD, FAMILIES
from longtake.models.errors import CheckpointError, InputError
from longtake.models.wan.config import DiTConfig, Layout
from longtake.models.wan.dit import WanDiT
from tests.host.conftest import random_weights
from tests.host.runs import ksampler, latents, prompt, seen
from tests.models.reference import diffusers_skyreels
from tests.models.tiny import dit_to_diffusers

# Heads of 128 and text of 4096 in 512 places, as every published one; all else reduced.
T2V = DiTConfig(width=128, depth=1, heads=1, mlp_width=96)
TI2V = replace(T2V, in_channels=48, out_channels=48, frame_levels=True)
I2V = replace(T2V, in_channels=36)
CLIP = replace(I2V, image_width=1280)
FLF2V = replace(CLIP, image_positions=514)
VACE = replace(T2V, depth=2, vace_blocks=1)
DF = replace(T2V, frame_levels=True, frame_rates=True)


@dataclass(frozen=True)
class File:
    """A checkpoint as somebody publishes it.

    Attributes:
        name: of the file.
        config: what is in it.
        family: what it should be found to be.
        prefix: before every tensor's name.
        dtype: of its tensors.
        layout: "official" or "diffusers".
        shards: in how many files.
    """

    name: str
    config: DiTConfig
    family: str
    prefix: str = ""
    dtype: torch.dtype = torch.float32
    layout: str = "official"
    shards: int = 1


FILES = [
    File("wan2.1_t2v_1.3B_fp32.safetensors", T2V, "Wan 2.1 T2V 1.3B"),
    File("wan2.1_t2v_1.3B_fp16.safetensors", T2V, "Wan 2.1 T2V 1.3B", dtype=torch.float16),
    File("wan2.1_t2v_1.3B_bf16.safetensors", T2V, "Wan 2.1 T2V 1.3B", dtype=torch.bfloat16),
    File("wan2.1_t2v_fp8.safetensors", T2V, "Wan 2.1 T2V 1.3B", dtype=torch.float8_e4m3fn),
    File("wan2.1_t2v_e5m2.safetensors", T2V, "Wan 2.1 T2V 1.3B", dtype=torch.float8_e5m2),
    File("all_in_one.safetensors", T2V, "Wan 2.1 T2V 1.3B", prefix="model.diffusion_model."),
    File("Self-Forcing/self_forcing_dmd.safetensors", T2V, "Self-Forcing 1.3B", prefix="model."),
    File("Wan21_T2V_1_3B_CausVid.safetensors", T2V, "CausVid 1.3B"),
    File("FastWan2.1-T2V-1.3B.safetensors", T2V, "FastWan 2.1 1.3B"),
    File("wan2.1_i2v_480p_14B.safetensors", CLIP, "Wan 2.1 I2V 14B"),
    File("wan2.1_flf2v_720p_14B.safetensors", FLF2V, "Wan 2.1 FLF2V 14B"),
    File("wan2.2_i2v_high_noise_14B.safetensors", I2V, "Wan 2.2 I2V A14B"),
    File("wan2.2_ti2v_5B_fp16.safetensors", TI2V, "Wan 2.2 TI2V 5B", dtype=torch.float16),
    File("SkyReels-V2-I2V-14B-540P.safetensors", CLIP, "SkyReels-V2 I2V"),
    File("T2V/diffusion.safetensors", T2V, "Wan 2.1 T2V 1.3B", layout="diffusers"),
    File("I2V/diffusion.safetensors", CLIP, "Wan 2.1 I2V 14B", layout="diffusers"),
    File("5B/diffusion.safetensors", TI2V, "Wan 2.2 TI2V 5B", layout="diffusers", shards=3),
    File("wan2.1_vace_1.3B_fp16.safetensors", VACE, "Wan 2.1 VACE 1.3B"),
    File("wan2.1_vace_fp8.safetensors", VACE, "Wan 2.1 VACE 1.3B", dtype=torch.float8_e4m3fn),
    File("VACE/diffusion.safetensors", VACE, "Wan 2.1 VACE 1.3B", layout="diffusers"),
    File("t2v-two.safetensors", T2V, "Wan 2.1 T2V 1.3B", dtype=torch.bfloat16, shards=2),
]


@pytest.fixture
def models(comfyui):
    folder = comfyui.base / "models" / "diffusion_models"
    folder.mkdir(exist_ok=True)
    yield folder
    for file in folder.rglob("*.*"):
        file.unlink()


def written(folder: Path, file: File) -> tuple[str, dict]:
    """Writes the file; gives its name in the menu, and its weights by their official names."""
    weights = random_weights(WanDiT(file.config), 7)
    weights = {k: w.to(file.dtype) for k, w in weights.items()}
    rename = dit_to_diffusers if file.layout == "diffusers" else str
    named = {file.prefix + rename(k): w.contiguous() for k, w in weights.items()}
    path = folder / file.name
    path.parent.mkdir(exist_ok=True)
    if file.shards == 1:
        save_file(named, path)
        return file.name, weights
    where = {}
    for i in range(file.shards):
        part = f"{path.stem}-{i + 1:05}-of-{file.shards:05}.safetensors"
        tensors = dict(list(named.items())[i :: file.shards])
        save_file(tensors, path.parent / part)
        where |= dict.fromkeys(tensors, part)
    index = Path(f"{path}.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index.relative_to(folder).as_posix(), weights


def conditions(config: DiTConfig, model, shape) -> dict:
    """Settings for KSampler with everything that a checkpoint of this kind reads."""
    from types import SimpleNamespace

    extras = {}
    if config.vace_blocks:
        extras = {
            "vace_frames": [latents(seed, (1, 32, *shape[2:])) for seed in (6, 7)],
            "vace_mask": [latents(8, (1, 64, *shape[2:])).gt(0).float()] * 2,
            "vace_strength": [1.0, 0.6],
        }
    if config.in_channels > config.out_channels:
        mask = torch.ones(1, 1, *shape[2:])
        mask[:, :, :1] = 0
        extras = {"concat_latent_image": latents(4, shape), "concat_mask": mask}
    if config.image_width:
        tokens = latents(5, (1, config.image_positions or 257, config.image_width))
        extras["clip_vision_output"] = SimpleNamespace(penultimate_hidden_states=tokens)
    latent = {"samples": torch.zeros(shape)}
    if config.frame_levels:
        mask = torch.ones(1, 1, *shape[2:])
        mask[:, :, :1] = 0
        latent = {"samples": latents(3, shape), "noise_mask": mask}
    prompts = (prompt(model, seed, tokens=512, **extras) for seed in (1, 2))
    return {
        **dict(zip(("positive", "negative"), prompts, strict=True)),
        "latent_image": latent,
        "steps": 1,
        "cfg": 1.0,
    }


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_it_samples_what_core_samples(pack, models, file):
    import comfy.sd

    name, weights = written(models, file)
    core = comfy.sd.load_diffusion_model_state_dict(dict(weights))
    ours = pack.load.load_model(name)
    assert ours.model.family.title == file.family
    assert pack.transformer.config_of(ours) == file.config
    settings = conditions(file.config, ours, (1, file.config.out_channels, 2, 4, 6))
    expected, got = ksampler(core, **settings), ksampler(ours, **settings)
    assert (got - expected).norm() / expected.norm() < 1e-5


SPELLINGS = {
    "2025": ("scaled_fp8", torch.zeros(2, dtype=torch.float8_e4m3fn), "scale_weight", ()),
    "one axis": ("scaled_fp8", torch.zeros(0, dtype=torch.float8_e4m3fn), "scale_weight", (1,)),
    "later": (None, None, "weight_scale", ()),
}


def scaled(weights: dict, spelling: str) -> tuple[dict, dict]:
    """A scaled fp8 file of these weights, and the numbers it stands for."""
    mark, value, suffix, shape = SPELLINGS[spelling]
    stored, meant = {}, {}
    for name, weight in weights.items():
        if name.startswith(("blocks.", "vace_blocks.")) and weight.ndim == 2:
            scale = weight.abs().max() / 448
            fp8 = (weight / scale).to(torch.float8_e4m3fn)
            stored[name] = fp8
            stored[f"{name.removesuffix('weight')}{suffix}"] = scale.reshape(shape)
            meant[name] = fp8.float() * scale
        else:
            stored[name] = weight.half()
            meant[name] = weight.half().float()
    if mark:
        stored[mark] = value
    else:
        layers = [n.removesuffix(".weight_scale") for n in stored if n.endswith(".weight_scale")]
        note = torch.frombuffer(bytearray(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
        stored |= {f"{layer}.comfy_quant": note.clone() for layer in layers}
    return stored, meant


def same_weights(pack, weights, config=T2V):
    """A MODEL of plain float32 weights."""
    latent_format = pack.latent_format.format_for(config, built_in=False)
    return pack.transformer.build_model(config, weights, latent_format, torch.float32, "plain")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_scaled_fp8_stays_fp8_and_means_its_numbers(pack, models, spelling):
    stored, meant = scaled(random_weights(WanDiT(T2V), 7), spelling)
    save_file(stored, models / "scaled.safetensors")
    ours = pack.load.load_model("scaled.safetensors")
    layer = ours.model.diffusion_model.blocks[0].ffn[0]
    stored_in = getattr(layer.weight, "_qdata", layer.weight)  # of newer hosts' quantised tensors
    assert stored_in.dtype is torch.float8_e4m3fn
    settings = conditions(T2V, ours, (1, 16, 2, 4, 6))
    got, expected = ksampler(ours, **settings), ksampler(same_weights(pack, meant), **settings)
    assert (got - expected).norm() / expected.norm() < 1e-5
    plain = pack.load.load_model("scaled.safetensors", "bf16")
    assert plain.model.diffusion_model.blocks[0].ffn[0].weight.dtype is torch.bfloat16
    got = ksampler(plain, **settings)
    assert (got - expected).norm() / expected.norm() < 0.03  # bf16 has 8 bits


def test_vace_in_scaled_fp8_follows_as_its_numbers_would(pack, models):
    config = replace(T2V, depth=2, vace_blocks=1)
    stored, meant = scaled(random_weights(WanDiT(config), 7), "2025")
    assert stored["vace_blocks.0.before_proj.weight"].dtype is torch.float8_e4m3fn
    save_file(stored, models / "scaled.safetensors")
    ours, rng = pack.load.load_model("scaled.safetensors"), torch.Generator().manual_seed(3)
    shown = {
        "vace_frames": [torch.randn(1, 32, 2, 4, 6, generator=rng)],
        "vace_mask": [torch.rand(1, 64, 2, 4, 6, generator=rng).round()],
        "vace_strength": [0.7],
    }
    settings = conditions(config, ours, (1, 16, 2, 4, 6))
    settings |= {"positive": prompt(ours, 1, **shown), "negative": prompt(ours, 2, **shown)}
    plain = same_weights(pack, meant, config)
    got, expected = ksampler(ours, **settings), ksampler(plain, **settings)
    assert (got - expected).norm() / expected.norm() < 1e-5
    bare = ksampler(ours, **conditions(config, ours, (1, 16, 2, 4, 6)))
    assert not torch.allclose(bare, got)


def test_scaled_fp8_is_core_scaled_fp8(pack, models):
    import comfy.sd

    stored, _ = scaled(random_weights(WanDiT(T2V), 7), "2025")
    save_file(stored, models / "scaled.safetensors")
    core = comfy.sd.load_diffusion_model(str(models / "scaled.safetensors"))
    ours = pack.load.load_model("scaled.safetensors")
    settings = conditions(T2V, ours, (1, 16, 2, 4, 6))
    expected, got = ksampler(core, **settings), ksampler(ours, **settings)
    # Core rounds the half-precision matrices outside the blocks to fp8; ours stay as they are.
    assert (got - expected).norm() / expected.norm() < 0.1


def test_a_lora_on_scaled_fp8(pack, models):
    """The host undoes the scale, adds the LoRA, and rounds to fp8 again with the same scale."""
    import comfy.sd

    stored, meant = scaled(random_weights(WanDiT(T2V), 7), "2025")
    save_file(stored, models / "scaled.safetensors")
    rng = torch.Generator().manual_seed(5)
    lora = {
        "diffusion_model.blocks.0.ffn.0.lora_up.weight": torch.randn(96, 4, generator=rng) / 30,
        "diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.randn(4, 128, generator=rng),
    }
    ours, plain = pack.load.load_model("scaled.safetensors"), same_weights(pack, meant)
    settings = conditions(T2V, ours, (1, 16, 2, 4, 6))
    before = ksampler(ours, **settings)
    with_it = [comfy.sd.load_lora_for_models(m, None, lora, 1.0, 0)[0] for m in (ours, plain)]
    got, expected = (ksampler(m, **settings) for m in with_it)
    assert (got - expected).norm() < 0.2 * (expected - before).norm()
    torch.testing.assert_close(ksampler(ours, **settings), before)


def test_scales_by_row_are_multiplied_out(pack, models):
    weights = random_weights(WanDiT(T2V), 7)
    stored, meant = scaled(weights, "2025")
    name = "blocks.0.ffn.0"
    rows = weights[f"{name}.weight"].abs().amax(1, keepdim=True) / 448
    stored[f"{name}.weight"] = (weights[f"{name}.weight"] / rows).to(torch.float8_e4m3fn)
    stored[f"{name}.scale_weight"] = rows
    meant[f"{name}.weight"] = stored[f"{name}.weight"].float() * rows
    save_file(stored, models / "rows.safetensors")
    ours = pack.load.load_model("rows.safetensors")
    assert ours.model.diffusion_model.blocks[0].ffn[0].weight.dtype is torch.float32
    settings = conditions(T2V, ours, (1, 16, 2, 4, 6))
    got, expected = ksampler(ours, **settings), ksampler(same_weights(pack, meant), **settings)
    assert (got - expected).norm() / expected.norm() < 1e-5


def test_fp8_saved_without_its_scales_is_refused(pack, models):
    stored, _ = scaled(random_weights(WanDiT(T2V), 7), "later")
    bare = {k: w for k, w in stored.items() if not k.endswith(("weight_scale", "comfy_quant"))}
    save_file(bare, models / "bare.safetensors")
    with pytest.raises(CheckpointError, match=r"fp8 that needs scales, but it has none") as caught:
        pack.load.load_model("bare.safetensors")
    assert "\n" not in str(caught.value)


def test_skyreels_is_diffusers_with_its_frame_rate(pack, models):
    import warnings

    file = File("SkyReels-V2-DF-1.3B.safetensors", DF, "SkyReels-V2 DF 1.3B", layout="diffusers")
    name, _ = written(models, file)
    ours = pack.load.load_model(name)
    assert ours.model.family.title == file.family
    theirs = diffusers_skyreels(DF)
    weights = {dit_to_diffusers(k): w for k, w in random_weights(WanDiT(DF), 7).items()}
    theirs.load_state_dict(weights, strict=True)
    x, text = latents(3, (1, 16, 3, 4, 6)), prompt(ours, 1, tokens=512)[0][0]
    levels = torch.tensor([[0.0, 500.0, 900.0]])
    for fps, entry in ((16.0, 0), (24.0, 1)):
        got = ours.model.diffusion_model(x, levels, text, fps=fps)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)
            expected = theirs(x, levels, text, None, True, torch.tensor([entry])).sample
        assert (got - expected).norm() / expected.norm() < 1e-5


def test_the_frame_rate_reaches_skyreels_through_the_prompt(pack, models):
    name, _ = written(models, File("df.safetensors", DF, ""))
    model = pack.load.load_model(name)
    with seen(model, lambda *_, **kw: kw.get("fps")) as rates:
        settings = {"latent_image": {"samples": torch.zeros(1, 16, 2, 4, 6)}, "cfg": 1.0}
        ksampler(model, steps=1, positive=prompt(model, 1, frame_rate=16), **settings)
        ksampler(model, steps=1, positive=prompt(model, 1), **settings)
    assert rates == [16.0, None]


def test_a_family_chosen_changes_what_it_was_made_for(pack, models):
    name, _ = written(models, File("some.safetensors", T2V, ""))
    model = pack.load.load_model(name, family="CausVid 1.3B")
    assert pack.settings.settings_of(model) is DMD
    assert "recognised by your choice" in pack.settings.described(model)
    auto = pack.load.load_model(name)
    assert pack.settings.shift_for(auto) == 8
    assert (
        "1.3B, a guess: set family if that is wrong\nits tensors would fit Self-Forcing 1.3B"
        in (pack.settings.described(auto))
    )
    with pytest.raises(InputError, match="its tensors are those of Wan 2.1 T2V 1.3B or"):
        pack.load.load_model(name, family="Wan 2.2 TI2V 5B")


def test_presets_are_in_the_order_of_the_nodes_outputs(pack, model):
    values = pack.settings.preset(model)
    assert list(values) == [
        *("steps", "shift", "cfg", "fps", "seconds", "width", "height", "negative")
    ]
    assert values["seconds"] == pytest.approx(17 / 8)
    assert pack.experts.cfg_for(model) == 4.0


def test_relatives_are_sent_to_nodes_that_there_are(comfyui):
    from longtake.models.wan.relatives import UNSUPPORTED

    known = comfyui.nodes.NODE_CLASS_MAPPINGS
    named = [w.strip(".,") for *_, remedy in UNSUPPORTED for w in remedy.split() if "ToVideo" in w]
    assert len(named) >= 6
    assert all(name in known for name in named)


def test_every_family_that_tensors_show_is_among_the_files():
    shown = {file.family for file in FILES} | {"SkyReels-V2 DF 1.3B", "Longtake nano"}
    by_width = {
        f.title for f in FAMILIES if f.layout in (Layout.T2V_14B, Layout.VACE_14B)
    }  # only 5120 channels show it
    assert {f.title for f in FAMILIES} - shown - by_width == {
        "FastWan 2.2 5B",
        "Longtake nano-fast",
    }


def test_a_checkpoint_in_parts_is_one_entry(pack, models):
    name, _ = written(models, File("five.safetensors", T2V, "", shards=2))
    assert pack.folders.weights_menu("dit")[1:] == [name] == ["five.safetensors.index.json"]
    part = pack.load.load_model("five-00002-of-00002.safetensors")  # any part stands for all
    assert pack.transformer.config_of(part) == T2V
    (models / name).unlink()
    assert pack.folders.weights_menu("dit")[1:] == ["five-00001-of-00002.safetensors"]
    with pytest.raises(InputError, match=r"Nearest: 'five-00001-of-00002\.safetensors'"):
        pack.load.load_model(name)


@pytest.mark.parametrize("up", ["../{}", "/{}", "five/../../{}"])
def test_an_index_elsewhere_is_refused(pack, models, up):
    name, _ = written(models, File("five.safetensors", T2V, "", shards=2))
    (models.parent / name).write_text((models / name).read_text())
    with pytest.raises(InputError, match="there is no"):
        pack.load.load_model(up.format(name))
    (models.parent / name).unlink()


def test_a_shard_replaced_is_noticed(pack, models):
    name, _ = written(models, File("five.safetensors", T2V, "", shards=2))
    first = pack.load.load_model(name)
    assert pack.load.load_model(name).model is first.model
    weights = random_weights(WanDiT(T2V), 8)
    part = next(models.glob("five-00002*"))
    save_file({k: weights[k] for k in load_file(part)}, part)
    assert pack.load.load_model(name).model is not first.model
