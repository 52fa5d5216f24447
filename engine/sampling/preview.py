"""Previews of latents: colours by one matrix, without a decoder."""

from typing import NamedTuple

import torch
from einops import rearrange, reduce
from torch import Tensor


class Colours(NamedTuple):
    """rgb = latent @ factors + bias, about -1 … 1."""

    factors: list[list[float]]  # (channels, 3)
    bias: list[float]  # (3,)


def fit_colours(latents: Tensor, pixels: Tensor) -> Colours:
    """The matrix whose colours are nearest to each latent cell's mean colour, by least squares.

    Args:
        latents: (b, c, t, h, w).
        pixels: (b, 3, f, h·s, w·s) in [-1, 1], the same video: 1 + (t - 1)·p frames.
    """
    h, w = latents.shape[-2:]
    cells = reduce(pixels, "b c f (h q) (w r) -> b c f h w", "mean", h=h, w=w)
    first, rest = cells[:, :, :1], cells[:, :, 1:]
    if latents.shape[2] > 1:
        rest = reduce(rest, "b c (t p) h w -> b c t h w", "mean", t=latents.shape[2] - 1)
    wanted = rearrange(torch.cat((first, rest), dim=2), "b c t h w -> (b t h w) c").double()
    given = rearrange(latents, "b c t h w -> (b t h w) c").double()
    with_one = torch.cat((given, torch.ones_like(given[:, :1])), dim=1)
    solution = torch.linalg.lstsq(with_one, wanted).solution
    return Colours(solution[:-1].tolist(), solution[-1].tolist())
