"""Keyframes of MiniMax H3: pictures, clips and sound at a pixel frame, in its CONDITIONING."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from torch import Tensor

from ...engine.rounding import nearest
from ...engine.sampling.host_presets import H3_GRID, H3_SOUND, KEYFRAMES, MINIMAX_H3
from ..comfyui.conditioning import Conditioning

PLACE = "resolved_frame_index"  # core's name of it in a keyframe
PARTS = PLACE, "latent", "audio_latent"
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
