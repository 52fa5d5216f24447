"""LTX-Video: 1 + 8·n frames in 1 + n latent frames of 128 channels, cells of 32 × 32 pixels."""

import json

import torch

from tests.host_models.build import HostModel, conditioning, model_of, smaller, vae_of

TEXT = 24
VAE_LAYOUT = {
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "blocks": [["res_x", 1], *[["compress_all", 1]] * 3, ["res_x", 1]],
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "causal_decoder": False,
}
VAE_WIDTH = {"base_channels": 8}


def ltxv() -> HostModel:
    """LTXV: latents (b, 128, t, H/32, W/32), 8·t - 7 frames.

    CONDITIONING carries the attention mask of the text, without which 0.3.75 fails.
    """
    from comfy.supported_models import LTXV

    sizes = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16}
    widths = {"cross_attention_dim": 32, "caption_channels": TEXT}
    config = LTXV({"image_model": "ltxv", **sizes, **widths})
    mask = torch.ones(1, 5, dtype=torch.long)
    positive, negative = (conditioning(seed, TEXT, attention_mask=mask) for seed in (3, 4))
    return HostModel(model_of(config), ltxv_vae(), positive, negative)


def ltxv_vae():
    """VAE around core's VideoVAE, whose decoder adds no noise: (b, 128, t, h, w) and
    (b, 8·t - 7, 32·h, 32·w, 3)."""
    import comfy.ldm.lightricks.vae.causal_video_autoencoder as core

    with smaller(core, Encoder=VAE_WIDTH, Decoder=VAE_WIDTH):
        network = core.VideoVAE(config=VAE_LAYOUT)
        statistics = network.per_channel_statistics
        statistics.get_buffer("std-of-means").fill_(1.3)
        statistics.get_buffer("mean-of-means").fill_(0.2)
        return vae_of(network, metadata={"config": json.dumps({"vae": VAE_LAYOUT})})
