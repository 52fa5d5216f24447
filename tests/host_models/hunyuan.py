"""HunyuanVideo: 1 + 4·n frames in 1 + n latent frames of 16 channels, cells of 8 × 8 pixels."""

from dataclasses import fields

from tests.host_models.build import (
    HostModel,
    conditioning,
    model_of,
    random_numbers,
    smaller,
    vae_of,
)

TEXT, POOLED = 24, 12
SIZES = {
    "out_channels": 16,
    "vec_in_dim": POOLED,
    "context_in_dim": TEXT,
    "hidden_size": 48,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [8, 8, 8],
    "theta": 256,
    "patch_size": [1, 2, 2],
    "qkv_bias": True,
    "guidance_embed": True,
}
VAE_SIZES = {"ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1}


def hunyuan_video() -> HostModel:
    """HunyuanVideo: latents (b, 16, t, H/8, W/8), 4·t - 3 frames; pooled text beside the tokens."""
    from comfy.supported_models import HunyuanVideo

    return _with(HunyuanVideo, in_channels=16)


def hunyuan_video_from_an_image() -> HostModel:
    """HunyuanVideoI2V: as `hunyuan_video`, with 17 channels more for an image and its mask."""
    from comfy.supported_models import HunyuanVideoI2V

    return _with(HunyuanVideoI2V, in_channels=33)


def hunyuan_vae():
    """VAE around core's AutoencoderKL of three dimensions: (b, 16, t, h, w) and
    (b, 4·t - 3, 8·h, 8·w, 3)."""
    import comfy.sd

    with smaller(comfy.sd, AutoencoderKL={"ddconfig": VAE_SIZES}):
        layout = {
            "double_z": True,
            "z_channels": 16,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "attn_resolutions": [],
            "dropout": 0.0,
            "conv3d": True,
            "time_compress": 4,
        }
        return vae_of(comfy.sd.AutoencoderKL(ddconfig=layout, embed_dim=16))


def _with(made: type, **sizes) -> HostModel:
    from comfy.ldm.hunyuan_video.model import HunyuanVideoParams

    # every host has some fields of its own, of parts that HunyuanVideo 1.0 has not
    given = {field.name: None for field in fields(HunyuanVideoParams)} | SIZES | sizes
    config = made({"image_model": "hunyuan_video", **given})
    positive, negative = (
        conditioning(seed, TEXT, pooled_output=random_numbers(seed + 2, 1, POOLED))
        for seed in (3, 4)
    )
    return HostModel(model_of(config), hunyuan_vae(), positive, negative)
