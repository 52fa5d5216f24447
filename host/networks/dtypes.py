"""The dtypes that a transformer's weights are stored in, where they differ from its file's."""

from collections.abc import Callable, Mapping
from functools import partial

import comfy.model_management as mm
import comfy.utils
import torch
from comfy import supported_models
from comfy.cli_args import args
from torch import Tensor

from ...models.checkpoint import READ, load_weights
from ...models.errors import CheckpointError, InputError
from ...models.wan.detect import Checkpoint
from ...models.wan.scales import SCALE
from ...models.weights_file import Header
from ..comfyui.file_slices import read_for_host
from .quantised import Storage, holds_fp8, multiplied_out, named_for_host, with_notes

DTYPES: Mapping[str, torch.dtype | None] = {
    "auto": None,  # ComfyUI's choice for the device and the file
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
    "fp8_e4m3fn": torch.float8_e4m3fn,
}
LARGEST_WEIGHT = 4.0  # root mean square of a row; trained ones are below 0.3, scaled ones above 9


def check_dtype(name: str) -> str:
    """The name. Raises InputError for one not in DTYPES."""
    if name not in DTYPES:
        raise InputError(f"unknown dtype {name!r}: choose from {', '.join(DTYPES)}.")
    return name


def dtype_for(name: str, stored: torch.dtype, parameters: int) -> torch.dtype:
    """The dtype behind a loader's menu entry.

    Raises:
        InputError: for one not in DTYPES, or that the device does not have.
    """
    chosen, fp8 = DTYPES[check_dtype(name)], holds_fp8(mm.get_torch_device())
    if chosen is not None:
        if chosen.itemsize == 1 and not fp8:
            raise InputError(f"this GPU has no {name}: choose auto, bf16, fp16 or fp32.")
        return chosen
    supported = supported_models.WAN21_T2V.supported_inference_dtypes
    stored = stored if fp8 or stored.itemsize > 1 else torch.bfloat16
    chosen = mm.unet_dtype(model_params=parameters, supported_dtypes=supported, weight_dtype=stored)
    return stored if chosen is torch.float16 and may_stay(stored, parameters) else chosen


def may_stay(stored: torch.dtype, parameters: int) -> bool:
    """Whether the bf16 of a large file stays that on a card that computes with it as with fp16.

    Core would convert it, which makes a copy of all weights in memory where they could be mapped.
    """
    if parameters * stored.itemsize <= READ:
        return False
    asked = args.fp16_unet or args.force_fp16 or mm.PRIORITIZE_FP16
    can = mm.should_use_bf16(mm.get_torch_device(), model_params=parameters)
    return stored is torch.bfloat16 and can and not asked


def stored_as(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights in `dtype`; of 8 bits only the blocks' matrices, since little else bears it."""
    return {name: _stored(name, weight, dtype) for name, weight in weights.items()}


def _stored(name: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """One weight as `stored_as` stores it."""
    matrix = name.startswith("blocks.") and weight.ndim == 2
    return weight.to(dtype if dtype.itemsize > 1 or matrix else torch.bfloat16)


def read_weights(
    header: Header, found: Checkpoint, dtype: torch.dtype, storage: Storage
) -> dict[str, Tensor]:
    """A transformer's weights, mapped from its file wherever they can stay as they are.

    Args:
        header, found: from `read_header` and `detect`.
        dtype: what most of them are stored in.
        storage: from `storage_for`; "plain" multiplies out what is scaled or packed.

    Raises:
        CheckpointError: unreadable, not finite, or fp8 whose scales were lost.
    """
    if not found.packed:
        weights = _read_numbers(header, found, dtype, keep_scales=storage != "plain")
        return named_for_host(weights) if storage == "quantised" else weights
    report = _reporter(len(found.names))
    weights = read_for_host(header, found.names, on_tensor=report)
    if storage == "quantised":
        return with_notes(weights, found.packed)
    return multiplied_out(weights, found.packed, partial(_stored, dtype=dtype))


def _read_numbers(
    header: Header, found: Checkpoint, dtype: torch.dtype, keep_scales: bool
) -> dict[str, Tensor]:
    """Weights that are numbers, of fp8 perhaps with scales, which stay beside them or not."""
    scales = {new: old for old, new in found.names.items() if new.endswith(f".{SCALE}")}
    factors = load_weights(header, {o: n for n, o in scales.items()}) if scales else {}
    names = {old: new for old, new in found.names.items() if new not in scales}

    def prepare(name: str, weight: Tensor) -> Tensor:
        scale = factors.get(f"{name.removesuffix('weight')}{SCALE}")
        if scale is None:
            _refuse_lost_scale(name, weight, header.name)
            return weight if scales and keep_scales else _stored(name, weight, dtype)
        if keep_scales and scale.numel() == 1:
            return weight
        return (weight.float() * scale.float()).to(dtype if dtype.itemsize > 1 else torch.bfloat16)

    report = _reporter(len(names))
    weights = read_for_host(header, names, prepare=prepare, on_tensor=report)
    if keep_scales:
        single = {name: scale for name, scale in factors.items() if scale.numel() == 1}
        weights |= {name: scale.float().reshape(()) for name, scale in single.items()}
    return weights


def _reporter(total: int) -> Callable[[], None]:
    """A callback for every tensor: moves the node's bar, a percent at a time; honours Cancel."""
    bar, every, done = comfy.utils.ProgressBar(total), max(1, total // 100), 0

    def on_tensor() -> None:
        nonlocal done
        done += 1
        if done % every == 0 or done == total:
            bar.update_absolute(done, total)

    return on_tensor


def _refuse_lost_scale(name: str, weight: Tensor, source: str) -> None:
    """Raises CheckpointError for scaled fp8 without its scale.

    Such numbers fill the range of fp8; Wan's own weights are a hundred times smaller.
    """
    if weight.dtype not in (torch.float8_e4m3fn, torch.float8_e5m2) or weight.ndim != 2:
        return
    some = weight[0, :1024].float()
    if some.square().mean().sqrt() > LARGEST_WEIGHT:
        raise CheckpointError(
            f"'{source}' is fp8 that needs scales, but it has none for '{name}', whose numbers go "
            f"up to {some.abs().max():.0f}: it was saved without them. Get another copy, or the "
            f"bf16 or fp16 file."
        )
