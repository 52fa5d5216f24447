"""Footage at another frame rate, into a VIDEO."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import comfy.model_management as mm
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import Input
from torch import Tensor

from ...engine.container.publish import check_space, writing_bytes
from ...engine.frames.interpolation import (
    Draw,
    Inbetween,
    Tally,
    TiledInterpolator,
    Timing,
    convert_rate,
    target_rate,
)
from ...engine.frames.prefetch import prefetch
from ...engine.frames.stream import with_even_sides
from ...engine.media.writer import write_video
from ...models.errors import InputError
from ..comfyui.films import film, temporary_file
from ..comfyui.progress import check_cancelled, with_progress
from ..comfyui.room import check_images
from .footage import Footage

FLOW_SCALES = ("auto", "1", "0.5", "0.25", "2")
LARGE = 2048 * 1152  # pixels of a frame, above which motion is estimated at half its size
SHARE = 0.5  # of the free memory that one step may use
SMALLEST_TILE = 512  # that is chosen to save memory
LEAST_TILE = 256  # in which the network can still find motion
MAX_BATCH = 8  # frames drawn at once
CPU_BATCH = 2**19  # pixels drawn at once on a CPU, where more is not faster
CPU_TILE = 2**23  # pixels, 4K's, that one layer is given there, so that Cancel need not wait for it


@dataclass(frozen=True)
class InterpolateOptions:
    """How a video is to be interpolated.

    Attributes:
        fps: of the result; None: `multiplier` times its own.
        multiplier: see `fps`.
        sensitivity: of cut detection, 0 (off) to 1.
        loop, hold: see Timing.
        flow_scale: of motion estimation, one of FLOW_SCALES.
        tile: longest side of a tile in pixels; 0: what fits into memory.
    """

    fps: Fraction | None
    multiplier: float = 2
    sensitivity: float = 0.5
    loop: bool = False
    hold: bool = True
    flow_scale: str = "auto"
    tile: int = 0

    def __post_init__(self) -> None:
        if 0 < self.tile < LEAST_TILE:
            raise InputError(f"tile {self.tile}: choose 0 (what fits) or at least {LEAST_TILE}.")


def interpolate_video(
    footage: Footage, network: ModelPatcher, options: InterpolateOptions, images: bool
) -> tuple[Input.Video, Tensor | None, str]:
    """Footage at another frame rate, as a VIDEO in ComfyUI's temp folder.

    Args:
        footage: its sound is kept.
        network: from `rife.load_rife`.
        options: how.
        images: whether to return all frames as well.

    Returns:
        The VIDEO; the frames (n, h, w, 3) in [0, 1] or None; a line on what was done.

    Raises:
        InputError: for a rate that is out of range.
        OutputError: if the file cannot be written.
    """
    target = target_rate(footage.fps, options.fps, options.multiplier)
    timing, tally = Timing(footage.fps, target, options.loop, options.hold), Tally()
    total = timing.frames(footage.frames)
    path = temporary_file("interpolated")
    check_space(path.parent, writing_bytes(total, footage.width, footage.height))
    if images:
        check_images(total, footage.width, footage.height, "turn images off", copies=2)
    draw, batch = _load_for(footage, network, options)
    chunks = convert_rate(
        prefetch(footage.stream()),
        timing,
        draw,
        sensitivity=options.sensitivity,
        batch=batch,
        tally=tally,
    )
    kept: list[Tensor] = []
    chunks = _collected(chunks, kept) if images else chunks
    frames = with_progress(prefetch(with_even_sides(chunks)), total)
    write_video(path, frames, timing.target, sound=footage.sound, check=check_cancelled)
    whole = torch.cat(kept).float().div_(255) if images else None
    note = ", ".join((_summary(timing, tally), *footage.notes))
    return film(path), whole, note


def _collected(chunks: Iterable[Tensor], into: list[Tensor]) -> Iterator[Tensor]:
    """The chunks themselves, each also appended to a list."""
    for chunk in chunks:
        into.append(chunk)
        yield chunk


def _load_for(
    footage: Footage, patcher: ModelPatcher, options: InterpolateOptions
) -> tuple[Draw, int]:
    """Move the network to its device; returns how it draws, and how many frames at once."""
    network, device, pixels = patcher.model, patcher.load_device, footage.width * footage.height
    scale = _flow_scale(options, pixels)
    each = 400 + 60 * network.config.features  # bytes per pixel, estimated
    mm.load_models_gpu([patcher], memory_required=each * pixels, force_full_load=True)
    room = SHARE * mm.get_free_memory(device) / each  # pixels
    if mm.is_device_cpu(device):
        room = min(room, CPU_TILE)
    tile = options.tile or None
    if tile is None and pixels > room:
        tile = int(max(SMALLEST_TILE, room**0.5 // 64 * 64))
    at_once = min(room, CPU_BATCH) if mm.is_device_cpu(device) else room

    def forward(pairs: Tensor, times: Tensor) -> Tensor:
        return network(pairs, times, scale)

    interpolator = TiledInterpolator(forward, network.config.multiple(scale), device, tile)

    def draw(items: list[Inbetween]) -> Tensor:
        with torch.inference_mode():
            return interpolator(items)

    return draw, int(min(MAX_BATCH, max(1, at_once // pixels)))


def _flow_scale(options: InterpolateOptions, pixels: int) -> float:
    """The scale of a frame at which its motion is estimated."""
    if options.flow_scale == "auto":
        return 0.5 if pixels > LARGE else 1.0
    return float(options.flow_scale)


def _summary(timing: Timing, tally: Tally) -> str:
    """What was done, in a line."""
    cuts = f"{tally.cuts} cut{'' if tally.cuts == 1 else 's'} kept"
    return (
        f"{tally.sources} frames at {float(timing.source):.6g} fps -> {tally.frames} at "
        f"{float(timing.target):.6g} fps, {tally.drawn} drawn, {cuts}"
    )
