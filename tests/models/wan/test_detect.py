import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.models.errors import CheckpointError
from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS, DiTConfig
from longtake.models.wan.detect import detect
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.vae import WanVAE
from longtake.models.weights_file import Header, TensorInfo
from tests.models.reference import diffusers_dit, diffusers_skyreels, diffusers_vae
from tests.models.tiny import NANO_LIKE, REAL_HEADS, VAE_21, VAE_22, header_of

UMT5 = {
    "shared.weight": (300, 24),
    "encoder.final_layer_norm.weight": (24,),
    **{
        f"encoder.block.{i}.layer.{name}.weight": shape
        for i in range(2)
        for name, shape in {
            "0.SelfAttention.q": (32, 24),
            "0.SelfAttention.relative_attention_bias": (32, 4),
            "1.DenseReluDense.wi_0": (56, 24),
        }.items()
    },
}
T5 = {k: v for k, v in UMT5.items() if "block.1.layer.0.SelfAttention.rel" not in k}


def header(shapes: dict, dtype="BF16", metadata=None, name="file.safetensors") -> Header:
    path = Path(name)
    return Header(
        path, {k: TensorInfo(tuple(v), dtype, path) for k, v in shapes.items()}, metadata or {}
    )


def with_extra(base: Header, extra: dict, dtype="BF16") -> Header:
    return replace(base, tensors={**base.tensors, **header(extra, dtype).tensors})


def dit_header(**changes) -> Header:
    return header_of(WanDiT(replace(REAL_HEADS, **changes), device="meta"))


def refusal(what: Header, want=None) -> str:
    with pytest.raises(CheckpointError) as caught:
        detect(what, want)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"'{what.name}'")
    return message


TITLES = {
    "1.3b": "Wan T2V",
    "14b-t2v": "Wan T2V 14B",
    "5b": "Wan 2.2 TI2V",
    "1.3b-vace": "Wan VACE",
    "14b-vace": "Wan VACE 14B",
    "14b-i2v": "Wan 2.1 I2V",
    "14b-i2v-2.2": "Wan 2.2 I2V",
}


def shallow(preset: str, depth: int) -> DiTConfig:
    """A preset with fewer blocks, and fewer of VACE's."""
    config = DIT_PRESETS[preset]
    return replace(config, depth=depth, vace_blocks=min(config.vace_blocks, 2))


@pytest.mark.parametrize("prefix", ["", "model.", "model.diffusion_model.", "module.model."])
@pytest.mark.parametrize("preset", TITLES)
def test_published_transformers_are_known_by_shape(preset, prefix):
    config = shallow(preset, 11)  # whole depths are in tests/parity
    module = WanDiT(config, device="meta")
    found = detect(header_of(module, prefix=prefix))
    assert (found.kind, found.title) == ("dit", TITLES[preset])
    assert found.config == config
    assert found.names == {prefix + name: name for name in module.state_dict()}
    assert found.dtype is torch.bfloat16
    assert not found.built_in


@pytest.mark.parametrize("preset", TITLES)
def test_diffusers_transformers_give_the_same(preset):
    config = shallow(preset, 3)
    found = detect(header_of(diffusers_dit(config, "meta")))
    assert found.config == config
    assert set(found.names.values()) == set(WanDiT(config, device="meta").state_dict())


def test_an_average_of_the_weights_is_preferred():
    parts = {}
    for prefix in ("generator.model.", "generator_ema.model."):
        parts |= header_of(WanDiT(REAL_HEADS, device="meta"), prefix=prefix).tensors
    names = detect(replace(header({}), tensors=parts)).names
    assert all(name.startswith("generator_ema.") for name in names)


@pytest.mark.parametrize("made", [WanDiT, diffusers_skyreels])
def test_skyreels_is_known_by_its_frame_rates(made):
    config = replace(DIT_PRESETS["1.3b"], depth=2, frame_levels=True, frame_rates=True)
    found = detect(header_of(made(config, device="meta")))
    assert (found.title, found.config) == ("SkyReels-V2 DF", config)
    assert set(found.names.values()) == set(WanDiT(config, device="meta").state_dict())


