"""ComfyUI's LATENT <-> our canvas.

LATENT is a dict: "samples" (b, c, t, h, w), "noise_mask" (1 = to be sampled, 0 = known), and under
"longtake" what those two cannot say, by the names in FACTS. No other file knows them. Of models
that make sound, too, both are core's NestedTensor: of the pictures first, then of the sound.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import isfinite
from typing import Any

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.codec import Codec
from ...engine.canvas.grid import Grid
from ...engine.canvas.guidance import Guidance
from ...engine.canvas.known import Pins
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.regions import KeptPixels
from ...engine.canvas.sound_track import SoundLayout, SoundTrack, Ticks
from ...engine.rates import frame_rate
from ...engine.sampling.host_presets import grid_like, sound_layout
from ...engine.take.fingerprint import digest
from ...models.errors import InputError, NoPictureError, NotFiniteError
from .nested import full_mask, mask_as, nested, streams_of

KEY = "longtake"
FACTS = {  # fields of Canvas that travel in a LATENT
    "fps": (int, Fraction), "pins": Pins, "guidance": Guidance, "plan": tuple, "skip": int,
    "strength": (int, float), "noise": float, "kept": KeptPixels,
}  # fmt: skip
STAMPS = "stamps"  # what the numbers were when pins and noise were written down
LARGEST = 1e4  # numbers of a video's latents stay below some tens, in every model's scale
CHANGED = {
    "pins": "another node has changed the pinned frames: their latents are used, not their pixels",
    "noise": "another node has changed what was half sampled: it is taken as finished",
    "kept": "another node has cut the canvas: nothing is laid over what is decoded of it",
}


def to_canvas(
    latent: Mapping[str, Any], codec: Codec | None = None, *, masked: bool = True
) -> Canvas:
    """The canvas in a LATENT.

    Args:
        latent: of a video, or of a single image.
        codec: that of the VAE it is for, where there is one.
        masked: False where its mask does not matter: it is not looked at.

    Raises:
        InputError: if it is no video, its mask does not fit it, or it is not for this VAE.
        NotFiniteError: if it holds NaN or infinite numbers.
    """
    latents = samples_of(latent)
    both = len(streams_of(latent.get("samples"))) > 1
    grid = codec.grid if codec else grid_like(latents.shape[1], with_sound=both)
    mask = mask_of(latent, latents, grid) if masked else None
    facts, stamps, notes = facts_of(latent), latent.get(KEY, {}).get(STAMPS), []
    for name, stamp in stamps_of(latents, facts).items():
        if stamps is not None and stamps.get(name) != stamp:
            del facts[name]
            notes.append(CHANGED[name])
    if codec and "kept" in facts and not still_kept(facts["kept"], latents, grid):
        del facts["kept"]
        notes.append(CHANGED["kept"])
    sound = track_of(latent, latents, grid, facts.get("fps"), masked)
    return Canvas(MaskedLatents(latents, mask), codec, sound=sound, **facts, notes=tuple(notes))


def still_kept(kept: KeptPixels, latents: Tensor, grid: Grid) -> bool:
    """Whether latents (b, c, t, h, w) are still of the video that something was kept of."""
    size = tuple(side * grid.stride_hw for side in latents.shape[3:])
    return kept.size == size and kept.frames == grid.frames(latents.shape[2])


def stamps_of(latents: Tensor, facts: Mapping[str, Any]) -> dict[str, str]:
    """By which to see whether another node has changed the numbers that facts are about.

    Args:
        latents: (b, c, t, h, w).
        facts: of them, by the names in FACTS.
    """
    stamps, (pins, noise) = {}, (facts.get("pins"), facts.get("noise"))
    if pins and (made := pins.wholly(latents.shape[2])):
        stamps["pins"] = digest(latents[:1, :, made].float())
    if noise:
        stamps["noise"] = digest(latents.float(), sampled=True)
    return stamps


def facts_of(latent: Mapping[str, Any]) -> dict[str, Any]:
    """What a LATENT says of itself besides its numbers, by the names of Canvas's fields.

    Raises:
        InputError: if another node has put something else there.
    """
    facts = latent.get(KEY, {})
    if isinstance(facts, Mapping):
        told = {name: facts[name] for name in FACTS if name in facts}
        if all(isinstance(fact, FACTS[name]) for name, fact in told.items()):
            if (fps := told.get("fps")) is not None:
                frame_rate(fps)
            return told
    raise InputError(
        f"what the LATENT holds under {KEY!r} is not Longtake's: check the nodes before."
    )


def to_latent(canvas: Canvas, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A LATENT that any node for videos takes.

    Args:
        canvas: as it shall be sampled.
        like: the LATENT that the canvas was, for what other nodes wrote into it.
    """
    latent = {**(like or {}), "samples": canvas.video.latents}
    if canvas.video.mask is not None:
        latent["noise_mask"] = canvas.video.mask
    if (sound := canvas.sound) is not None:
        latent["samples"] = nested([canvas.video.latents, sound.latents])
        if canvas.video.mask is not None or sound.mask is not None:
            latent["noise_mask"] = nested([full_mask(canvas.video), mask_as(sound)])
    facts = {name: getattr(canvas, name) for name in FACTS}
    facts = {name: fact for name, fact in facts.items() if fact not in (None, (), 0)}
    return {**latent, KEY: _stamped(facts, canvas.video.latents)}


