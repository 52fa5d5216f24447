"""The networks of diffusers and transformers that ours are compared with, built as published."""

import warnings
from typing import Any

import torch

from longtake.models.wan.config import DiTConfig, VAEConfig

with warnings.catch_warnings():
    # torchvision's compiled half may be missing beside a CPU build of torch; nothing here uses it.
    warnings.filterwarnings("ignore", "Failed to load image Python extension", UserWarning)
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

__all__ = [
    "AutoencoderKLWan",
    "UMT5Config",
    "UMT5EncoderModel",
    "WanTransformer3DModel",
    "diffusers_dit",
    "diffusers_vae",
]


def diffusers_dit(config: DiTConfig, device: str = "cpu") -> WanTransformer3DModel:
    with torch.device(device):
        return WanTransformer3DModel(**diffusers_dit_config(config)).eval().requires_grad_(False)


def diffusers_dit_config(config: DiTConfig) -> dict[str, Any]:
    return {
        "patch_size": config.patch,
        "num_attention_heads": config.heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "text_dim": config.text_width,
        "freq_dim": config.freq_width,
        "ffn_dim": config.mlp_width,
        "num_layers": config.depth,
        "eps": config.eps,
        "image_dim": config.image_width,
        "added_kv_proj_dim": config.width if config.image_width else None,
        "pos_embed_seq_len": config.image_positions,
    }


def diffusers_vae(config: VAEConfig, device: str = "cpu") -> AutoencoderKLWan:
    with torch.device(device):
        return AutoencoderKLWan(**diffusers_vae_config(config)).eval().requires_grad_(False)


def diffusers_vae_config(config: VAEConfig) -> dict[str, Any]:
    return {
        "base_dim": config.width,
        "decoder_base_dim": config.decoder_width,
        "z_dim": config.latent_channels,
        "dim_mult": list(config.multipliers),
        "num_res_blocks": config.res_blocks,
        "temperal_downsample": list(config.temporal),
        "is_residual": config.residual,
        "in_channels": config.pixel_channels,
        "out_channels": config.pixel_channels,
        "patch_size": config.patch if config.patch > 1 else None,
        "scale_factor_temporal": config.stride_t,
        "scale_factor_spatial": config.stride_hw,
    }