def test_two_images_make_it_flf2v():
    config = replace(DIT_PRESETS["14b-i2v"], depth=1, image_positions=514)
    for module in (WanDiT(config, device="meta"), diffusers_dit(config, "meta")):
        found = detect(header_of(module))
        assert (found.title, found.config) == ("Wan 2.1 FLF2V", config)


def test_an_unused_norm_in_diffusers_files_is_left_out():
    config = replace(DIT_PRESETS["14b-i2v"], depth=1)
    base = header_of(diffusers_dit(config, "meta"))
    extra = with_extra(base, {"blocks.0.attn2.norm_added_q.weight": (5120,)})
    assert detect(extra).names == detect(base).names


VAES = {**VAE_PRESETS, "2.1": VAE_PRESETS["2.1"], "a": VAE_21, "b": VAE_22, "c": NANO_LIKE}


@pytest.mark.parametrize("config", VAES.values(), ids=VAES)
def test_vaes_of_any_width_are_known_by_shape(config):
    module = WanVAE(config, device="meta")
    for prefix in ("", "vae.", "first_stage_model."):
        found = detect(header_of(module, prefix=prefix))
        assert (found.kind, found.config) == ("vae", config)
        own = config == VAE_PRESETS["nano"]  # saved by core's nodes, which leave the note out
        assert found.title == ("Longtake nano" if own else f"Wan {config.layout} VAE")
        assert set(found.names.values()) == set(module.state_dict())
    found = detect(header_of(diffusers_vae(config, "meta")))
    assert found.config == config
    assert set(found.names.values()) == set(module.state_dict())


def test_umt5_is_known_and_plain_t5_is_not_taken_for_it():
    found = detect(header(UMT5, "F16"), "text_encoder")
    assert (found.kind, found.title, found.dtype) == ("text_encoder", "UMT5", torch.float16)
    assert found.config == {
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 56,
        "num_heads": 4,
        "num_layers": 2,
        "vocab_size": 300,
    }
    assert "T5 text encoder, as Flux and SD3 use it. Wan needs UMT5" in refusal(header(T5))


def test_scaled_fp8_text_encoders_are_left_to_comfyui():
    extra = {"scaled_fp8": (2,), "encoder.block.0.layer.0.SelfAttention.q.scale_weight": (1,)}
    assert detect(header({**UMT5, **extra}, "F8_E4M3")).dtype is torch.float8_e4m3fn


def test_a_file_of_several_networks_gives_the_one_asked_for():
    parts = {}
    for prefix, module in {
        "model.diffusion_model.": WanDiT(REAL_HEADS, device="meta"),
        "vae.": WanVAE(VAE_21, device="meta"),
    }.items():
        parts |= header_of(module, prefix=prefix).tensors
    parts |= header({f"text_encoders.umt5xxl.transformer.{k}": v for k, v in UMT5.items()}).tensors
    whole = replace(header({}), tensors=parts)
    assert detect(whole).config == REAL_HEADS
    assert detect(whole, "vae").config == VAE_21
    assert detect(whole, "text_encoder").config["d_model"] == 24
    assert set(detect(whole, "text_encoder").names.values()) == set(UMT5)


NANO = {"longtake": json.dumps({"kind": "dit", "config": DIT_PRESETS["nano"].to_json()})}


def nano_header() -> Header:
    made = header_of(WanDiT(DIT_PRESETS["nano"], device="meta"))
    return replace(made, metadata=NANO)