def _stamped(facts: Mapping[str, Any], latents: Tensor) -> dict[str, Any]:
    stamps = stamps_of(latents, facts)
    return {**facts, STAMPS: stamps} if stamps else dict(facts)


def with_sampled(latent: Mapping[str, Any], canvas: Canvas) -> dict[str, Any]:
    """The same LATENT with the numbers of a canvas in it, and what it said of them."""
    pictures = canvas.video.latents
    samples = pictures if canvas.sound is None else nested([pictures, canvas.sound.latents])
    facts = facts_of(latent)
    for name in ("pins", "noise"):
        facts.pop(name, None)
        if (fact := getattr(canvas, name)) is not None:
            facts[name] = fact
    facts = _stamped(facts, pictures)
    whole = {**latent, "samples": samples, **({KEY: facts} if facts or KEY in latent else {})}
    masks = streams_of(latent.get("noise_mask"))
    if canvas.sound is not None and len(masks) == 1:  # core's nodes want one for each stream
        whole["noise_mask"] = nested([*masks, mask_as(replace(canvas.sound, mask=None))])
    return whole


def track_of(
    latent: Mapping[str, Any], pictures: Tensor, grid: Grid, fps: Fraction | None, masked: bool
) -> SoundTrack | None:
    """The sound of a LATENT of pictures and sound; None of any other.

    Raises:
        InputError: for sound of no kind that is known.
        NotFiniteError, NoPictureError: as `samples_of`.
    """
    streams, masks = streams_of(latent.get("samples")), streams_of(latent.get("noise_mask"))
    if len(streams) < 2:
        return None
    latents = streams[1].cpu().float()
    layout = sound_layout(pictures.shape, latents.shape)
    if layout is None:
        raise InputError(
            f"a LATENT of pictures {tuple(pictures.shape)} and sound {tuple(latents.shape)} is of "
            f"no model that is known: LTX-2's and MiniMax H3's are."
        )
    check_numbers(latents)
    if len(latents) not in (1, len(pictures)):
        raise InputError(
            f"a LATENT of {len(pictures)} videos and the sound of {len(latents)}: make both "
            f"batches of one size."
        )
    latents = latents.expand(len(pictures), *latents.shape[1:])
    count, frames = latents.shape[layout.axis], grid.frames(pictures.shape[2])
    ticks = Ticks(grid, layout.rate / fps if fps else Fraction(count, frames))
    if ticks.count(pictures.shape[2]) != count:
        ticks = Ticks(grid, Fraction(count, frames))  # another node made it of another length
    mask = sound_mask(masks[1], layout, count) if masked and len(masks) > 1 else None
    return SoundTrack(latents, layout, ticks, mask)


def sound_mask(mask: Tensor, layout: SoundLayout, ticks: int) -> Tensor:
    """A mask of sound, of any shape that core's samplers take, as (ticks,).

    Of another length it is stretched, so that a tick is sampled where any part of it is.
    """
    axis = layout.axis - 4  # counted from the end, as core does where the batch is left out
    if mask.ndim < -axis or not mask.numel():
        raise InputError(
            f"the mask of the LATENT's sound is of shape {tuple(mask.shape)}: need {ticks} ticks."
        )
    if not torch.isfinite(mask := mask.cpu().float()).all():
        raise NotFiniteError("the mask of the LATENT's sound holds NaN or infinite numbers.")
    rows = mask.movedim(axis, 0).flatten(1).amax(1)
    return F.adaptive_max_pool1d(rows.view(1, 1, -1), ticks).flatten()


