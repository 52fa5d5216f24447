"""The networks that ours are compared with: diffusers', transformers' and ComfyUI's.

`import comfy` must work where one of ComfyUI's is built; the fixture `comfyui` sees to that.
"""

import warnings
from typing import Any

import torch
from torch import nn

from longtake.models.wan.config import DiTConfig, VAEConfig
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.keys import vae_from_diffusers
from longtake.models.wan.vae import WanVAE
from tests.models.tiny import dit_to_diffusers

with warnings.catch_warnings():
    # torchvision's compiled half may be missing beside a CPU build of torch; nothing here uses it.
    warnings.filterwarnings("ignore", "Failed to load image Python extension", UserWarning)
    from diffusers import (
        AutoencoderKLWan,
        SkyReelsV2Transformer3DModel,
        WanTransformer3DModel,
        WanVACETransformer3DModel,
    )
    from transformers import UMT5Config, UMT5EncoderModel

__all__ = [
    "AutoencoderKLWan",
    "SkyReelsV2Transformer3DModel",
    "UMT5Config",
    "UMT5EncoderModel",
    "WanTransformer3DModel",
    "WanVACETransformer3DModel",
    "core_dit",
    "core_vae",
    "diffusers_dit",
    "diffusers_skyreels",
    "diffusers_vae",
    "with_weights_of",
]

DIFFUSERS = WanTransformer3DModel | WanVACETransformer3DModel | SkyReelsV2Transformer3DModel


def diffusers_dit(config: DiTConfig, device: str = "cpu") -> nn.Module:
    sizes, kind = diffusers_dit_config(config), WanTransformer3DModel
    if config.vace_blocks:
        kind = WanVACETransformer3DModel
        beside = [*config.vace_layers]
        sizes |= {"vace_layers": beside, "vace_in_channels": config.vace_channels}
    with torch.device(device):
        return kind(**sizes).eval().requires_grad_(False)


def diffusers_skyreels(config: DiTConfig, device: str = "cpu") -> SkyReelsV2Transformer3DModel:
    with torch.device(device):
        sizes = diffusers_dit_config(config)
        network = SkyReelsV2Transformer3DModel(**sizes, inject_sample_info=config.frame_rates)
    return network.eval().requires_grad_(False)


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


def core_dit(config: DiTConfig) -> nn.Module:
    import comfy.ops
    from comfy.ldm.wan.model import VaceWanModel, WanModel

    kind, vace = WanModel, {"model_type": "i2v" if config.image_width else "t2v"}
    if config.vace_blocks:
        kind = VaceWanModel
        vace = {"vace_layers": config.vace_blocks, "vace_in_dim": config.vace_channels}
    return kind(
        **vace,
        patch_size=config.patch,
        in_dim=config.in_channels,
        dim=config.width,
        ffn_dim=config.mlp_width,
        freq_dim=config.freq_width,
        text_dim=config.text_width,
        out_dim=config.out_channels,
        num_heads=config.heads,
        num_layers=config.depth,
        eps=config.eps,
        flf_pos_embed_token_number=config.image_positions,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
    )


def core_vae(config: VAEConfig) -> nn.Module:
    from comfy.ldm.wan import vae, vae2_2

    sizes = {
        "dim": config.width,
        "z_dim": config.latent_channels,
        "dim_mult": list(config.multipliers),
        "num_res_blocks": config.res_blocks,
        "temperal_downsample": list(config.temporal),
    }
    if config.residual:
        return vae2_2.WanVAE(dec_dim=config.decoder_width, **sizes)
    return vae.WanVAE(**sizes)  # one width for encoder and decoder


def with_weights_of(ours: WanDiT | WanVAE, theirs: nn.Module) -> nn.Module:
    """`theirs`, one of the networks above, with a copy of our weights."""
    official = ours.state_dict()
    if isinstance(theirs, DIFFUSERS):
        weights = {dit_to_diffusers(name): weight for name, weight in official.items()}
    elif isinstance(theirs, AutoencoderKLWan):
        rename = vae_from_diffusers(theirs.state_dict())
        weights = {name: official[rename(name)] for name in theirs.state_dict()}
    else:
        weights = official
    theirs.load_state_dict(weights, strict=True)
    return theirs.eval().requires_grad_(False)
