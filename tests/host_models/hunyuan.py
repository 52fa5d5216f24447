"""HunyuanVideo: 1 + 4·n frames in 1 + n latent frames of 16 channels, cells of 8 × 8 pixels; 1.5 of
32 channels, cells of 16 × 16."""

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
VISION = 16  # of what CLIP vision sees
SIZES_15 = {
    "in_channels": 65,
    "out_channels": 32,
    "vec_in_dim": None,
    "patch_size": [1, 1, 1],
    "guidance_embed": False,
    "meanflow": False,
    "meanflow_sum": True,
    "use_cond_type_embedding": True,
    "vision_in_dim": VISION,
}
VAE_LAYOUT_15 = {
    "block_out_channels": [16, 32, 32, 64, 64],
    "in_channels": 3,
    "out_channels": 3,
    "num_res_blocks": 1,
    "ffactor_spatial": 16,
    "ffactor_temporal": 4,
    "downsample_match_channel": True,
    "upsample_match_channel": True,
    "z_channels": 32,
}


def hunyuan_video() -> HostModel:
    """HunyuanVideo: latents (b, 16, t, H/8, W/8), 4·t - 3 frames; pooled text beside the tokens."""
    from comfy.supported_models import HunyuanVideo

    return _with(HunyuanVideo, in_channels=16)


def hunyuan_video_from_an_image() -> HostModel:
    """HunyuanVideoI2V: as `hunyuan_video`, with 17 channels more for an image and its mask."""
    from comfy.supported_models import HunyuanVideoI2V

    return _with(HunyuanVideoI2V, in_channels=33)


def hunyuan_video_15() -> HostModel:
    """HunyuanVideo15: latents (b, 32, t, H/16, W/16), 4·t - 3 frames. Every file of it, those of
    text to video, too, reads 33 channels more, for an image and its mask."""
    from comfy.supported_models import HunyuanVideo15

    texts = (conditioning(seed, TEXT, pooled_output=None) for seed in (3, 4))
    return HostModel(model_of(_config(HunyuanVideo15, **SIZES_15)), hunyuan_15_vae(), *texts)


def hunyuan_video_15_upscaler() -> HostModel:
    """HunyuanVideo15_SR_Distilled: as `hunyuan_video_15`, with 66 channels for an image, a small
    clip and the masks of both."""
    from comfy.supported_models import HunyuanVideo15_SR_Distilled

    texts = (conditioning(seed, TEXT, pooled_output=None) for seed in (3, 4))
    config = _config(HunyuanVideo15_SR_Distilled, **SIZES_15 | {"in_channels": 98})
    return HostModel(model_of(config), hunyuan_15_vae(), *texts)


def hunyuan_15_vae():
    """VAE of 1.5: (b, 32, t, h, w) and (b, 4·t - 3, 16·h, 16·w, 3)."""
    import comfy.sd

    parts = {
        f"{part}_config": {
            "target": f"comfy.ldm.hunyuan_video.vae_refiner.{part.capitalize()}",
            "params": VAE_LAYOUT_15,
        }
        for part in ("encoder", "decoder")
    }
    regularizer = {"target": "comfy.ldm.models.autoencoder.EmptyRegularizer"}
    with smaller(comfy.sd, AutoencodingEngine=parts):
        return vae_of(comfy.sd.AutoencodingEngine(regularizer_config=regularizer))


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


def _config(made: type, **sizes):
    from comfy.ldm.hunyuan_video.model import HunyuanVideoParams

    # every host has some fields of its own, of parts that not all have
    known = SIZES | sizes
    given = {field.name: known.get(field.name) for field in fields(HunyuanVideoParams)}
    return made({"image_model": "hunyuan_video", **given})


def _with(made: type, **sizes) -> HostModel:
    config = _config(made, **sizes)
    positive, negative = (
        conditioning(seed, TEXT, pooled_output=random_numbers(seed + 2, 1, POOLED))
        for seed in (3, 4)
    )
    return HostModel(model_of(config), hunyuan_vae(), positive, negative)