def samples_of(latent: Mapping[str, Any]) -> Tensor:
    """The tensor of a LATENT: (b, c, t, h, w); a single image is a video of one frame.

    On the CPU, where our own are: with --gpu-only those of core's nodes lie on the card.
    """
    latents = next(iter(streams_of(latent.get("samples"))), None)
    if not torch.is_tensor(latents) or latents.ndim not in (4, 5) or not latents.numel():
        shape = tuple(latents.shape) if torch.is_tensor(latents) else type(latents).__name__
        raise InputError(
            f"a LATENT of shape {shape} is not a video: need (batch, channels, frames, height, "
            f"width), as the Canvas node makes it."
        )
    latents = latents.cpu()
    check_numbers(latents)
    return latents.unsqueeze(2) if latents.ndim == 4 else latents


def check_numbers(latents: Tensor) -> None:
    """Refuse latents that are no video's.

    Raises:
        NotFiniteError: for NaN and infinity.
        NoPictureError: for numbers that are far too large.
    """
    if torch.is_complex(latents) or latents.dtype == torch.bool:
        raise InputError(f"a LATENT of {latents.dtype} holds no latents: check the node before.")
    if are_a_videos(latents):
        return
    largest = largest_of(latents)
    if not isfinite(largest):
        raise NotFiniteError("the LATENT holds NaN or infinite numbers: check the node before.")
    raise NoPictureError(
        f"the LATENT holds numbers up to {largest:.2g}, and those of a video stay below some tens: "
        f"check the node before."
    )


def are_a_videos(latents: Tensor) -> bool:
    """Whether no number is NaN, infinite, or larger than any of a video."""
    for axis, stride in enumerate(latents.stride()):
        if stride == 0:  # of a blank canvas, whose zeros are one and the same
            latents = latents.narrow(axis, 0, 1)
    return bool(latents.abs().le(LARGEST).all())  # false for NaN


def largest_of(latents: Tensor) -> float:
    """The largest number regardless of its sign; NaN if one is."""
    low, high = torch.aminmax(latents)
    return torch.maximum(low.abs().float(), high.abs().float()).item()


def mask_of(latent: Mapping[str, Any], latents: Tensor, grid: Grid) -> Tensor | None:
    """A LATENT's mask at its own resolution: (b or 1, 1, t, h or 1, w or 1); or None.

    Masks drawn on pixels come as (frames, h, w) or (frames, 1, h, w). Core would stretch them in
    time, by which a known first frame is lost; here a latent frame is sampled where any of its
    pixel frames is. A batch has one mask for all, or those of its videos one after another.
    """
    mask = next(iter(streams_of(latent.get("noise_mask"))), None)
    if mask is None:
        return None
    if not torch.is_tensor(mask) or mask.ndim < 2 or not mask.numel():
        what = f"of shape {tuple(mask.shape)}" if torch.is_tensor(mask) else type(mask).__name__
        raise InputError(f"the mask of the LATENT is {what}: need (frames, height, width).")
    mask = mask.cpu()
    if not torch.isfinite(mask).all():
        raise NotFiniteError("the mask of the LATENT holds NaN or infinite numbers.")
    if mask.ndim == 5:
        return reduce(mask.float(), "b c t h w -> b 1 t h w", "max")
    b, _, t, h, w = latents.shape
    pixels, fitting = mask.float().reshape(1, 1, -1, *mask.shape[-2:]), (1, t, grid.frames(t))
    frames = pixels.shape[2]
    if frames not in fitting and frames % b == 0 and frames // b in fitting:
        pixels = pixels.reshape(b, 1, frames // b, *mask.shape[-2:])  # one after another
    by_frame = F.adaptive_max_pool3d(pixels, (pixels.shape[2], h, w))
    return in_latent_time(by_frame, t, grid)


def in_latent_time(mask: Tensor, latent_frames: int, grid: Grid) -> Tensor:
    """mask: (1, 1, f, h, w) -> (1, 1, t, h, w)."""
    frames = mask.shape[2]
    if frames in (1, latent_frames):
        return mask.expand(-1, -1, latent_frames, -1, -1)
    if frames != grid.frames(latent_frames):
        raise InputError(
            f"a mask of {frames} frames does not fit this LATENT: need 1 for all of it, "
            f"{grid.frames(latent_frames)} pixel frames, or {latent_frames} latent frames."
        )
    spans = [slice(grid.first_frame(k), grid.first_frame(k + 1)) for k in range(latent_frames)]
    return torch.cat([mask[:, :, span].amax(dim=2, keepdim=True) for span in spans], dim=2)
