"""A VAE as a canvas needs it."""

from fractions import Fraction
from functools import partial

import comfy.sd

from ...engine.canvas.codec import Codec
from ...engine.sampling.host_presets import implied_sound, made_for
from ...engine.sampling.presets import SamplingDefaults, defaults_for
from .vae import encode, grid_of, streams


def codec_for(vae: comfy.sd.VAE) -> Codec:
    """What a canvas needs of a VAE. Raises InputError if it is not one for videos."""
    grid, settings = grid_of(vae), defaults_of(vae)
    window = grid.latent_frames(grid.whole(settings.frames))
    overlap = grid.latent_frames(settings.overlap) if settings.overlap else 0
    sound = implied_sound(grid)
    return Codec(grid, partial(encode, vae), Fraction(settings.fps), window, overlap, sound)


def defaults_of(vae: comfy.sd.VAE) -> SamplingDefaults:
    """What a canvas of a VAE's latents starts from while no model is connected."""
    channels = vae.latent_channels
    return made_for(channels, wan=streams(vae)) or defaults_for(channels)
