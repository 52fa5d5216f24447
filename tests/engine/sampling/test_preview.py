import pytest
import torch

from longtake.engine.sampling.preview import fit_colours

B, C, T, H, W, S = 3, 5, 4, 7, 11, 2


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(1)


def test_a_linear_truth_is_found(rng):
    latents = torch.randn(B, C, T, H, W, generator=rng, dtype=torch.float64)
    factors = torch.randn(C, 3, generator=rng, dtype=torch.float64)
    bias = torch.randn(3, generator=rng, dtype=torch.float64)
    rgb = torch.einsum("bcthw,cr->brthw", latents, factors) + bias.reshape(1, 3, 1, 1, 1)
    frames = torch.cat((rgb[:, :, :1], rgb[:, :, 1:].repeat_interleave(4, dim=2)), dim=2)
    pixels = frames.repeat_interleave(S, dim=3).repeat_interleave(S, dim=4)

    found = fit_colours(latents, pixels)

    torch.testing.assert_close(torch.tensor(found.factors).double(), factors, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tensor(found.bias).double(), bias, rtol=0, atol=1e-6)


def test_single_frames_serve_too(rng):
    latents = torch.randn(40, 2, 1, 3, 3, generator=rng)
    pixels = (latents[:, :1] - latents[:, 1:]).expand(-1, 3, -1, -1, -1)
    found = fit_colours(latents, pixels)
    torch.testing.assert_close(
        torch.tensor(found.factors), torch.tensor([[1.0] * 3, [-1.0] * 3]), rtol=0, atol=1e-5
    )
