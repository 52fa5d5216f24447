"""RIFE under ComfyUI's memory management, and clips through it to another rate."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import comfy.model_management as mm
import comfy.ops
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ...engine.frames.interpolation import (
    Inbetween,
    Tally,
    TiledInterpolator,
    Timing,
    convert_rate,
    target_rate,
)
from ...engine.frames.prefetch import prefetch
from ...engine.frames.stream import with_even_sides
from ...engine.media.publish import check_space, writing_bytes
from ...engine.media.writer import write_video
from ...models.checkpoint import load_into, load_weights, read_header
from ...models.errors import CheckpointError, InputError
from ...models.rife.config import detect_rife
from ...models.rife.ifnet import IFNet
from ..comfyui.cache import Key, models
from ..comfyui.folders import READABLE, no_such_file
from ..comfyui.output import temporary_file
from ..comfyui.progress import check_cancelled
from ..networks.load import short
from ..networks.vae import patcher_for
from .clip import Footage
from .save import counted

BUILT_IN = "RIFE 4.0 (built in)"
WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "rife" / "rife_4.0.safetensors"
FOLDER = "frame_interpolation"  # newer hosts have it, and their own loader reads the same files
DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FLOW_SCALES = ("auto", "1", "0.5", "0.25", "2")
LARGE = 2048 * 1152  # pixels of a frame, beyond which motion is looked for at half its size
ROOM = 0.5  # of the free memory, that one step may take
SMALLEST_TILE = 512  # that is chosen for memory
LEAST_TILE = 256  # in which the network can still find motion
MOST = 8  # frames drawn at once
ENOUGH = 2**19  # pixels drawn at once on a CPU: more is not quicker


@dataclass(frozen=True)
class InterpolateOptions:
    """What a clip shall become."""

    fps: Fraction | None  # None: its own times `multiplier`
    multiplier: float = 2
    sensitivity: float = 0.5  # of cut detection; 0: off
    loop: bool = False
    hold: bool = True
    flow_scale: str = "auto"
    tile: int = 0  # pixels; 0: what fits into memory

    def __post_init__(self) -> None:
        if 0 < self.tile < LEAST_TILE:
            raise InputError(f"tile {self.tile}: choose 0 (what fits) or at least {LEAST_TILE}.")


def network_menu() -> list[str]:
    """What there is to interpolate with: the built-in network, then files."""
    return [BUILT_IN, *network_files()]


def network_files() -> list[str]:
    """Names in ComfyUI's folder for such networks, which older hosts do not know yet."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    names = folder_paths.get_filename_list(FOLDER)
    return [name for name in names if name.lower().endswith(READABLE)]


def find_network(name: str) -> Path:
    """The file behind a menu entry.

    Raises:
        InputError: for a name that the menu does not have.
        CheckpointError: if the built-in weights are not where they belong.
    """
    if name == BUILT_IN:
        if not WEIGHTS.is_file():
            raise CheckpointError(
                f"'{WEIGHTS.name}' is not in {WEIGHTS.parent.name}/: update or reinstall Longtake."
            )
        return WEIGHTS
    # Only names from the list: a path made up by hand could lead anywhere on the disk.
    path = folder_paths.get_full_path(FOLDER, name) if name in network_files() else None
    if path is None:
        raise InputError(no_such_file(name, FOLDER, network_menu()))
    return Path(path)


def load_interpolator(name: str, dtype: str = "auto") -> ModelPatcher:
    """A RIFE network, shared by all that use the same file.

    Args:
        name: an entry of `network_menu()`.
        dtype: of its convolutions, one of DTYPES; motion is always float32.

    Raises:
        InputError: for a name or dtype that there is not.
        CheckpointError: if the file is damaged, or holds another network.
    """
    if dtype not in DTYPES:
        raise InputError(f"no dtype is called {dtype!r}: choose from {', '.join(DTYPES)}.")
    header = read_header(find_network(name))
    config, names = detect_rife(header)
    device = mm.get_torch_device()
    chosen = DTYPES[dtype] or interpolation_dtype(device)

    def load() -> ModelPatcher:
        weights = load_weights(header, names, dtype=chosen)
        layers = comfy.ops.disable_weight_init
        network = IFNet(config, operations=layers, device="meta", dtype=chosen)
        load_into(network, weights, header.name)
        for block in network.blocks:  # so that Cancel need not wait for a whole frame
            block.register_forward_pre_hook(lambda *_: check_cancelled())
        return patcher_for(network.eval().requires_grad_(False), device)

    return models.get(Key.of(header.path, "rife", short(chosen)), load)