def test_a_file_of_our_own_says_what_it_is():
    made = nano_header()
    found = detect(made, "dit")
    assert found.config == DIT_PRESETS["nano"]
    assert found.built_in
    assert found.names == {name: name for name in made.tensors}


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("depth", 10**9), ("depth", 1e300), ("depth", 5), ("width", 10**9), ("width", 6.5),
        ("heads", 10**9), ("heads", 1.0), ("heads", -4), ("text_length", 10**9),
        ("text_length", "x"), ("text_length", 0), ("in_channels", 25), ("mlp_width", [768]),
        ("patch", "x"), ("patch", [1, 2]), ("freq_width", None), ("text_width", 10**400),
        ("eps", "x"), ("eps", 0), ("eps", math.nan), ("eps", 1e9), ("frame_levels", 3),
        ("frame_rates", True), ("image_width", 5), ("image_positions", 10**9),
    ],
)  # fmt: skip
def test_a_number_that_the_shapes_contradict_costs_nothing(number, value):
    note = {"kind": "dit", "config": {**DIT_PRESETS["nano"].to_json(), number: value}}
    made = replace(nano_header(), metadata={"longtake": json.dumps(note)})
    started = time.perf_counter()
    message = refusal(made)
    assert time.perf_counter() - started < 1
    assert "cannot be read" in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("res_blocks", 10**9), ("residual", "x"), ("decoder_width", 0), ("width", 10**9),
        ("multipliers", [1] * 10**5), ("multipliers", []), ("temporal", [1, 2]), ("patch", -1),
        ("latent_channels", "24"),
    ],
)  # fmt: skip
def test_nor_does_one_of_a_vae(number, value):
    note = {"kind": "vae", "config": {**VAE_PRESETS["nano"].to_json(), number: value}}
    base = header_of(WanVAE(VAE_PRESETS["nano"], device="meta"))
    assert "cannot be read" in refusal(replace(base, metadata={"longtake": json.dumps(note)}))


@pytest.mark.parametrize(
    ("number", "value"),
    [("num_layers", 10**9), ("vocab_size", 10**12), ("d_model", 10**9), ("d_kv", "x"), (None, [])],
)
def test_nor_does_one_of_a_text_encoder(number, value):
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 56, "num_heads": 4, "num_layers": 2,
             "vocab_size": 300}  # fmt: skip
    config = value if number is None else {**sizes, number: value}
    note = json.dumps({"kind": "text_encoder", "config": config})
    assert "cannot be read" in refusal(header(UMT5, metadata={"longtake": note}))


@pytest.mark.parametrize(
    "note",
    [
        "not json",
        "[]",
        "{}",
        '{"kind": "dit"}',
        '{"kind": "painting", "config": {}}',
        '{"kind": "dit", "config": {"width": 64}}',
        '{"kind": "dit", "config": {"width": 64, "depth": 1, "heads": 5, "mlp_width": 8}}',
        '{"kind": "dit", "config": {"colour": "red"}}',
        '{"kind": "dit", "config": 3}',
        '{"kind": "dit", "config": {"width": 64, "depth": 1, "heads": 0, "mlp_width": 8}}',
        '{"kind": ["dit"], "config": {}}',
        '{"kind": "dit", "config": {"width": "64", "depth": 1, "heads": 2, "mlp_width": 8}}',
    ],
)
def test_an_unreadable_note_is_refused(note):
    message = refusal(replace(nano_header(), metadata={"longtake": note}))
    assert "its metadata, which says what it is, cannot be read" in message


@pytest.mark.parametrize(
    ("extra", "family", "remedy"),
    [
        ({"control_adapter.conv.weight": (1,)}, "Wan Fun Camera", "WanCameraImageToVideo"),
        (
            {"casual_audio_encoder.encoder.final_linear.weight": (1,)},
            "Wan 2.2 S2V",
            "WanSoundImageToVideo",
        ),
        ({"audio_proj.audio_proj_glob_1.layer.bias": (1,)}, "HuMo", "WanHuMoImageToVideo"),
        (
            {"face_adapter.fuser_blocks.0.k_norm.weight": (1,)},
            "Wan 2.2 Animate",
            "WanAnimateToVideo",
        ),
        ({"ref_conv.weight": (1,)}, "Wan Fun Control", "WanFunControlToVideo"),
        ({"blocks.0.self_attn.to_gate_compress.weight": (1,)}, "FastWan", "full-attention version"),
    ],
)
def test_relatives_of_wan_are_named_with_what_runs_them(extra, family, remedy):
    for base in (dit_header(), header_of(WanDiT(REAL_HEADS, device="meta"), prefix="model.")):
        prefix = "model." if "model.head.modulation" in base.tensors else ""
        message = refusal(with_extra(base, {prefix + k: v for k, v in extra.items()}))
        assert family in message
        assert remedy in message
        assert "runs T2V, TI2V, I2V, FLF2V and VACE" in message


