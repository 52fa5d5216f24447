"""LoRAs as they are published for Wan: each way of naming and writing, on core's model and ours.

Core applies them, by the names of parameters; ours must have every parameter where core looks.
"""

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.errors import CheckpointError, InputError
from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.host.conftest import random_weights
from tests.host.runs import ksampler, prompt
from tests.models.tiny import dit_to_diffusers

SIZES = DiTConfig(width=128, depth=2, heads=1, mlp_width=96, text_length=7)
LAYERS = {  # layer -> (out, in)
    "blocks.0.self_attn.q": (128, 128),
    "blocks.1.self_attn.o": (128, 128),
    "blocks.1.cross_attn.k": (128, 128),
    "blocks.0.ffn.0": (96, 128),
    "blocks.1.ffn.2": (128, 96),
}


def rng():
    return torch.Generator().manual_seed(9)


def low_rank(draw, out, into, rank=4):
    return torch.randn(out, rank, generator=draw) / 8, torch.randn(rank, into, generator=draw) / 8


def musubi(draw):
    """`lora_unet_` and underscores, with alpha: musubi-tuner, kohya."""
    for layer, (out, into) in LAYERS.items():
        up, down = low_rank(draw, out, into)
        name = f"lora_unet_{layer.replace('.', '_')}"
        yield from {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}.items()
        yield f"{name}.alpha", torch.tensor(2.0)


def native(draw):
    """`diffusion_model.` and A, B: diffusion-pipe, lightx2v, ComfyUI's own."""
    for layer, (out, into) in LAYERS.items():
        up, down = low_rank(draw, out, into)
        yield f"diffusion_model.{layer}.lora_B.weight", up
        yield f"diffusion_model.{layer}.lora_A.weight", down


def full(draw):
    """Differences to whole parameters, those of modulation, norms and biases among them."""
    yield "diffusion_model.blocks.0.ffn.0.diff", torch.randn(96, 128, generator=draw) / 30
    yield "diffusion_model.blocks.0.ffn.0.diff_b", torch.randn(96, generator=draw)
    yield "diffusion_model.blocks.1.self_attn.norm_q.diff", torch.randn(128, generator=draw)
    yield "diffusion_model.blocks.1.norm3.diff", torch.randn(128, generator=draw)
    yield "diffusion_model.blocks.1.norm3.diff_b", torch.randn(128, generator=draw)
    yield "diffusion_model.head.head.diff_b", torch.randn(64, generator=draw)
    yield "diffusion_model.patch_embedding.diff_b", torch.randn(128, generator=draw)
    yield "diffusion_model.time_projection.1.diff_b", torch.randn(768, generator=draw)


def dora(draw):
    """Low rank and a new length for every row."""
    for layer, (out, into) in LAYERS.items():
        up, down = low_rank(draw, out, into)
        yield f"diffusion_model.{layer}.lora_up.weight", up
        yield f"diffusion_model.{layer}.lora_down.weight", down
        yield f"diffusion_model.{layer}.dora_scale", 1 + torch.rand(out, 1, generator=draw)


def modulation(draw):
    yield "diffusion_model.blocks.0.modulation.diff", torch.randn(1, 6, 128, generator=draw)
    yield "diffusion_model.blocks.1.modulation.diff", torch.randn(1, 6, 128, generator=draw)
    yield "diffusion_model.head.modulation.diff", torch.randn(1, 2, 128, generator=draw)


WRITTEN = {"musubi": musubi, "native": native, "full": full, "dora": dora}


@pytest.fixture
def both(pack):
    """Core's MODEL and ours, of the same weights."""
    import comfy.sd

    weights = random_weights(WanDiT(SIZES), 7)
    core = comfy.sd.load_diffusion_model_state_dict(dict(weights))
    latent_format = pack.latent_format.format_for(SIZES, built_in=False)
    return core, pack.transformer.build_model(SIZES, weights, latent_format, torch.float32, "test")


def sampled(model, ours, lora=None, strength=0.8):
    import comfy.sd

    if lora:
        model = comfy.sd.load_lora_for_models(model, None, lora, strength, 0)[0]
    prompts = {"positive": prompt(ours, 1), "negative": prompt(ours, 2)}
    empty = {"samples": torch.zeros(1, 16, 2, 4, 6)}
    return ksampler(model, **prompts, latent_image=empty, steps=2, cfg=1.0)


@pytest.mark.parametrize("written", WRITTEN)
def test_it_does_to_ours_what_it_does_to_cores(both, written, caplog):
    core, ours = both
    lora = dict(WRITTEN[written](rng()))
    expected, got = (sampled(model, ours, lora) for model in both)
    change = (expected - sampled(core, ours)).norm()
    assert change > 0.01 * expected.norm(), "the LoRA must count"
    assert (got - expected).norm() < 1e-3 * change
    assert not [r for r in caplog.records if "not loaded" in r.message]


