"""The dtypes that a transformer's weights are stored in, where they differ from its file's."""

import json
from collections.abc import Callable, Mapping

import comfy.model_management as mm
import comfy.ops
import comfy.utils
import torch
from comfy import supported_models
from torch import Tensor, nn

from ...models.checkpoint import load_weights
from ...models.errors import CheckpointError, InputError
from ...models.wan.detect import Checkpoint
from ...models.wan.scales import SCALE
from ...models.weights_file import Header

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
    """The dtype behind a loader's menu entry. Raises InputError for one not in DTYPES."""
    if (chosen := DTYPES[check_dtype(name)]) is not None:
        return chosen
    supported = supported_models.WAN21_T2V.supported_inference_dtypes
    return mm.unet_dtype(model_params=parameters, supported_dtypes=supported, weight_dtype=stored)


def keeps_scales(name: str) -> bool:
    """Whether scaled fp8 stays as it is under this menu entry; otherwise it is multiplied out."""
    can = hasattr(comfy.ops, "scaled_fp8_ops") or host_quantises()
    return can and name in ("auto", "fp8_e4m3fn")


def may_map() -> bool:
    """Whether weights may stay mapped from the disk; ComfyUI's --disable-mmap forbids it."""
    return not comfy.utils.DISABLE_MMAP


def host_quantises() -> bool:
    """Whether the host has quantised tensors, which newer ones use for scaled fp8."""
    return hasattr(supported_models.WAN21_T2V, "quant_config")


def quantised(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights and scales under the names that the host's quantised layers load them by.

    They multiply in the precision of what they multiply with, as a file's own numbers need: to
    round activations to fp8 as well would be faster and less exact.
    """
    named = {}
    for name, weight in weights.items():
        layer = name.removesuffix(SCALE)
        if layer == name:
            named[name] = weight
            continue
        stored_in = str(weights[f"{layer}weight"].dtype).removeprefix("torch.")
        note = json.dumps({"format": stored_in, "full_precision_matrix_mult": True})
        named[f"{layer}weight_scale"] = weight
        named[f"{layer}comfy_quant"] = torch.tensor(list(note.encode()), dtype=torch.uint8)
    return named


def stored_as(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights in `dtype`; of 8 bits only the blocks' matrices, since little else bears it."""
    return {name: _stored(name, weight, dtype) for name, weight in weights.items()}


def _stored(name: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """One weight as `stored_as` stores it."""
    matrix = name.startswith("blocks.") and weight.ndim == 2
    return weight.to(dtype if dtype.itemsize > 1 or matrix else torch.bfloat16)


def read_weights(
    header: Header, found: Checkpoint, dtype: torch.dtype, keep_scales: bool
) -> dict[str, Tensor]:
    """A transformer's weights, mapped from its file wherever they can stay as they are.

    Args:
        header, found: from `read_header` and `detect`.
        dtype: what most of them are stored in.
        keep_scales: leave scaled fp8 as it is; otherwise it is multiplied out.

    Raises:
        CheckpointError: unreadable, not finite, or fp8 whose scales were lost.
    """
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
    weights = load_weights(header, names, prepare=prepare, on_tensor=report, mapped=may_map())
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


def with_all_scales(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights, with a scale of 1 for every layer that has none in the file."""
    expected = (name for name in network.state_dict() if name.endswith(f".{SCALE}"))
    return {**{name: torch.ones(()) for name in expected}, **weights}
