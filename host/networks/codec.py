"""A VAE as a canvas needs it."""

from fractions import Fraction
from functools import partial

import comfy.sd

from ...engine.canvas.codec import Codec
from ...engine.sampling.presets import defaults_for
from .vae import encode, grid_of


def codec_for(vae: comfy.sd.VAE) -> Codec:
    """What a canvas needs of a VAE. Raises InputError if it is not one for videos."""
    grid = grid_of(vae)
    made_for = defaults_for(grid.channels)
    window = grid.latent_frames(made_for.frames)
    return Codec(grid, partial(encode, vae), Fraction(made_for.fps), window)
