"""How the known frames of a canvas reach the network: decided here, by what the checkpoint is.

FRAME_LEVELS     a noise level for each latent frame, 0 for known ones (the built-in model,
                 TI2V-5B, SkyReels-V2 DF). Core's WAN22 does it, from the LATENT's mask.
IMAGE_CHANNELS   latents of the known pixels in channels of their own, grey elsewhere, after 4
                 channels that say for each pixel frame whether it is known (Wan 2.1 and 2.2 I2V,
                 FLF2V). Built here.
NOISE_LINE       plain text-to-video checkpoints were not told: at every step known frames are put
                 back, as noisy as the rest. Core does it, from the LATENT's mask.

Whichever it is, what a LATENT's mask keeps comes out of sampling as it went in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import comfy.sd
import torch
from einops import rearrange, reduce, repeat
from torch import Tensor

from ...engine.canvas.grid import LatentGrid
from ...engine.canvas.timeline import LEAD
from ...models.wan.config import DiTConfig
from ..comfyui.latent import facts_of
from ..networks.vae import encode, grid_of

GREY_PIXEL = 0.5  # of an IMAGE; 0 to the VAE

# What Wan 2.1's VAE makes of grey, in the numbers the transformer sees: in the first latent frame,
# in the second, and in those after. For canvases of which only latents are known.
# Source: `zero_vae_values` of WAN21_HuMo in comfy/model_base.py, Comfy-Org/ComfyUI@v0.3.75.
GREY = (
    (0.8660, -0.4326, -0.0017, -0.4884, -0.5283, 0.9207, -0.9896, 0.4433,
     -0.5543, -0.0113, 0.5753, -0.6000, -0.8346, -0.3497, -0.1926, -0.6938),
    (1.0869, -1.2370, 0.0206, -0.4357, -0.6411, 2.0307, -1.5972, 1.2659,
     -0.8595, -0.4654, 0.9638, -1.6330, -1.4310, -0.1098, -0.3856, -1.4583),
    (0.8642, -1.8583, 0.1577, 0.1350, -0.3641, 2.5863, -1.9670, 1.6065,
     -1.0475, -0.8678, 1.1734, -1.8138, -1.5933, -0.7721, -0.3289, -1.3745),
)  # fmt: skip


class Route(Enum):
    """The ways above."""

    FRAME_LEVELS = "noise level 0"
    IMAGE_CHANNELS = "mask and image channels"
    NOISE_LINE = "put back at every step"


def route_for(config: DiTConfig | None) -> Route:
    """The way known frames reach a transformer of these sizes; None is one of core's own."""
    if config is None:
        return Route.NOISE_LINE
    if config.frame_levels:
        return Route.FRAME_LEVELS
    if config.in_channels > config.out_channels:
        return Route.IMAGE_CHANNELS
    return Route.NOISE_LINE


@dataclass(frozen=True)
class Pins:
    """The known pixels of a canvas. It rides in a LATENT, beside the latents made of them.

    vae: makes latents of them. pixels: by pixel frame, (h, w, 3) in [0, 1]. held: latent frames of
    which the mask keeps all though some of their pixel frames are not known: for checkpoints that
    cannot be told less. clip_vision: core's CLIP_VISION_OUTPUT of the first image, or None.
    """

    vae: comfy.sd.VAE
    pixels: Mapping[int, Tensor] = field(default_factory=dict)
    held: frozenset[int] = frozenset()
    clip_vision: Any = None

    def fit(self, samples: Tensor) -> bool:
        """Whether latents (b, c, t, h, w) are still of the canvas that they were pinned on."""
        grid, (height, width, _) = grid_of(self.vae), next(iter(self.pixels.values())).shape
        h, w = (n * grid.stride_hw for n in samples.shape[3:])
        return (h, w) == (height, width) and max(self.pixels) < grid.frames(samples.shape[2])

    def known(self, latent_frames: int) -> Tensor:
        """(f,) bool: which pixel frames are known."""
        known = torch.zeros(grid_of(self.vae).frames(latent_frames), dtype=torch.bool)
        known[[frame for frame in self.pixels if frame < len(known)]] = True
        return known

    def image(self, span: range) -> Tensor:
        """(1, c, t, h, w) latents of the known pixels of some latent frames, grey for all others.

        Those before the span are seen by as much of the encoder as remembers them.
        """
        grid, lead = grid_of(self.vae), min(LEAD, span.start)
        size = next(iter(self.pixels.values())).shape
        stop = grid.first_frame(span.stop)
        begin = stop - grid.frames(len(span) + lead)
        pictures = torch.full((stop - begin, *size), GREY_PIXEL)
        for frame, picture in self.pixels.items():
            if begin <= frame < stop:
                pictures[frame - begin] = picture
        return encode(self.vae, pictures)[:, :, lead:]


def pins_in(latent: Mapping[str, Any]) -> Pins | None:
    """The pixels that our nodes pinned on a canvas."""
    return facts_of(latent).get("pins")


def frame_mask(known: Tensor, stride_t: int) -> Tensor:
    """known: (f,) bool -> (1, stride_t, t, 1, 1), 1 = known, as I2V checkpoints read it.

    The first pixel frame, alone in its latent frame, fills all the channels.

    Source:
        wan/image2video.py and wan/first_last_frame2video.py, Wan-Video/Wan2.1@9737cba.
    """
    spread = torch.cat((known[:1].expand(stride_t), known[1:])).float()
    return rearrange(spread, "(t s) -> 1 s t 1 1", s=stride_t)


