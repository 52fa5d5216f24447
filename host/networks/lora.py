"""Adds LoRAs to a MODEL, whichever way their tensors are named."""

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.utils
import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter.lora import LoRAAdapter
from torch import Tensor, nn

from ...models.checkpoint import load_weights
from ...models.errors import CheckpointError, InputError
from ...models.wan.keys import dit_from_diffusers
from ..comfyui.folders import no_such_file

FOLDER = "loras"
NONE = "none"
PREFIX = re.compile(r"(?:base_model\.model\.)?(?:transformer\.|diffusion_model\.)?(?=blocks\.)")
PART = re.compile(
    r"(?P<layer>.+?)(?P<part>\.(?:lora_(?:A|B|up|down)(?:\.default)?\.weight|alpha|dora_scale|"
    r"lora_magnitude_vector(?:\.default)?(?:\.weight)?|diff|diff_b))"
)


def menu() -> list[str]:
    """What the loader offers; the first entry changes nothing."""
    names = folder_paths.get_filename_list(FOLDER)
    return [NONE, *(name for name in names if name.lower().endswith((".safetensors", ".sft")))]


def find(name: str) -> Path:
    """The file behind a menu entry. Raises InputError for a name that is not in the menu."""
    names = menu()[1:]
    path = folder_paths.get_full_path(FOLDER, name) if name in names else None
    if path is None:
        raise InputError(no_such_file(name, FOLDER, names or [NONE]))
    return Path(path)


def add(model: ModelPatcher, name: str, strength: float) -> tuple[ModelPatcher, int, int]:
    """A MODEL with a LoRA on it.

    Args:
        model: MODEL.
        name: an entry of `menu`.
        strength: 1 is as it was trained; may be negative.

    Returns:
        The MODEL, how many of its parameters are changed, and how many that the file would change
        are missing from it or of another shape.

    Raises:
        InputError: for a name that is not in the menu.
        CheckpointError: if the file cannot be read, or fits nowhere.
    """
    if name == NONE:
        return model.clone(), 0, 0
    tensors = comfy.lora_convert.convert_lora(_official(load_weights(find(name))))
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    found = comfy.lora.load_lora(tensors, known, log_missing=False)
    if not found:
        first = ", ".join(sorted(tensors)[:2])
        raise CheckpointError(
            f"'{name}' fits nowhere in this model: it holds {first} and so on. Choose a LoRA that "
            f"was made for it, or check that this file is a LoRA."
        )
    sizes = {
        key: (_changed_by(patch), _numbers_in(model.model, key))
        for key, patch in found.items()
        if isinstance(key, str)  # otherwise it is a part of a parameter
    }
    other = {key: (made, has) for key, (made, has) in sizes.items() if made not in (0, has)}
    if len(other) == len(found):
        key, (made, has) = next(iter(other.items()))
        raise CheckpointError(
            f"'{name}' was made for a model of another size: it changes {made} numbers of "
            f"'{key}', and this model has {has} there. Choose the LoRA for this model."
        )
    changed = model.clone()  # core would drop what does not fit, and say so in its log only
    changed.add_patches({key: patch for key, patch in found.items() if key not in other}, strength)
    layers = {match["layer"] for tensor in tensors if (match := PART.fullmatch(tensor))}
    return changed, len(found) - len(other), len(other) + len(layers - known.keys())


def _changed_by(patch: Any) -> int:
    """How many numbers of a parameter one of core's patches changes; 0 if that is unknown."""
    if isinstance(patch, LoRAAdapter):
        up, down, _, middle, _, reshape = patch.weights
        return 0 if middle is not None or reshape is not None else len(up) * down[0].numel()
    return patch[1][0].numel() if isinstance(patch, tuple) and patch[0] == "diff" else 0


def _numbers_in(network: nn.Module, key: str) -> int:
    """How many numbers a parameter stands for, however they are packed; 0 if there is none."""
    try:
        return prod(comfy.utils.get_attr(network, key).shape)
    except AttributeError:
        return 0


def _official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A LoRA's tensors under the names that core knows; those it knows already stay."""
    return {_renamed(name): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    """`transformer.blocks.0.attn1.to_q.lora_A.weight` ->
    `diffusion_model.blocks.0.self_attn.q.lora_A.weight`."""
    match = PART.fullmatch(name)
    if match is None or not (prefix := PREFIX.match(match["layer"])):
        return name
    inner = match["layer"][prefix.end() :]
    if ".attn1." in inner or ".attn2." in inner or ".ffn.net." in inner:
        inner = dit_from_diffusers(f"{inner}.weight").removesuffix(".weight")
    return f"diffusion_model.{inner}{match['part'].replace('.default', '')}"
