"""Our VAE against diffusers' AutoencoderKLWan and ComfyUI's WanVAE, layouts 2.1 and 2.2."""

from dataclasses import replace

import pytest
import torch

from longtake.models.wan.config import VAEConfig
from longtake.models.wan.vae import WanVAE
from tests.models.reference import core_vae, diffusers_vae, with_weights_of
from tests.models.tiny import NANO_LIKE, VAE_21, VAE_22, randomised

# Core gives the decoder no width of its own in layout 2.1.
ONE_WIDTH = replace(VAE_21, decoder_width=VAE_21.width)
CONFIGS = {
    "2.1": ONE_WIDTH,
    "2.2": VAE_22,
    "2.1 halving time first": replace(ONE_WIDTH, temporal=(True, True, False)),
    "2.2 halving time first": replace(VAE_22, temporal=(True, True, False)),
    "2.1 with 1 block": replace(ONE_WIDTH, res_blocks=1),
    "2.2 with 3 blocks": replace(VAE_22, res_blocks=3),
}
BEYOND_CORE = {"2.1 with two widths": VAE_21, "nano-like": NANO_LIKE}
FRAMES = 9  # three latent frames: the first, the first with a past, one whose past has a past


def pixels(config: VAEConfig, rng, videos: int = 2) -> torch.Tensor:
    height, width = 2 * config.stride_hw, 3 * config.stride_hw
    return torch.rand(videos, 3, FRAMES, height, width, generator=rng) * 2 - 1


def latents(config: VAEConfig, rng, videos: int = 2) -> torch.Tensor:
    return torch.randn(videos, config.latent_channels, 1 + FRAMES // 4, 2, 3, generator=rng)


def network(config: VAEConfig, rng) -> WanVAE:
    ours = randomised(WanVAE(config), rng)
    for p in ours.decoder.head[2].parameters():
        p.mul_(0.05)  # diffusers clamps pixels to [-1, 1]; stay within
    return ours


@pytest.mark.parametrize("config", [*CONFIGS.values(), *BEYOND_CORE.values()],
                         ids=[*CONFIGS, *BEYOND_CORE])  # fmt: skip
def test_it_is_diffusers(config, rng, same):
    ours = network(config, rng)
    theirs = with_weights_of(ours, diffusers_vae(config))
    x, z = pixels(config, rng), latents(config, rng)
    same(ours.encode(x), theirs.encode(x).latent_dist.mean, "encode")
    decoded = ours.decode(z)
    assert decoded.abs().max() < 1
    same(decoded, theirs.decode(z).sample, "decode")


@pytest.mark.parametrize("videos", [1, 2])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_it_is_core(config, videos, rng, same, comfyui):
    ours = network(config, rng)
    theirs = with_weights_of(ours, core_vae(config))
    x, z = pixels(config, rng, videos), latents(config, rng, videos)
    with torch.inference_mode(videos == 1):  # where one small video takes a quicker way
        same(ours.encode(x), theirs.encode(x), "encode")
        same(ours.decode(z), theirs.decode(z), "decode")
