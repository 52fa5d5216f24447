"""The VAE in tiles: what comes out is what whole frames give."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from longtake.models.wan.config import VAEConfig
from longtake.models.wan.tiles import reach, remembered, tilings
from longtake.models.wan.vae import WanVAE
from tests.models.tiny import VAE_21, VAE_22, randomised

NARROW = {
    "2.1": replace(VAE_21, res_blocks=1, multipliers=(1, 2, 2), temporal=(True, True)),
    "2.2": replace(VAE_22, res_blocks=1, multipliers=(1, 2, 2), temporal=(False, True)),
}
SIZE = (17, 23)  # latent cells; a tile in a corner does not see all of it


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture(params=NARROW)
def network(request) -> WanVAE:
    return randomised(WanVAE(NARROW[request.param]), rng()).eval().requires_grad_(False)


def latents_of(config: VAEConfig, frames: int = 3, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(1, config.latent_channels, frames, *size, generator=rng())


def decoded(by, latents: torch.Tensor) -> torch.Tensor:
    state, parts = None, []
    for piece in latents.split(1, dim=2):
        pixels, state = by.decode_piece(piece, state)
        parts.append(pixels)
    return torch.cat(parts, dim=2)


def encoded(by, pixels: torch.Tensor, step: int) -> torch.Tensor:
    first, state = by.encode_piece(pixels[:, :, :1], None)
    second, _ = by.encode_piece(pixels[:, :, 1 : 1 + step], state)
    return torch.cat((first, second), dim=2)


@torch.inference_mode()
def test_tiles_make_what_whole_frames_are(network):
    latents = latents_of(network.config)
    whole = decoded(network, latents)
    found = list(islice(tilings(network, SIZE), 2))
    assert [len(tiling.tiles) for tiling in found] == [2, 4]
    assert any(tile.seen[1].stop < SIZE[1] for tile in found[0].tiles)
    for tiling in found:
        torch.testing.assert_close(decoded(tiling, latents), whole, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_and_encode_what_whole_frames_do(network):
    config = network.config
    sides = (side * config.stride_hw for side in SIZE)
    pixels = torch.rand(1, 3, 1 + config.stride_t, *sides, generator=rng()) * 2 - 1
    whole = encoded(network, pixels, config.stride_t)
    (tiling,) = islice(tilings(network, SIZE), 1)
    torch.testing.assert_close(
        encoded(tiling, pixels, config.stride_t), whole, rtol=1e-4, atol=1e-5
    )


@torch.inference_mode()
def test_several_latent_frames_at_a_time(network):
    latents = latents_of(network.config)
    (tiling,) = islice(tilings(network, SIZE), 1)
    pixels, _ = tiling.decode_piece(latents, None)
    assert torch.equal(pixels, decoded(tiling, latents))


@torch.inference_mode()
def test_cells_further_off_than_the_reach_count_for_nothing(network):
    """Else tiles would have seams; cells one closer do count."""
    config, far = network.config, reach(network.config)
    x = torch.randn(
        1, config.decoder_width * config.multipliers[-1], 1, 3, 3 * far, generator=rng()
    )
    changed = x.clone()
    changed[..., 0] += 1
    from longtake.models.wan.causal import Past

    a, b = (network.decoder.outer(each, Past(None)) for each in (x, changed))
    scale = config.stride_hw // config.patch
    differ = (a != b).flatten(0, 3).any(0).nonzero().max().item() // scale
    assert far - 1 <= differ <= far


@torch.inference_mode()
def test_older_latent_frames_than_are_remembered_count_for_nothing(network):
    """A piece that is begun again is given no more of those before."""
    frames = remembered(network.config)
    latents = latents_of(network.config, frames + 3, (2, 3))
    changed = latents.clone()
    changed[:, :, 0] += 1
    a, b = decoded(network, latents), decoded(network, changed)
    step = network.config.stride_t
    assert torch.equal(a[:, :, 1 + step * frames :], b[:, :, 1 + step * frames :])
    assert not torch.equal(
        a[:, :, 1 + step * 2 : 1 + step * 3], b[:, :, 1 + step * 2 : 1 + step * 3]
    )


def test_tiles_end_where_most_of_one_is_what_it_sees_only():
    network = WanVAE(VAEConfig(96, 96, 16), device="meta")
    found = list(tilings(network, (90, 160)))
    assert [len(tiling.tiles) for tiling in found] == [2, 4, 8, 16, 32]
    assert not list(tilings(network, (20, 20)))
