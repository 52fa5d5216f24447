"""What MiniMax H3 is told of known frames: in its CONDITIONING keyframes, which are pictures, clips
and sound at a pixel frame; and masks that keep a share of the latents."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor, nn

from ...engine.rounding import nearest
from ...engine.sampling.host_presets import H3_GRID, H3_SOUND, KEYFRAMES, MINIMAX_H3
from ..comfyui.conditioning import Conditioning
from ..networks.settings import host_family_of

PLACE = "resolved_frame_index"  # core's name of it in a keyframe
PARTS = PLACE, "latent", "audio_latent"
MASKS = "denoise_mask", "audio_denoise_mask"  # core's names, of pictures and sound
KEY = "longtake_masks"
TICKS = Fraction(H3_SOUND.rate, MINIMAX_H3.fps)  # that a pixel frame lasts


def with_keyframes(
    conditioning: Conditioning, shown: range, seen: Mapping[int, Tensor]
) -> Conditioning:
    """A prompt for MiniMax H3 with pictures by pixel frame.

    Those that core's nodes gave it are of the whole video: it keeps the ones that are shown.

    Args:
        shown: pixel frames of the video.
        seen: (1, c, 1, h, w) latents of further pictures, by pixel frame of what is shown.
    """
    frames = [{PLACE: frame, "latent": z} for frame, z in seen.items()]
    moved = []
    for text, extras in conditioning:
        given = extras.get(KEYFRAMES) or ()
        own = [part for one in given for part in parts_of(one, shown)]
        rest = {name: value for name, value in extras.items() if name != KEYFRAMES}
        moved.append([text, {**rest, KEYFRAMES: own + frames} if own or frames else rest])
    return moved


def parts_of(keyframe: Mapping[str, Any], shown: range) -> Iterator[dict[str, Any]]:
    """What of a keyframe, a picture or a clip with or without sound, lies in some pixel frames.

    A clip is cut where its latents can be, see `BlockGrid`; sound at the nearest tick.
    """
    place, rest = keyframe[PLACE], {k: v for k, v in keyframe.items() if k not in PARTS}
    if place in shown and _end_of(keyframe) <= shown.stop:
        yield {**keyframe, PLACE: place - shown.start}
        return
    if (clip := keyframe.get("latent")) is not None:
        skipped = max(0, -(-(shown.start - place) // H3_GRID.block_frames))
        kept = clip[:, :, skipped * H3_GRID.block :]
        start = place + skipped * H3_GRID.block_frames
        while kept.shape[2] and start + H3_GRID.frames(kept.shape[2]) > shown.stop:
            kept = kept[:, :, : max(0, kept.shape[2] - H3_GRID.block)]
        if kept.shape[2]:
            yield {**rest, PLACE: start - shown.start, "latent": kept}
    if (sound := keyframe.get("audio_latent")) is not None:
        start = max(place, shown.start)
        ticks = [nearest((frame - place) * TICKS) for frame in (start, shown.stop)]
        if len(range(*ticks)) and ticks[0] < sound.shape[-1]:
            heard = sound[..., slice(*ticks)]
            yield {**rest, PLACE: start - shown.start, "audio_latent": heard}


def _end_of(keyframe: Mapping[str, Any]) -> Fraction:
    """The pixel frame, or the time between two, at which a keyframe ends."""
    clip, sound = keyframe.get("latent"), keyframe.get("audio_latent")
    frames = 0 if clip is None else H3_GRID.frames(clip.shape[2])
    heard = 0 if sound is None else sound.shape[-1] / TICKS
    return keyframe[PLACE] + max(Fraction(frames), Fraction(heard))


def mend_masks(model: ModelPatcher, model_options: dict[str, Any]) -> None:
    """Have what a mask keeps to a share come out right, on hosts where it does not.

    The network predicts it at that share of the noise level, so its velocity counts for as much.
    Hosts that began to tell the network of masks left that out at first.
    """
    family = host_family_of(model)
    if family is None or family.guides != KEYFRAMES:
        return
    if not scales_by_mask(type(model.model.diffusion_model)):
        where = WrappersMP.DIFFUSION_MODEL
        add_wrapper_with_key(where, KEY, scaled, model_options, is_model_options=True)


def scales_by_mask(network: type[nn.Module]) -> bool:
    """Whether a network of the host multiplies what it gives by the masks it is told; asked of its
    own function, around one that gives ones."""
    ones = [torch.ones(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1)]
    asked = SimpleNamespace(_forward=lambda *_, **__: [x.clone() for x in ones])
    masks = {name: x / 2 for name, x in zip(MASKS, ones, strict=True)}
    try:
        out = network.forward(asked, ones, torch.ones(1), torch.ones(1, 1, 1), {}, **masks)
    except (AttributeError, TypeError):  # one that takes no masks, or is made in another way
        return True
    return [float(x.flatten()[0]) for x in out] == [0.5, 0.5]


def scaled(executor: Any, *args: Any, **more: Any) -> list[Tensor]:
    """A wrapper around the network: what it gives, by the masks that it was told of."""
    out = executor(*args, **more)
    masks = [more.get(name) for name in MASKS]
    return [x if m is None else x * m.to(x) for x, m in zip(out, masks, strict=True)]
