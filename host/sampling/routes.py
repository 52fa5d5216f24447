"""How the known frames of a canvas reach the network: decided here, by what the checkpoint is.

FRAME_LEVELS     a noise level for each latent frame, 0 for known ones (the built-in model,
                 TI2V-5B, SkyReels-V2 DF). Core's WAN22 does it, from the LATENT's mask.
IMAGE_CHANNELS   latents of the known pixels in channels of their own (Wan 2.1 and 2.2 I2V, FLF2V;
                 HunyuanVideo 1.5, whole latent frames of it), see `image_channels`.
VACE             a context of known pixels, grey elsewhere, beside the video (Wan 2.1 VACE, 2.2
                 VACE-Fun, ours and core's); what is known as latents is put back at every
                 step besides, see `vace`.
GUIDES           frames of their own beside the video, for pictures that fill no latent frame
                 (MiniMax H3, LTX), see `guides`; whole latent frames by a noise level for
                 each token, which core does from the LATENT's mask.
TOKEN_LEVELS     regions, where the checkpoint takes a level for each token: ours of those with
                 FRAME_LEVELS, see `networks.transformer.FrameLevels`; LTX and MiniMax H3 by core.
REPLACEMENT      plain text-to-video checkpoints were not trained for it: at every step known frames
                 are put back, as noisy as the rest (inpainting by replacement). Core does it, from
                 the LATENT's mask.

Whichever it is, what a LATENT's mask keeps comes out of sampling as it went in.
"""

from enum import Enum
from typing import Any

from comfy import model_base
from comfy.model_patcher import ModelPatcher

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.known import Pins
from ...engine.canvas.masked import MaskedLatents
from ...models.errors import InputError
from ...models.wan.config import DiTConfig
from ..comfyui.conditioning import Conditioning
from ..networks.settings import host_family_of
from ..networks.transformer import config_of


class Route(Enum):
    """The ways above."""

    FRAME_LEVELS = "noise level 0"
    IMAGE_CHANNELS = "mask and image channels"
    VACE = "context beside the video"
    GUIDES = "beside the video"
    TOKEN_LEVELS = "noise level 0 for each token"
    REPLACEMENT = "put back at every step"


def route_for(config: DiTConfig | None) -> Route:
    """The way known frames reach a transformer of these sizes; None is one of core's own.

    Core's own take a noise level for each token where they can, from the LATENT's mask.
    """
    if config is None:
        return Route.REPLACEMENT
    if config.vace_blocks:
        return Route.VACE
    if config.frame_levels:
        return Route.FRAME_LEVELS
    if config.in_channels > config.out_channels:
        return Route.IMAGE_CHANNELS
    return Route.REPLACEMENT


def route_of(model: ModelPatcher) -> Route:
    """The way known frames reach a MODEL, ours or core's."""
    family = host_family_of(model)
    if family is not None and family.mask_channels:
        return Route.IMAGE_CHANNELS
    if family is not None and family.vace:
        return Route.VACE
    if family is not None and family.guides:
        return Route.GUIDES
    return route_for(config_of(model))


def route_for_regions(model: ModelPatcher) -> Route | None:
    """The way that a MODEL is told which places within a frame are known; None if there is none."""
    config, route = config_of(model), route_of(model)
    if route is Route.GUIDES:
        return Route.TOKEN_LEVELS
    if config is None:
        # Core's own gives a whole frame the mean level of its places, which none of them has.
        return None if isinstance(model.model, model_base.WAN22) else route
    return Route.TOKEN_LEVELS if route is Route.FRAME_LEVELS else route


def check_regions(model: ModelPatcher, video: MaskedLatents) -> None:
    """Refuse a canvas with regions where a MODEL has no way to be told of them."""
    if video.has_regions and route_for_regions(model) is None:
        raise InputError(
            "this model, as core loads it, knows whole frames only, and the canvas has regions: "
            "load its file with Longtake's Load Model."
        )


def pins_for(canvas: Canvas, model: ModelPatcher) -> Pins | None:
    """The pinned pixels that a MODEL reads; None where there are none, or no need.

    Without them it finds what the mask keeps by itself, see `concat_known`.
    """
    pins = canvas.pins
    return pins if pins and reads_pixels(model) and pins.fit(canvas.video.latents) else None


def reads_pixels(model: ModelPatcher) -> bool:
    """Whether a MODEL can be shown pixels, so that latent frames may be known in part."""
    family = host_family_of(model)
    if family is not None and family.mask_channels == 1:
        return False  # it is told of whole latent frames
    return route_of(model) in (Route.IMAGE_CHANNELS, Route.GUIDES, Route.VACE)


def unknown_model(model: ModelPatcher, video: MaskedLatents) -> str:
    """What to say of a MODEL that is in no table, where something is known; else nothing."""
    if video.mask is None or config_of(model) is not None or host_family_of(model) is not None:
        return ""
    name = type(model.model).__name__
    return f"{name} is no model that Longtake knows: known frames are put back at every step"


def missing_vision(config: DiTConfig | None, conditioning: Conditioning, clip_vision: Any) -> str:
    """What to say of a checkpoint that reads CLIP vision tokens and is given none; else nothing."""
    if config is None or config.image_width is None or clip_vision:
        return ""
    if all("clip_vision_output" in extras for _, extras in conditioning):
        return ""
    return (
        "connect CLIPVisionEncode to PinImage's clip_vision_output\n"
        "this checkpoint was trained to read CLIP vision tokens of its first image and gets none"
    )
