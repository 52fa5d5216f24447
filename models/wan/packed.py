"""Weights packed as int8, nvfp4, mxfp8 and the like, which only some hosts compute with.

Beside such a layer's `weight` lie its scales, and a text `comfy_quant`: JSON whose `format` says
how it is packed. The same texts can stand in the file's metadata instead. What the numbers mean is
the host's knowledge: a layer's tensors are found here, and keep their names.

Source: `_load_quantized_module` and `convert_old_quants` in ComfyUI's comfy/ops.py and utils.py.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..checkpoint import load_weights
from ..errors import CheckpointError
from ..weights_file import DTYPES, Header

Note = Mapping[str, Any]  # what a layer's text says

TEXT = "comfy_quant"
METADATA = "_quantization_metadata"
PLAIN = ("float8_e4m3fn", "float8_e5m2")  # one number each, with a scale or without: `scales`
IN_ONE_BYTE = {"nvfp4": 2, "convrot_w4a4": 2, "asym_w4a8_int8": 2}  # numbers, along a row


def packed_layers(header: Header, names: Mapping[str, str]) -> dict[str, Note]:
    """What is said of each packed layer, by its name in the network; nothing for plain and fp8.

    Args:
        header: the file's.
        names: name in the file -> name in the network.

    Raises:
        CheckpointError: for a text that is none.
    """
    old = {new: old for old, new in names.items()}
    if not any(_is_packed(header, old, layer) for layer in _layers_with_scales(names.values())):
        return {}
    texts = {new.removesuffix(f".{TEXT}"): o for new, o in old.items() if new.endswith(f".{TEXT}")}
    stored = load_weights(header, {text: layer for layer, text in texts.items()})
    notes = {
        layer: _parsed(bytes(text.tolist()), header.name) for layer, text in stored.items()
    } or _from_metadata(header, names)
    formats = {note["format"] for note in notes.values()}
    return notes if formats - {*PLAIN} else {}


def _layers_with_scales(names: Iterable[str]) -> set[str]:
    """Layers with a tensor beside their weight whose name begins with `weight_s`."""
    return {name.rpartition(".")[0] for name in names if ".weight_s" in name}


def _is_packed(header: Header, old: Mapping[str, str], layer: str) -> bool:
    """Whether a layer's numbers or scales are of another kind than plain or scaled fp8 has."""
    stored = [
        header.tensors[old[name]].dtype
        for name in (f"{layer}.weight", f"{layer}.weight_scale", f"{layer}.weight_s_rel")
        if name in old
    ]
    whole = any(not DTYPES[dtype].is_floating_point for dtype in stored)
    return whole or any(dtype.startswith("F8") for dtype in stored[1:])


def _from_metadata(header: Header, names: Mapping[str, str]) -> dict[str, Note]:
    """The texts in the file's metadata; its layers are named as in the file, or without prefix."""
    table = _parsed(header.metadata.get(METADATA, "{}"), header.name, needs=None).get("layers", {})
    layers = {
        old.removesuffix(".weight"): new.removesuffix(".weight") for old, new in names.items()
    }
    known = {*layers.values()}
    found = {layers.get(name, name): _checked(note, header.name) for name, note in table.items()}
    return {layer: note for layer, note in found.items() if layer in known}


def _parsed(text: bytes | str, source: str, needs: str | None = "format") -> Note:
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        note = None
    return _checked(note, source, needs)


def _checked(note: Any, source: str, needs: str | None = "format") -> Note:
    if isinstance(note, dict) and (needs is None or isinstance(note.get(needs), str)):
        return note
    raise CheckpointError(
        f"'{source}' is quantised, but what it says of how ({TEXT}) cannot be read: get another "
        f"copy, or the bf16, fp16 or fp8 file."
    )


def without_packed(
    names: Mapping[str, str], notes: Mapping[str, Note]
) -> tuple[dict[str, str], dict[str, str]]:
    """Names apart: those of all else, biases included, and those of what is packed."""
    packed = {
        old: new
        for old, new in names.items()
        if new.rpartition(".")[0] in notes and not new.endswith((".bias", f".{TEXT}"))
    }
    texts = {f"{layer}.{TEXT}" for layer in notes}
    rest = {old: new for old, new in names.items() if old not in packed and new not in texts}
    return rest, packed


def renamed(name: str, rename: Callable[[str], str]) -> str:
    """`attn1.to_q.weight_scale` -> `self_attn.q.weight_scale`; `rename` knows only weights."""
    layer, _, leaf = name.rpartition(".")
    return rename(f"{layer}.weight").removesuffix("weight") + leaf


def unpacked_shape(shape: tuple[int, ...], note: Note) -> tuple[int, ...]:
    """The shape of a layer's weight: (rows, columns) as a network counts them."""
    return *shape[:-1], shape[-1] * IN_ONE_BYTE.get(note["format"], 1)
