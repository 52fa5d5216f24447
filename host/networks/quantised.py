"""Weights that stay packed: scaled fp8, and int8, nvfp4 and others that the host computes with.

Newer hosts have quantised tensors: layers that read a weight, its scales and a text that says how
it is packed, by ComfyUI's own names. Older ones have layers for scaled fp8 alone.
"""

import json
from collections.abc import Callable, Mapping
from typing import Literal

import comfy.model_management as mm
import comfy.ops
import torch
from comfy import quant_ops, supported_models
from torch import Tensor, nn

from ...models.errors import CheckpointError
from ...models.wan.detect import Checkpoint
from ...models.wan.packed import TEXT, Note, unpacked_shape
from ...models.wan.scales import SCALE
from ...models.weights_file import shortened

# What a network's weights are held as: numbers, fp8 of older hosts, tensors of newer ones.
Storage = Literal["plain", "scaled", "quantised"]


def host_quantises() -> bool:
    """Whether the host has quantised tensors, which newer ones use for scaled fp8."""
    return hasattr(supported_models.WAN21_T2V, "quant_config")


def holds_fp8(device: torch.device) -> bool:
    """Whether a device has numbers of 8-bit floating point at all; Apple's GPUs have not."""
    return device.type != "mps"


def storage_for(found: Checkpoint, dtype: str, source: str) -> Storage:
    """How a checkpoint's weights stay under a loader's menu entry; "plain" multiplies them out.

    Raises:
        CheckpointError: for a packing that the host does not compute with.
    """
    if found.packed:
        _refuse_unknown_formats(found, source)
    if not holds_fp8(mm.get_torch_device()):
        return "plain"
    if found.packed:
        return "quantised" if dtype == "auto" else "plain"
    if found.scaled and dtype in ("auto", "fp8_e4m3fn"):
        if host_quantises():
            return "quantised"
        if hasattr(comfy.ops, "scaled_fp8_ops"):
            return "scaled"
    return "plain"


def formats_of(found: Checkpoint) -> str:
    """How its weights are packed, as "int8_tensorwise and nvfp4"."""
    return " and ".join(sorted({note["format"] for note in found.packed.values()}))


def _refuse_unknown_formats(found: Checkpoint, source: str) -> None:
    known = quant_ops.QUANT_ALGOS if host_quantises() else {}
    if strange := sorted({note["format"] for note in found.packed.values()} - known.keys()):
        raise CheckpointError(
            f"'{source}' holds weights as {' and '.join(strange)}, which this ComfyUI does not "
            f"compute with: use the bf16, fp16 or fp8 file, or a newer ComfyUI."
        )


def named_for_host(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scaled fp8 under the names that the host's quantised layers load it by.

    They multiply in the precision of what they multiply with, as a file's own numbers need: to
    round activations to fp8 as well would be faster and less exact.
    """
    named, notes = {}, {}
    for name, weight in weights.items():
        layer = name.removesuffix(f".{SCALE}")
        if layer == name:
            named[name] = weight
            continue
        stored_in = str(weights[f"{layer}.weight"].dtype).removeprefix("torch.")
        notes[layer] = {"format": stored_in, "full_precision_matrix_mult": True}
        named[f"{layer}.weight_scale"] = weight
    return with_notes(named, notes)


def with_notes(weights: Mapping[str, Tensor], notes: Mapping[str, Note]) -> dict[str, Tensor]:
    """The weights, and beside each packed one the text that says how."""
    return {**weights, **{f"{layer}.{TEXT}": _text(note) for layer, note in notes.items()}}


def _text(note: Note) -> Tensor:
    return torch.tensor(list(json.dumps(note).encode()), dtype=torch.uint8)


def multiplied_out(
    weights: Mapping[str, Tensor],
    notes: Mapping[str, Note],
    store: Callable[[str, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Packed weights as plain ones, each by a layer of the host's.

    Args:
        weights, notes: by official name.
        store: (name, weight) -> what to keep of it.
    """
    packed: dict[str, dict[str, Tensor]] = {layer: {} for layer in notes}
    plain = {}
    for name, weight in weights.items():
        layer, _, leaf = name.rpartition(".")
        if layer in packed and leaf != "bias":
            packed[layer][leaf] = weight
        else:
            plain[name] = store(name, weight)
    for layer, tensors in packed.items():
        name = f"{layer}.weight"
        plain[name] = store(name, _multiplied_out(tensors, notes[layer]))
    return plain


def _multiplied_out(tensors: Mapping[str, Tensor], note: Note) -> Tensor:
    """One layer's weight: (rows, columns) float32."""
    rows, columns = unpacked_shape(tuple(tensors["weight"].shape), note)
    layers = comfy.ops.mixed_precision_ops({"mixed_ops": True}, torch.float32)
    layer = layers.Linear(columns, rows, bias=False, device="cpu")
    layer.load_state_dict({**tensors, TEXT: _text(note)}, assign=True)
    weight = layer.convert_weight(layer.weight)
    smooth = getattr(layer, "pre_quant_scale", None)  # of what comes in, before it is multiplied
    return weight if smooth is None else weight * smooth.float()


def load_quantised(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Loads a network of the host's quantised layers, which read their weights themselves.

    Raises:
        CheckpointError: names missing and unexpected tensors.
    """
    lost = network.load_state_dict(dict(weights), strict=False, assign=True)
    if lost.missing_keys or lost.unexpected_keys:
        raise CheckpointError(
            f"'{source}' does not fit a {type(network).__name__}: missing "
            f"{shortened(lost.missing_keys) or 'none'}; unexpected "
            f"{shortened(lost.unexpected_keys) or 'none'}. Get another copy of it."
        )


def with_all_scales(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights, with a scale of 1 for every layer that has none in the file."""
    expected = (name for name in network.state_dict() if name.endswith(f".{SCALE}"))
    return {**{name: torch.ones(()) for name in expected}, **weights}