def test_modulation_is_changed_though_core_passes_over_it(pack, both):
    """The definition: the same as a model whose file has the sum."""
    _, ours = both
    lora = dict(modulation(rng()))
    weights = random_weights(WanDiT(SIZES), 7)
    before = sampled(ours, ours)
    got = sampled(ours, ours, lora)
    for name, delta in lora.items():
        key = name.removeprefix("diffusion_model.").removesuffix(".diff")
        weights[key] += 0.8 * delta
    summed = pack.transformer.build_model(
        SIZES, weights, ours.model.latent_format, torch.float32, "sum"
    )
    expected = sampled(summed, ours)
    assert (expected - before).norm() > 0.01 * before.norm()
    assert (got - expected).norm() < 1e-4 * (expected - before).norm()


def in_diffusers_layout(lora):
    """`transformer.blocks.0.attn1.to_q`, as diffusers and PEFT write it."""
    for name, value in lora.items():
        layer, half = name.removeprefix("diffusion_model.").rsplit(".lora_", 1)
        theirs = dit_to_diffusers(f"{layer}.weight").removesuffix(".weight")
        yield f"transformer.{theirs}.lora_{half}", value


@pytest.fixture
def loras(comfyui):
    folder = comfyui.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    yield folder
    for file in folder.glob("*.*"):
        file.unlink()


@pytest.mark.parametrize("written", ["diffusers", "peft", *WRITTEN])
def test_our_loader_reads_them_all(pack, both, loras, written):
    _, ours = both
    source = wanted = dict(WRITTEN.get(written, native)(rng()))
    if written == "diffusers":
        source = dict(in_diffusers_layout(wanted))
    if written == "peft":
        source = {f"base_model.model.{k.removeprefix('diffusion_model.')}": v
                  for k, v in wanted.items()}  # fmt: skip
        source = {k.replace("_A.", "_A.default.").replace("_B.", "_B.default."): v
                  for k, v in source.items()}  # fmt: skip
    save_file({k: v.contiguous() for k, v in source.items()}, loras / "a.safetensors")
    model, fit = pack.lora.add(ours, "a.safetensors", 0.8)
    assert len(fit.patches) >= len(LAYERS)
    assert (fit.used, fit.left) == (set(source), {})
    assert pack.lora.add(model, "a.safetensors", 0.0)[1].used == fit.used
    expected = sampled(ours, ours, wanted)
    torch.testing.assert_close(sampled(model, ours), expected, rtol=0, atol=1e-5)


def test_a_lora_for_another_model_is_refused(pack, both, loras):
    up, down = low_rank(rng(), 8, 8)
    other = {"lora_unet_double_blocks_0_x.lora_up.weight": up,
             "lora_unet_double_blocks_0_x.lora_down.weight": down}  # fmt: skip
    save_file(other, loras / "flux.safetensors")
    with pytest.raises(CheckpointError, match="'flux.safetensors' fits nowhere.*lora_unet_double"):
        pack.lora.add(both[1], "flux.safetensors", 1.0)
    with pytest.raises(InputError, match=r"put the file there. Nearest: 'flux\.safetensors'"):
        pack.lora.add(both[1], "flx.safetensors", 1.0)


def test_what_has_no_place_is_left_out_and_counted(pack, both, loras, caplog):
    """A layer that this model has not, and a shape from another: core only logs them."""
    _, ours = both
    wanted = dict(native(rng()))
    more = {f"diffusion_model.blocks.7.self_attn.q.lora_{half}.weight": torch.ones(shape)
            for half, shape in (("A", (2, 128)), ("B", (128, 2)))}  # fmt: skip
    more |= {"diffusion_model.patch_embedding.diff": torch.ones(128, 36, 1, 2, 2)}
    save_file({**wanted, **more}, loras / "wide.safetensors")
    model, fit = pack.lora.add(ours, "wide.safetensors", 0.8)
    assert (len(fit.patches), fit.used, fit.left.keys()) == (len(LAYERS), set(wanted), set(more))
    assert "blocks.7.self_attn.q.lora_A.weight" in str(fit)
    assert torch.equal(sampled(model, ours), sampled(ours, ours, wanted))
    assert not [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")]


def test_a_lora_of_another_size_is_refused(pack, both, loras):
    up, down = low_rank(rng(), 256, 256)
    layer = "diffusion_model.blocks.0.self_attn.q"
    save_file({f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down},
              loras / "14B.safetensors")  # fmt: skip
    with pytest.raises(
        CheckpointError, match=r"'14B\.safetensors' fits nowhere in this model.*is \(128, 128\)"
    ):
        pack.lora.add(both[1], "14B.safetensors", 1.0)
