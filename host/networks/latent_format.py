"""How a VAE's latents are scaled for the transformer, and previewed while sampling."""

from comfy import latent_formats

from ...engine.sampling.preview import Colours
from ...models.wan.config import DiTConfig


class UnitLatents(latent_formats.LatentFormat):
    """Latents with mean 0 and deviation 1 as they are: the built-in VAE scales them itself."""

    latent_dimensions = 3
    spacial_downscale_ratio = 16  # newer hosts resize empty latents by it
    temporal_downscale_ratio = 4

    def __init__(self, channels: int, colours: Colours | None):
        self.latent_channels = channels
        # Without a fit, the first three channels still show shapes and motion.
        first = [[float(i == j) / 2 for j in range(3)] for i in range(channels)]
        self.latent_rgb_factors = first if colours is None else colours.factors
        self.latent_rgb_factors_bias = None if colours is None else colours.bias


def format_for(
    config: DiTConfig, built_in: bool, colours: Colours | None = None
) -> latent_formats.LatentFormat:
    """The format of the latents that a transformer generates.

    Args:
        config: its sizes.
        built_in: trained by this project, whose VAE scales latents itself.
        colours: for previews of a built-in model.
    """
    if built_in or config.out_channels not in (16, 48):
        return UnitLatents(config.out_channels, colours)
    return latent_formats.Wan22() if config.out_channels == 48 else latent_formats.Wan21()
