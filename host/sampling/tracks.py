"""Tracks in CONDITIONING, for Wan checkpoints that were trained on them: Wan-Move and ATI; and
as a clip of dots, for LTX's IC-LoRA.

What is written there is what core's WanMoveTrackToVideo and WanTrackToVideo write, but the negative
prompt's picture stays as it is where core's Wan-Move node changes it, too, and which track is on
top where some cross is said by a seed. A window of a longer video is shown what those nodes would
write for a clip that begins with its first latent frame, where each track is by then.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from comfy.latent_formats import Wan21
from PIL import Image
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.driving import seen_frames
from ...engine.canvas.grid import CausalGrid
from ...engine.canvas.known import GREY_PIXEL, MASK_CHANNELS, ImageChannels
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.picture import fitted
from ...engine.canvas.regions import as_masks
from ...engine.motion.brush import Stroke, Tracks, tracks_of, within
from ...engine.motion.camera import frame_times
from ...engine.motion.drawn_tracks import drawn_tracks, trails
from ...engine.motion.track_features import ATI_POINTS, CELL, ati_features, moved_features
from ...engine.opaque import opaque
from ...models.errors import InputError
from ..comfyui.conditioning import IMAGE, MASK, Conditioning, Prompts
from ..comfyui.progress import check_cancelled
from .camera import TRACKED

WAN_MOVE, ATI, LTX = METHODS = ("Wan-Move", "ATI", "LTX motion track")
MOST_BYTES = 4 * 2**30  # of a clip in which tracks are drawn
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


@dataclass(frozen=True, eq=False)
class Tracked:
    """A picture in which things go along tracks, for some latent frames.

    Attributes:
        options: how.
        tracks: of the 1 + 4·(t - 1) pixel frames that a model takes them for.
        shown: (1, c, t, h, w) latents of the picture, and of what follows it without tracks.
        begins: whether the first of them is the picture.
    """

    options: BrushOptions
    tracks: Tracks
    shown: Tensor
    begins: bool = True

    def at(self, frames: Sequence[int]) -> "Tracked":
        """Those of some latent frames, which follow one another."""
        seen = seen_frames(range(frames[0], frames[-1] + 1), CausalGrid(CHANNELS))
        part = slice(seen.start, seen.stop)
        tracks = Tracks(self.tracks.path[part], self.tracks.visible[part])
        shown, begins = self.shown[:, :, list(frames)].clone(), self.begins and not frames[0]
        return replace(self, tracks=tracks, shown=shown, begins=begins)


def along_tracks(tracked: Tracked, part: MaskedLatents) -> ImageChannels:
    """Image channels of a window in which things go along tracks.

    Args:
        part: its latents; those that are known come from the window before, and stay as they are.
    """
    latent_frames = part.latents.shape[2]
    known = torch.zeros(1, MASK_CHANNELS, latent_frames, 1, 1)
    known[:, :, : int(tracked.begins)] = 1
    plain = ImageChannels(tracked.shown, known)
    handed = plain.handed(part.known)
    plain = plain.showing(part.latents, handed)
    if tracked.options.method == WAN_MOVE:
        options = tracked.options
        moved = moved_features(plain.image, tracked.tracks, options.strength, options.seed)
        known = plain.known
    else:
        moved, known = held_by_tracks(plain.image, at_moments(tracked.tracks.path))
    kept = torch.zeros(latent_frames, 1, 1)
    kept[handed] = 1
    return ImageChannels(
        torch.where(kept > 0, plain.image, moved), torch.where(kept > 0, 1.0, known)
    )


def held_by_tracks(latents: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """What ATI makes of latents (b, c, t, h, w) of a VAE, and how much of each cell tracks hold."""
    scale, size = Wan21(), (latents.shape[4] * CELL, latents.shape[3] * CELL)
    both = [ati_features(one[None], moments, size) for one in scale.process_in(latents)]
    return scale.process_out(torch.cat([moved for moved, _ in both])), both[0][1]


def at_moments(path: Tensor) -> Tensor:
    """Paths (frames, n, 2) at 121 moments from the first frame to the last, as ATI reads them."""
    even = F.interpolate(path.permute(1, 2, 0), ATI_POINTS, mode="linear", align_corners=True)
    return even.permute(2, 0, 1)


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
        moments = torch.cat((moments, at_moments(others.path)), 1)
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
    if options.method == LTX:
        return prompts
    if canvas.codec.grid.channels != CHANNELS:
        raise InputError(
            f"{options.method} is a checkpoint of Wan 2.1, and this VAE makes latents of "
            f"{canvas.codec.grid.channels} channels: connect Wan 2.1's VAE, to Canvas, too."
        )
    latents = before_tracks(canvas, image)
    mask = torch.ones(1, 1, *latents.shape[2:])
    mask[:, :, 0] = 0
    followed = {TRACKED: Tracked(options, tracks, latents)}
    vision = {} if clip_vision is None else {"clip_vision_output": clip_vision}
    if options.method == WAN_MOVE:
        moved = moved_features(latents, tracks, options.strength, options.seed)
        positive, negative = {IMAGE: moved, MASK: mask, **followed}, {IMAGE: latents, MASK: mask}
    else:
        moved, held = held_by_tracks(latents, moments)
        positive = negative = {IMAGE: moved, MASK: 1 - held, **followed}
    return Prompts(
        _with(prompts.positive, positive | vision), _with(prompts.negative, negative | vision)
    )


def before_tracks(canvas: Canvas, image: Tensor) -> Tensor:
    """(1, c, t, h, w) latents of a canvas that begins with an IMAGE, grey after it.

    Of a canvas that is longer than a window that much is encoded: what follows is grey as before.
    """
    grid, t = canvas.codec.grid, canvas.timeline.latent_frames
    encoded = min(t, canvas.codec.window)
    frames = torch.full((grid.frames(encoded), *canvas.size, 3), GREY_PIXEL)
    frames[:1] = fitted(opaque(image[:1].float().cpu()), *canvas.size, "crop")
    latents = canvas.codec.encode(frames)
    rest = latents[:, :, -1:].expand(-1, -1, t - encoded, -1, -1)
    return torch.cat((latents, rest), dim=2)


def _with(conditioning: Conditioning, values: Mapping[str, Any]) -> Conditioning:
    return [[text, {**extras, **values}] for text, extras in conditioning]


def as_text(moments: Tensor) -> str:
    """Paths (121, n, 2) as core's WanTrackToVideo and other packs' nodes read them."""
    tracks = [
        [{"x": round(x, 2), "y": round(y, 2)} for x, y in track.tolist()]
        for track in moments.unbind(1)
    ]
    return json.dumps(tracks)


def dots_of(canvas: Canvas, tracks: Tracks) -> Tensor:
    """IMAGE: the tracks as a clip of dots, see `trails`. Raises InputError if it is too long."""
    height, width = canvas.size
    if (size := len(tracks.path) * height * width * 12) > MOST_BYTES:
        raise InputError(
            f"{len(tracks.path)} frames of tracks at {width}×{height} take {size / 1e9:.1f} GB: "
            f"LTX's tracks are for one clip of some seconds; make the canvas shorter."
        )
    frames = []
    for frame in range(len(tracks.path)):
        check_cancelled()
        frames.append(trails(tracks, (width, height), frame))
    return torch.stack(frames)


def picture_of(image: Tensor, canvas: Canvas, tracks: Tracks) -> Image.Image:
    """The tracks on the picture."""
    height, width = canvas.size
    shown = fitted(opaque(image[:1].float().cpu()), height, width, "crop")[0]
    return drawn_tracks(tracks, Image.fromarray(shown.mul(255).byte().numpy()))
