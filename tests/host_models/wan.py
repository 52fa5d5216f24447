"""Wan by core's own classes: 1 + 4·n frames in 1 + n latent frames."""

from typing import Any
from unittest.mock import patch

import pytest
from torch import Tensor, nn

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


def wan21(seed: int = 1) -> HostModel:
    """WAN21, text to video: latents (b, 16, t, H/8, W/8), 4·t - 3 frames."""
    return _wan21(16, seed)


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


def wan21_from_an_image(seed: int = 1) -> HostModel:
    """One expert of I2V A14B: as `wan21`, with 20 channels more for an image and its mask."""
    return _wan21(36, seed)


def fun_camera() -> HostModel:
    """WAN21_Camera as Fun-Camera 2.1: as `wan21`, with an image without a mask, and rays."""
    return _wan_of("WAN21_Camera", "camera", in_dim=32)


def fun_camera_22() -> HostModel:
    """WAN21_Camera as Fun-Camera 2.2: as `wan21_from_an_image`, with rays of a camera."""
    return _wan_of("WAN22_Camera", "camera_2.2", in_dim=36)


def wan_animate() -> HostModel:
    """WAN22_Animate: as `wan21_from_an_image`, with poses and faces."""
    import comfy.ldm.wan.model_animate as core

    with patch.object(core, "Generator", _Faces):
        return _wan_of("WAN22_Animate", "animate", in_dim=36, num_layers=5)


def wan_animate_2() -> HostModel:
    """WAN_Animate2: as `wan21_from_an_image`, with a branch for the clip. Newer hosts only."""
    return _wan_of("WAN_Animate2", "animate2", in_dim=36)


def scail_2() -> HostModel:
    """WAN21_SCAIL2: 4 channels more for what is known. Newer hosts only."""
    return _wan_of("WAN21_SCAIL2", "scail2", in_dim=20)


class _Faces(nn.Module):
    """In place of a network of 30 million weights: 512 numbers of each face."""

    def __init__(self, device=None, dtype=None, **_: Any):
        super().__init__()
        self.motion = nn.Linear(48, 512, device=device, dtype=dtype)

    def get_motion(self, pictures: Tensor) -> Tensor:
        return self.motion(nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1))


def _wan_of(name: str, model_type: str, **sizes: int) -> HostModel:
    import comfy.supported_models as core
    from comfy.ldm.wan.vae import WanVAE

    if not hasattr(core, name):
        pytest.skip(f"this host has no {name}")
    config = getattr(core, name)({**SIZES, "out_dim": 16, "model_type": model_type, **sizes})
    vae = vae_of(WanVAE(dim=4, z_dim=16, **VAE_LAYOUT))
    return HostModel(model_of(config), vae, conditioning(3, TEXT), conditioning(4, TEXT))


def wan22(seed: int = 1) -> HostModel:
    """WAN22 as TI2V-5B, a noise level per frame: latents (b, 48, t, H/16, W/16), 4·t - 3 frames."""
    import comfy.ldm.wan.vae2_2 as core
    from comfy.supported_models import WAN22_T2V

    config = WAN22_T2V({**SIZES, "in_dim": 48, "out_dim": 48})
    with smaller(core, WanVAE={"dim": 4, "dec_dim": 4}):
        vae = vae_of(core.WanVAE(z_dim=48, **VAE_LAYOUT))
    return HostModel(model_of(config, seed), vae, conditioning(3, TEXT), conditioning(4, TEXT))


def _wan21(in_dim: int, seed: int) -> HostModel:
    from comfy.ldm.wan.vae import WanVAE
    from comfy.supported_models import WAN21_T2V

    config = WAN21_T2V({**SIZES, "in_dim": in_dim, "out_dim": 16})
    vae = vae_of(WanVAE(dim=4, z_dim=16, **VAE_LAYOUT))
    return HostModel(model_of(config, seed), vae, conditioning(3, TEXT), conditioning(4, TEXT))
