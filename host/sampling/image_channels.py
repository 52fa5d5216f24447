"""What checkpoints that read known pixels in channels of their own are shown there.

Wan's I2V checkpoints and HunyuanVideo 1.5 read latents of an image, and a mask that says of which
frames it is. Core's nodes (WanImageToVideo) write both into CONDITIONING for a whole video;
ours are made of what is pinned. A window is shown its own part of either, and what the windows
before it gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from einops import repeat
from torch import Tensor

from ...engine.canvas.known import ImageChannels, grey_like
from ...engine.canvas.masked import MaskedLatents
from ...engine.take.anchor import svi_channels
from ..comfyui.conditioning import IMAGE, MASK, Prompts
from ..networks.settings import host_family_of
from ..networks.transformer import config_of
from .camera import TRACKED
from .tracks import along_tracks


def with_channels(
    model: ModelPatcher,
    prompts: Prompts,
    channels: ImageChannels | None,
    part: MaskedLatents,
    frames: Sequence[int],
    vision: Any = None,
) -> Prompts:
    """Both prompts with what a MODEL is shown of known pixels in some latent frames.

    Prompts that core's nodes have given an image keep theirs: of it, what belongs to these frames.

    Args:
        channels: of these frames, of what is pinned; None if nothing is.
        part: the latents that are sampled.
        frames: their numbers in the video.
        vision: core's CLIP_VISION_OUTPUT of the first pinned image, where `channels` is None.
    """
    if channels is not None:
        channels = _of_family(model, channels.with_latents(part.latents, part.known), part)
    elif part.mask is not None and (count := mask_channels_of(model)):
        channels = ImageChannels.of(part, _blank(model, part), count, vision)
    values = {} if channels is None else channel_values(channels)

    def shown(extras: Mapping[str, Any]) -> Mapping[str, Any]:
        own = _given(model, extras, part, frames)
        if own is not None:
            return {**extras, **own}
        return extras if IMAGE in extras else {**extras, **values}

    return Prompts(*([[text, shown(extras)] for text, extras in prompt] for prompt in prompts))


def with_svi(model: ModelPatcher, prompts: Prompts, part: MaskedLatents, context: int) -> Prompts:
    """Both prompts with image channels as the LoRAs read them, see `svi_channels`.

    Of an image that core's nodes gave a prompt, the first latent frame is the anchor.
    """
    blank = torch.zeros_like(part.latents, dtype=torch.float32)
    blank = model.get_model_object("latent_format").process_out(blank).cpu()

    def shown(extras: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**extras, **channel_values(svi_channels(part, context, first_of(extras), blank))}

    return Prompts(*([[text, shown(extras)] for text, extras in prompt] for prompt in prompts))


def first_of(extras: Mapping[str, Any]) -> Tensor | None:
    """The latent frame that an image in a prompt begins with; None if it is not known there."""
    image, mask = extras.get(IMAGE), extras.get(MASK)
    if not torch.is_tensor(image) or (mask is not None and mask[:, :, 0].min() > 0):
        return None
    return image[:1, :, :1].float().cpu()


def channel_values(channels: ImageChannels) -> dict[str, Any]:
    """Image channels by core's names, its mask the other way round."""
    h, w = channels.image.shape[3:]
    known = channels.known
    if known.shape[3:] == (1, 1):
        known = repeat(known, "b c t 1 1 -> b c t h w", h=h, w=w)
    values = {IMAGE: channels.image, MASK: 1 - known}
    if channels.clip_vision:
        values["clip_vision_output"] = channels.clip_vision
    return values


def _given(
    model: ModelPatcher, extras: Mapping[str, Any], part: MaskedLatents, frames: Sequence[int]
) -> dict[str, Any] | None:
    """Of an image that a prompt brings, what belongs to some frames; None if all of it does."""
    if (tracked := extras.get(TRACKED)) is not None and IMAGE not in extras:
        return channel_values(along_tracks(tracked, part))
    image, mask = extras.get(IMAGE), extras.get(MASK)
    if not torch.is_tensor(image) or image.ndim != 5:
        return None
    if mask is None:
        mask = image.new_ones(1, 1, image.shape[2], 1, 1)
    length, (_, c, _, h, w) = max(image.shape[2], mask.shape[2]), part.latents.shape
    if image.shape[3:] != (h, w):  # as core does
        image = comfy.utils.common_upscale(image, w, h, "bilinear", "center")
    nothing = image.new_zeros(1, 1, 1, 1, 1)
    if image.shape[1] == c:
        nothing = _blank(model, part)[:1, :, -1:]
    own = ImageChannels(
        _at(image.float().cpu(), frames, nothing),
        _at(1 - mask.float().cpu(), frames, torch.zeros(1, 1, 1, 1, 1)),
    )
    handed = own.handed(part.known) if image.shape[1] == c else []
    if list(frames) == list(range(length)) and not handed:
        return None
    return channel_values(own.with_latents(part.latents, handed) if handed else own)


def _at(values: Tensor, frames: Sequence[int], blank: Tensor) -> Tensor:
    """Some frames of (b, c, t, h, w), which after its last are blank."""
    b, c, t, h, w = values.shape
    after = blank.to(values).expand(b, c, max(0, max(frames) + 1 - t), h, w)
    return torch.cat((values, after), dim=2)[:, :, list(frames)]


def _of_family(model: ModelPatcher, channels: ImageChannels, part: MaskedLatents) -> ImageChannels:
    """Image channels as a MODEL's family was shown frames of which nothing is known."""
    family = host_family_of(model)
    if family is None or not family.zeros:
        return channels
    seen = channels.known.amax(1, keepdim=True) > 0
    return replace(channels, image=torch.where(seen, channels.image, _blank(model, part)))


def _blank(model: ModelPatcher, part: MaskedLatents) -> Tensor:
    """Latents of nothing, of the shape of those that are sampled: to most of Wan's that is grey."""
    nothing, family = torch.zeros_like(part.latents, dtype=torch.float32), host_family_of(model)
    if config_of(model) is None and (family is None or not family.wan):
        return nothing
    shown = nothing if family is not None and family.zeros else grey_like(nothing)
    return model.get_model_object("latent_format").process_out(shown).cpu()


def mask_channels_of(model: ModelPatcher) -> int:
    """How many channels of a mask are to be made for a MODEL of core's, which would be shown zeros
    of what only its LATENT knows; 0 for all others: ours look there."""
    family = host_family_of(model)
    return 0 if family is None else family.mask_channels