@pytest.mark.parametrize("channels", [48, 52, 148])
def test_control_channels_make_it_fun_control(channels):
    out = 48 if channels == 148 else 16
    message = refusal(dit_header(in_channels=channels, out_channels=out))
    assert "Wan Fun" in message
    assert "WanFunControlToVideo" in message


def test_other_channels_are_refused_with_the_known_ones():
    message = refusal(dit_header(in_channels=19))
    assert "takes 19 channels and gives 16" in message
    assert "T2V 16 to 16, I2V 36 to 16, TI2V 48 to 48" in message


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "a LoRA", "LoraLoaderModelOnly"),
        ("lora_unet_blocks_0_ffn_0.lora_down.weight", "a LoRA", "LoraLoaderModelOnly"),
        ("diffusion_model.blocks.0.ffn.0.diff_b", "a LoRA", "LoraLoaderModelOnly"),
        ("vision_model.encoder.layers.0.mlp.fc1.weight", "CLIP image", "CLIPVisionLoader"),
        ("blocks.0.pos_embedding.embedding.weight", "Wan's own naming", "umt5_xxl_fp16"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "another family", "core's"),
        ("model.diffusion_model.input_blocks.0.0.weight", "another family", "core's own loaders"),
        ("fc.weight", "none of the networks known here", "its tensors are fc.weight"),
    ],
)
def test_files_chosen_by_mistake_are_named(name, what, remedy):
    message = refusal(header({name: (4, 4)}))
    assert what in message
    assert remedy in message


@pytest.mark.parametrize(
    ("made", "want", "what"),
    [
        (header_of(WanVAE(VAE_21, device="meta")), "dit", "a VAE (Wan 2.1 VAE), not a video model"),
        (dit_header(), "vae", "a video model (Wan T2V), not a VAE; choose it in Longtake's Load"),
        (header(UMT5), "dit", "a text encoder (UMT5), not a video model"),
        (nano_header(), "vae", "a video model (Longtake nano), not a VAE"),
    ],
)
def test_the_wrong_kind_says_where_to_choose_it(made, want, what):
    assert what in refusal(made, want)