@dataclass(frozen=True)
class ImageChannels:
    """What an I2V checkpoint is shown of the pinned pixels.

    image: (1, c, t, h, w) latents; known: (1, stride_t, t, 1, 1), 1 = known; clip_vision: as in
    Pins.
    """

    image: Tensor
    known: Tensor
    clip_vision: Any = None

    def at(self, frames: Sequence[int]) -> "ImageChannels":
        """Those of some latent frames."""
        return replace(self, image=self.image[:, :, frames], known=self.known[:, :, frames])

    def conds(self, samples: Tensor, mask: Tensor | None) -> dict[str, Any]:
        """What goes into CONDITIONING for latents (b, c, t, h, w) and their mask, 1 = paint.

        Latents that the mask keeps though none of their pixels was pinned were handed over from an
        earlier run, and are shown as they are.
        """
        image, known = self.image, self.known
        if mask is not None:
            kept = reduce(mask.float(), "b c t h w -> t", "max") == 0
            handed = rearrange(kept.cpu() & (known.sum((0, 1, 3, 4)) == 0), "t -> t 1 1")
            image = torch.where(handed, samples.float().cpu(), image)
            known = torch.where(handed, 1.0, known)
        h, w = samples.shape[3:]
        unknown = repeat(1 - known, "b c t 1 1 -> b c t h w", h=h, w=w)  # core's way round
        values = {"concat_latent_image": image, "concat_mask": unknown}
        return values | ({"clip_vision_output": self.clip_vision} if self.clip_vision else {})


def image_channels(latent: Mapping[str, Any], route: Route) -> ImageChannels | None:
    """The pinned pixels of a canvas for an I2V checkpoint; None where there are none, or no need.

    Without them the model finds what the mask keeps by itself, see `concat_known`.
    """
    pins, samples = pins_in(latent), latent["samples"]
    if pins is None or not pins.pixels or not pins.fit(samples):
        return None
    return channels_of(pins, range(samples.shape[2]), route)


def channels_of(pins: Pins | None, span: range, route: Route) -> ImageChannels | None:
    """As `image_channels`, of some latent frames."""
    if route is not Route.IMAGE_CHANNELS or pins is None:
        return None
    known = frame_mask(pins.known(span.stop), grid_of(pins.vae).stride_t)[:, :, span.start :]
    return ImageChannels(pins.image(span), known, pins.clip_vision)


def with_values(conditioning: list, values: Mapping[str, Any]) -> list:
    """CONDITIONING with more values; entries where core's WanImageToVideo was first stay."""
    return [
        entry if "concat_latent_image" in entry[1] else [entry[0], {**entry[1], **values}]
        for entry in conditioning
    ]


def known_conds(
    positive: list,
    negative: list,
    channels: ImageChannels | None,
    samples: Tensor,
    mask: Tensor | None,
) -> tuple[list, list]:
    """Both prompts, with the pinned pixels where the checkpoint reads them from there."""
    if channels is None:
        return positive, negative
    values = channels.conds(samples, mask)
    return with_values(positive, values), with_values(negative, values)


def unseen(config: DiTConfig | None, conditioning: list, clip_vision: Any) -> str:
    """What to say of a checkpoint that reads CLIP vision tokens and is given none; else nothing."""
    if config is None or config.image_width is None or clip_vision:
        return ""
    if all("clip_vision_output" in extras for _, extras in conditioning):
        return ""
    return (
        "this checkpoint was trained to read CLIP vision tokens of its first image and gets none: "
        "connect CLIPVisionEncode to PinImage's clip_vision_output"
    )


def unheld(mask: Tensor | None, latent: Mapping[str, Any], route: Route) -> Tensor | None:
    """The mask (b, 1, t, h, w), with frames that are only partly known left to paint.

    Only I2V checkpoints can be told of a part; for others such a frame is held whole.
    """
    pins = pins_in(latent)
    if mask is None or pins is None or not pins.held or route is not Route.IMAGE_CHANNELS:
        return mask
    if not pins.fit(latent["samples"]):
        return mask
    mask = mask.clone()
    mask[:, :, sorted(pins.held)] = 1
    return mask


def concat_known(
    latents: Tensor, mask: Tensor, extra: int, stride_t: int = LatentGrid(1).stride_t
) -> Tensor:
    """Image channels for an I2V checkpoint of which only latents are known.

    Args:
        latents: (b, c, t, h, w) in the transformer's numbers.
        mask: (b, ., t, h, w), 1 = paint, 0 = known.
        extra: channels the checkpoint has beside the latents: those of the mask, and c.
        stride_t: of them for the mask.

    Returns:
        (b, extra, t, h, w).
    """
    known = 1 - mask[:, :1].to(latents).expand(len(latents), -1, *latents.shape[2:])
    image = torch.where(known > 0, latents, grey_like(latents))
    return torch.cat((known.expand(-1, stride_t, -1, -1, -1), image), dim=1)[:, :extra]


def grey_like(latents: Tensor) -> Tensor:
    """Latents of grey frames for (b, c, t, h, w); zeros for VAEs whose grey is not known."""
    grey = torch.zeros_like(latents)
    if latents.shape[1] == len(GREY[0]):
        for t in range(latents.shape[2]):
            grey[:, :, t] = torch.tensor(GREY[min(t, 2)]).to(latents)[:, None, None]
    return grey
