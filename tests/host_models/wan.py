"""Wan by core's own classes: 1 + 4·n frames in 1 + n latent frames."""

from tests.host_models.build import HostModel, conditioning, model_of, smaller, vae_of

TEXT = 24
SIZES = {
    "image_model": "wan2.1",
    "dim": 48,
    "ffn_dim": 40,
    "freq_dim": 16,
    "text_dim": TEXT,
    "num_heads": 2,
    "num_layers": 2,
    "patch_size": (1, 2, 2),
    "model_type": "t2v",
}
VAE_LAYOUT = {
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "dropout": 0.0,
    "temperal_downsample": [False, True, True],
}


def wan21() -> HostModel:
    """WAN21, text to video: latents (b, 16, t, H/8, W/8), 4·t - 3 frames."""
    return _wan21(in_dim=16)


def wan21_vace() -> HostModel:
    """WAN21_Vace: as `wan21`, with a context beside the video."""
    from comfy.ldm.wan.vae import WanVAE
    from comfy.supported_models import WAN21_Vace

    config = WAN21_Vace(
        {**SIZES, "in_dim": 16, "out_dim": 16, "model_type": "vace", "vace_layers": 1,
         "vace_in_dim": 96}
    )  # fmt: skip
    vae = vae_of(WanVAE(dim=4, z_dim=16, **VAE_LAYOUT))
    return HostModel(model_of(config), vae, conditioning(3, TEXT), conditioning(4, TEXT))


def wan21_from_an_image() -> HostModel:
    """One expert of I2V A14B: as `wan21`, with 20 channels more for an image and its mask."""
    return _wan21(in_dim=36)


def wan21_with_a_camera() -> HostModel:
    """WAN21_Camera as Fun-Camera 2.2: as `wan21_from_an_image`, with rays of a camera."""
    from comfy.ldm.wan.vae import WanVAE
    from comfy.supported_models import WAN22_Camera

    config = WAN22_Camera({**SIZES, "in_dim": 36, "out_dim": 16, "model_type": "camera_2.2"})
    vae = vae_of(WanVAE(dim=4, z_dim=16, **VAE_LAYOUT))
    return HostModel(model_of(config), vae, conditioning(3, TEXT), conditioning(4, TEXT))


def wan22() -> HostModel:
    """WAN22 as TI2V-5B, a noise level per frame: latents (b, 48, t, H/16, W/16), 4·t - 3 frames."""
    import comfy.ldm.wan.vae2_2 as core
    from comfy.supported_models import WAN22_T2V

    config = WAN22_T2V({**SIZES, "in_dim": 48, "out_dim": 48})
    with smaller(core, WanVAE={"dim": 4, "dec_dim": 4}):
        vae = vae_of(core.WanVAE(z_dim=48, **VAE_LAYOUT))
    return HostModel(model_of(config), vae, conditioning(3, TEXT), conditioning(4, TEXT))


def _wan21(in_dim: int) -> HostModel:
    from comfy.ldm.wan.vae import WanVAE
    from comfy.supported_models import WAN21_T2V

    config = WAN21_T2V({**SIZES, "in_dim": in_dim, "out_dim": 16})
    vae = vae_of(WanVAE(dim=4, z_dim=16, **VAE_LAYOUT))
    return HostModel(model_of(config), vae, conditioning(3, TEXT), conditioning(4, TEXT))
