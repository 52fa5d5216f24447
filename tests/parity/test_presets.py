"""The presets against diffusers' classes with the published configs: every name, every shape.

Source: transformer/config.json and vae/config.json of the Wan-AI/*-Diffusers repositories.
"""

import pytest
import torch

from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS
from longtake.models.wan.detect import detect
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.keys import dit_from_diffusers, vae_from_diffusers
from longtake.models.wan.vae import WanVAE
from tests.models.reference import (
    AutoencoderKLWan,
    SkyReelsV2Transformer3DModel,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from tests.models.tiny import header_of, shapes_of

COMMON = {
    "attention_head_dim": 128,
    "cross_attn_norm": True,
    "eps": 1e-06,
    "freq_dim": 256,
    "out_channels": 16,
    "patch_size": (1, 2, 2),
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "text_dim": 4096,
}
A14B = {**COMMON, "ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}
PUBLISHED_DITS = {
    # Wan2.1-T2V-1.3B
    "1.3b": {
        **COMMON,
        "ffn_dim": 8960,
        "in_channels": 16,
        "num_attention_heads": 12,
        "num_layers": 30,
    },
    # Wan2.2-TI2V-5B
    "5b": {
        **COMMON,
        "ffn_dim": 14336,
        "in_channels": 48,
        "num_attention_heads": 24,
        "num_layers": 30,
        "out_channels": 48,
    },
    # Wan2.1-T2V-14B, Wan2.2-T2V-A14B
    "14b-t2v": {**A14B, "in_channels": 16},
    # Wan2.1-VACE-1.3B, Wan2.1-VACE-14B, Wan2.2-VACE-Fun-A14B
    "1.3b-vace": {
        **COMMON,
        "ffn_dim": 8960,
        "in_channels": 16,
        "num_attention_heads": 12,
        "num_layers": 30,
        "vace_in_channels": 96,
        "vace_layers": [*range(0, 30, 2)],
    },
    "14b-vace": {
        **A14B,
        "in_channels": 16,
        "vace_in_channels": 96,
        "vace_layers": [0, 5, 10, 15, 20, 25, 30, 35],
    },
    # Wan2.1-I2V-14B-480P and -720P
    "14b-i2v": {**A14B, "in_channels": 36, "added_kv_proj_dim": 5120, "image_dim": 1280},
    # Wan2.2-I2V-A14B
    "14b-i2v-2.2": {**A14B, "in_channels": 36},
}
# Found in a file's header rather than held: Wan2.1-FLF2V-14B-720P, and SkyReels-V2
IMAGE_14B = {**A14B, "in_channels": 36, "added_kv_proj_dim": 5120, "image_dim": 1280}
SKYREELS_14B = {**A14B, "in_channels": 16}
PUBLISHED_VARIANTS = {
    "FLF2V 14B": (WanTransformer3DModel, {**IMAGE_14B, "pos_embed_seq_len": 514}),
    "VACE 1.3B": (WanVACETransformer3DModel, PUBLISHED_DITS["1.3b-vace"]),
    "VACE 14B": (WanVACETransformer3DModel, PUBLISHED_DITS["14b-vace"]),
    "SkyReels-V2 DF 1.3B": (
        SkyReelsV2Transformer3DModel,
        {**PUBLISHED_DITS["1.3b"], "inject_sample_info": True},
    ),
    "SkyReels-V2 DF and T2V 14B": (SkyReelsV2Transformer3DModel, SKYREELS_14B),
    "SkyReels-V2 I2V 14B": (SkyReelsV2Transformer3DModel, IMAGE_14B),
}
# Wan2.1-* and Wan2.2-*-A14B; Wan2.2-TI2V-5B
PUBLISHED_VAES = {
    "2.1": {
        "base_dim": 96,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "temperal_downsample": [False, True, True],
        "z_dim": 16,
    },
    "2.2": {
        "base_dim": 160,
        "decoder_base_dim": 256,
        "dim_mult": [1, 2, 4, 4],
        "in_channels": 12,
        "is_residual": True,
        "num_res_blocks": 2,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
        "temperal_downsample": [False, True, True],
        "z_dim": 48,
    },
}


@pytest.mark.parametrize("preset", PUBLISHED_DITS)
def test_dit(preset):
    ours = shapes_of(WanDiT(DIT_PRESETS[preset], device="meta"))
    published = PUBLISHED_DITS[preset]
    kind = WanVACETransformer3DModel if "vace_layers" in published else WanTransformer3DModel
    assert [*DIT_PRESETS[preset].vace_layers] == published.get("vace_layers", [])
    with torch.device("meta"):
        theirs = shapes_of(kind(**published))
    assert {dit_from_diffusers(name): shape for name, shape in theirs.items()} == ours
    assert DIT_PRESETS[preset].head_dim == PUBLISHED_DITS[preset]["attention_head_dim"]
    assert DIT_PRESETS[preset].eps == PUBLISHED_DITS[preset]["eps"]


@pytest.mark.parametrize("variant", PUBLISHED_VARIANTS)
def test_variants_are_found_at_their_whole_size(variant):
    kind, published = PUBLISHED_VARIANTS[variant]
    with torch.device("meta"):
        network = kind(**published)
    found = detect(header_of(network), "dit")
    ours = shapes_of(WanDiT(found.config, device="meta"))
    assert {dit_from_diffusers(name): shape for name, shape in shapes_of(network).items()} == ours
    assert found.config.frame_rates == published.get("inject_sample_info", False)
    assert found.config.image_positions == published.get("pos_embed_seq_len")


@pytest.mark.parametrize("preset", PUBLISHED_VAES)
def test_vae(preset):
    ours = shapes_of(WanVAE(VAE_PRESETS[preset], device="meta"))
    with torch.device("meta"):
        theirs = shapes_of(AutoencoderKLWan(**PUBLISHED_VAES[preset]))
    rename = vae_from_diffusers(theirs)
    assert {rename(name): shape for name, shape in theirs.items()} == ours
    assert VAE_PRESETS[preset].stride_t == 4
    assert VAE_PRESETS[preset].stride_hw == PUBLISHED_VAES[preset].get("scale_factor_spatial", 8)


def test_every_published_preset_is_held():
    assert set(PUBLISHED_DITS) | {"nano"} == set(DIT_PRESETS)
    assert set(PUBLISHED_VAES) | {"nano"} == set(VAE_PRESETS)