def scaled(spelling: str, mark: dict, base: Header | None = None) -> Header:
    """A file whose blocks' matrices are fp8 with a scale each."""
    base = base or dit_header()
    fp8 = [n for n, i in base.tensors.items() if "blocks." in n and len(i.shape) == 2]
    fp8 = [name for name in fp8 if name.endswith(".weight")]
    tensors = {n: i._replace(dtype="F8_E4M3" if n in fp8 else i.dtype)
               for n, i in base.tensors.items()}  # fmt: skip
    scales = {f"{name.removesuffix('weight')}{spelling}": () for name in fp8}
    marks = header(mark, "F8_E4M3").tensors
    return replace(base, tensors={**tensors, **header(scales, "F32").tensors, **marks})


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize(
    ("spelling", "mark"), [("scale_weight", {"scaled_fp8": (2,)}), ("weight_scale", {})]
)
def test_scales_of_fp8_go_with_their_weights(spelling, mark, prefix):
    network = WanDiT(REAL_HEADS, device="meta")
    mark = {prefix + name: shape for name, shape in mark.items()}
    found = detect(scaled(spelling, mark, header_of(network, prefix=prefix)))
    assert found.scaled
    assert found.config == REAL_HEADS
    names = set(found.names.values())
    matrices = {n for n, p in network.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
    assert names == set(network.state_dict()) | {
        n.removesuffix("weight") + "scale_weight" for n in matrices
    }
    assert found.names[f"{prefix}blocks.1.ffn.0.{spelling}"] == "blocks.1.ffn.0.scale_weight"


def test_scales_of_a_diffusers_file_are_renamed_with_their_weights():
    base = header_of(diffusers_dit(REAL_HEADS, "meta"))
    found = detect(scaled("weight_scale", {}, base))
    assert found.names["blocks.0.attn2.to_q.weight_scale"] == "blocks.0.cross_attn.q.scale_weight"


def test_scales_of_activations_are_left_out():
    base = scaled("scale_weight", {"scaled_fp8": ()})
    more = with_extra(base, {"blocks.0.self_attn.q.scale_input": ()}, "F32")
    assert detect(more).names == detect(base).names


def test_fp8_that_lost_its_scales_is_refused():
    whole = scaled("scale_weight", {"scaled_fp8": (2,)})
    lost = without(whole, "blocks.0.ffn.0.scale_weight")
    assert "the scales of 1 of its fp8 weights are missing (blocks.0.ffn.0.weight)" in refusal(lost)
    none = without(whole, *(name for name in whole.tensors if name.endswith("scale_weight")))
    assert "the scales of 20 of its fp8 weights are missing" in refusal(none)


def test_other_quantisations_are_refused():
    packed = scaled("weight_scale", {})
    blocks = with_extra(packed, {"blocks.0.ffn.0.weight_scale": (96, 16)}, "U8")
    assert "holds the scale 'blocks.0.ffn.0.weight_scale' as U8 numbers" in refusal(blocks)


def test_integer_weights_are_refused():
    message = refusal(with_extra(dit_header(), {"blocks.0.ffn.0.weight": (96, 256)}, "I8"))
    assert "weights as I8 numbers (blocks.0.ffn.0.weight)" in message


def without(base: Header, *names: str) -> Header:
    return replace(base, tensors={k: v for k, v in base.tensors.items() if k not in names})


@pytest.mark.parametrize(
    "name",
    [
        "patch_embedding.weight",
        "head.head.weight",
        "blocks.0.ffn.0.weight",
        "text_embedding.0.weight",
        "time_embedding.0.weight",
    ],
)
def test_a_transformer_without_a_telling_tensor_is_incomplete(name):
    assert f"incomplete: it has no tensor '{name}'" in refusal(without(dit_header(), name))


def test_a_gap_in_the_blocks_is_named_and_a_huge_number_costs_nothing():
    base = dit_header(depth=3)
    gap = without(base, *(name for name in base.tensors if name.startswith("blocks.1.")))
    assert "it has no 'blocks.1'" in refusal(gap)
    far = with_extra(dit_header(), {"blocks.999999999999.ffn.0.bias": (1,)})
    assert "it has no 'blocks.2'" in refusal(far)


def test_packed_shapes_and_odd_widths_are_refused():
    flat = with_extra(dit_header(), {"patch_embedding.weight": (256, 64)})
    assert "'patch_embedding.weight' is (256, 64), but it should have 5 axes" in refusal(flat)
    empty = with_extra(dit_header(), {"blocks.0.ffn.0.weight": (0, 256)})
    assert "(0, 256), but it should have 2 axes" in refusal(empty)
    assert "is 100 channels wide" in refusal(dit_header(width=100))


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_a_vae_that_lost_blocks_or_sizes_is_refused(config):
    base = header_of(WanVAE(config, device="meta"))
    lost = "encoder.downsamples.1.downsamples.0." if config.residual else "encoder.downsamples.4."
    gone = without(base, *(name for name in base.tensors if name.startswith(lost)))
    assert "incomplete" in refusal(gone)
    odd = with_extra(base, {"encoder.conv1.weight": (4, 7, 3, 3, 3)})
    assert "not its sizes" in refusal(odd)


def test_shapes_cannot_show_what_is_no_number_of_the_config():
    """What detection must assume is written down here."""
    found = detect(dit_header()).config
    assert isinstance(found, DiTConfig)
    assert found.head_dim == 128
    assert found.text_length == 512 == DiTConfig.text_length
    assert found.eps == DiTConfig.eps
