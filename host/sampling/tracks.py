"""Tracks in CONDITIONING, for Wan checkpoints that were trained on them: Wan-Move and ATI.

What is written there is what core's WanMoveTrackToVideo and WanTrackToVideo write, but the negative
prompt's picture stays as it is where core's Wan-Move node changes it, too, and which track is on
top where some cross is said by a seed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from comfy.latent_formats import Wan21
from PIL import Image
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.known import GREY_PIXEL
from ...engine.canvas.picture import fitted
from ...engine.canvas.regions import as_masks
from ...engine.motion.brush import Stroke, Tracks, tracks_of, within
from ...engine.motion.camera import frame_times
from ...engine.motion.drawn_tracks import drawn_tracks
from ...engine.motion.track_features import ATI_POINTS, ati_features, moved_features
from ...engine.opaque import opaque
from ...models.errors import InputError
from ..comfyui.conditioning import Conditioning, Prompts
from .camera import TRACKED
from .image_channels import IMAGE, MASK

WAN_MOVE, ATI = METHODS = ("Wan-Move", "ATI")
CHANNELS = 16  # of the latents of both


@dataclass(frozen=True)
class BrushOptions:
    """How strokes become tracks.

    Attributes:
        method: one of METHODS.
        points: tracks of each region.
        strength: of Wan-Move's tracks.
        seed: draws the points of regions, and says what is on top where tracks cross.
    """

    method: str
    points: int
    strength: float
    seed: int


def tracks_from(value: Any) -> Tracks:
    """Core's TRACKS. Raises InputError if it is none."""
    path = value.get("track_path") if isinstance(value, Mapping) else None
    if not torch.is_tensor(path) or path.ndim != 3 or path.shape[-1] != 2:
        raise InputError("tracks holds no track_path of (frames, points, 2): connect a TRACKS.")
    seen = value.get("track_visibility")
    seen = torch.ones(path.shape[:2], dtype=torch.bool) if seen is None else seen.bool().cpu()
    return Tracks(path.float().cpu(), seen.expand(path.shape[:2]))


def as_core_has_them(tracks: Tracks) -> dict[str, Tensor]:
    """TRACKS."""
    return {"track_path": tracks.path, "track_visibility": tracks.visible}


def brush_tracks(
    canvas: Canvas,
    strokes: Sequence[Stroke],
    options: BrushOptions,
    masks: Tensor | None,
    others: Tracks | None,
) -> tuple[Tracks, Tensor]:
    """The tracks of strokes and of other nodes, on a canvas.

    Returns:
        Of each pixel frame; and the path alone at 121 moments of the whole clip, as ATI reads it.

    Raises:
        InputError: for what does not fit the canvas or leaves it, or where there is no track.
    """
    masks = None if masks is None else as_masks(masks)
    height, width = canvas.size
    count, fps = canvas.timeline.frames, canvas.timeline.fps
    times, seconds = frame_times(count, fps), count / fps
    rest = seconds, (width, height), options.points, options.seed
    tracks = tracks_of(strokes, masks, times, *rest)
    even = [times[-1] * n / (ATI_POINTS - 1) for n in range(ATI_POINTS)]
    moments = tracks_of(strokes, masks, even, *rest).path
    if others is not None:
        tracks = tracks.followed_by(
            Tracks(others.path, others.visible & within(others.path, (width, height)))
        )
        resampled = F.interpolate(
            others.path.permute(1, 2, 0), ATI_POINTS, mode="linear", align_corners=True
        )
        moments = torch.cat((moments, resampled.permute(2, 0, 1)), 1)
    if not tracks.path.shape[1]:
        raise InputError("there is no track: write a stroke, as '[0s] 0.3,0.5 right 0.2w'.")
    return tracks, moments


def with_tracks(
    prompts: Prompts,
    canvas: Canvas,
    image: Tensor,
    tracks: Tracks,
    moments: Tensor,
    options: BrushOptions,
    clip_vision: Any = None,
) -> Prompts:
    """Both prompts with the picture that a clip begins with, and where things in it go.

    Args:
        image: IMAGE, cut to the canvas's shape.
        tracks, moments: of `brush_tracks`.
        clip_vision: core's CLIP_VISION_OUTPUT of the picture, or None.

    Raises:
        InputError: for a VAE of other latents.
    """
    if canvas.codec.grid.channels != CHANNELS:
        raise InputError(
            f"{options.method} is a checkpoint of Wan 2.1, and this VAE makes latents of "
            f"{canvas.codec.grid.channels} channels: connect Wan 2.1's VAE, to Canvas, too."
        )
    size = height, width = canvas.size
    frames = torch.full((canvas.timeline.frames, height, width, 3), GREY_PIXEL)
    frames[:1] = fitted(opaque(image[:1].float().cpu()), *size, "crop")
    latents = canvas.codec.encode(frames)
    mask = torch.ones(1, 1, *latents.shape[2:])
    mask[:, :, 0] = 0
    shown = latents
    if options.method == WAN_MOVE:
        moved = moved_features(latents, tracks, options.strength, options.seed)
    else:
        scale = Wan21()
        moved, held = ati_features(scale.process_in(latents), moments, (width, height))
        shown = moved = scale.process_out(moved)
        mask = 1 - held
    more = {TRACKED: latents.shape[2]}
    more |= {} if clip_vision is None else {"clip_vision_output": clip_vision}
    return Prompts(
        _with(prompts.positive, {IMAGE: moved, MASK: mask, **more}),
        _with(prompts.negative, {IMAGE: shown, MASK: mask, **more}),
    )


def _with(conditioning: Conditioning, values: Mapping[str, Any]) -> Conditioning:
    return [[text, {**extras, **values}] for text, extras in conditioning]


def as_text(moments: Tensor) -> str:
    """Paths (121, n, 2) as core's WanTrackToVideo and other packs' nodes read them."""
    tracks = [
        [{"x": round(x, 2), "y": round(y, 2)} for x, y in track.tolist()]
        for track in moments.unbind(1)
    ]
    return json.dumps(tracks)


def picture_of(image: Tensor, canvas: Canvas, tracks: Tracks) -> Image.Image:
    """The tracks on the picture."""
    height, width = canvas.size
    shown = fitted(opaque(image[:1].float().cpu()), height, width, "crop")[0]
    return drawn_tracks(tracks, Image.fromarray(shown.mul(255).byte().numpy()))