def interpolation_dtype(device: torch.device) -> torch.dtype:
    """What ComfyUI finds best, but for CPUs, on which it is exact unless somebody asks."""
    half = not mm.is_device_cpu(device) and mm.should_use_fp16(device)
    return torch.float16 if half else torch.float32


def interpolate_video(
    clip: Footage, network: ModelPatcher, wish: InterpolateOptions, images: bool
) -> tuple[Input.Video, Tensor | None, str]:
    """A clip at another rate, as a VIDEO in ComfyUI's temp folder.

    Args:
        clip: what is shown; its sound goes along.
        network: from `load_interpolator`.
        wish: what it shall become.
        images: whether all frames are wanted in memory, too.

    Returns:
        The VIDEO; the frames (n, h, w, 3) in [0, 1] or None; a line on what was done.

    Raises:
        InputError: for rates that make no sense.
    """
    timing = Timing(
        clip.fps, target_rate(clip.fps, wish.fps, wish.multiplier), wish.loop, wish.hold
    )
    tally = Tally()
    total = timing.frames(clip.frames)
    path = temporary_file("interpolated")
    check_space(path.parent, writing_bytes(total, clip.width, clip.height))
    draw, batch = prepared(clip, network, wish)
    chunks = convert_rate(
        prefetch(clip.stream()),
        timing,
        draw,
        sensitivity=wish.sensitivity,
        batch=batch,
        tally=tally,
    )
    kept: list[Tensor] = []
    chunks = collected(chunks, kept) if images else chunks
    film = counted(prefetch(with_even_sides(chunks)), total)
    write_video(path, film, timing.target, sound=clip.sound, check=check_cancelled)
    whole = torch.cat(kept) if images else None
    video = InputImpl.VideoFromFile(str(path))
    return video, None if whole is None else whole.float().div_(255), summary(timing, tally)


def collected(chunks: Iterable[Tensor], kept: list[Tensor]) -> Iterator[Tensor]:
    """The chunks themselves, each also put into `kept`."""
    for chunk in chunks:
        kept.append(chunk)
        yield chunk


def prepared(
    clip: Footage, patcher: ModelPatcher, wish: InterpolateOptions
) -> tuple[Callable, int]:
    """Draw for this clip, with the network on its device; and how many frames at once."""
    network, device, pixels = patcher.model, patcher.load_device, clip.width * clip.height
    scale = flow_scale(wish, pixels)
    each = 400 + 60 * network.config.features  # bytes for a pixel, estimated
    mm.load_models_gpu([patcher], memory_required=each * pixels, force_full_load=True)
    room = ROOM * mm.get_free_memory(device) / each  # pixels
    tile = wish.tile or (None if pixels <= room else int(max(SMALLEST_TILE, room**0.5 // 64 * 64)))
    at_once = ENOUGH if mm.is_device_cpu(device) else room

    def forward(pairs: Tensor, times: Tensor) -> Tensor:
        return network(pairs, times, scale)

    paint = TiledInterpolator(forward, network.config.multiple(scale), device, tile)

    def draw(items: list[Inbetween]) -> Tensor:
        with torch.inference_mode():
            return paint(items)

    return draw, int(min(MOST, max(1, at_once // pixels)))


def flow_scale(wish: InterpolateOptions, pixels: int) -> float:
    """At which share of its size motion is looked for in a frame."""
    if wish.flow_scale == "auto":
        return 0.5 if pixels > LARGE else 1.0
    return float(wish.flow_scale)


def summary(timing: Timing, tally: Tally) -> str:
    """What was done, in a line."""
    cuts = f"{tally.cuts} cut{'' if tally.cuts == 1 else 's'} kept"
    return (
        f"{tally.sources} frames at {float(timing.source):.6g} fps -> {tally.frames} at "
        f"{float(timing.target):.6g} fps, {tally.drawn} drawn, {cuts}"
    )
