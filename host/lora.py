"""LoRAs onto a MODEL, whichever way their tensors are named."""

import re
from collections.abc import Mapping

import comfy.lora
import comfy.lora_convert
import comfy.sd
import folder_paths
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..models.checkpoint import load_weights
from ..models.errors import CheckpointError, InputError
from ..models.wan.keys import dit_from_diffusers
from .folders import not_there

FOLDER = "loras"
NONE = "none"
PREFIX = re.compile(r"(?:base_model\.model\.)?(?:transformer\.|diffusion_model\.)?(?=blocks\.)")
PART = re.compile(
    r"(?P<layer>.+?)(?P<part>\.(?:lora_(?:A|B|up|down)(?:\.default)?\.weight|alpha|dora_scale|"
    r"lora_magnitude_vector(?:\.default)?(?:\.weight)?|diff|diff_b))"
)


def menu() -> list[str]:
    """What the loader offers; the first changes nothing."""
    names = folder_paths.get_filename_list(FOLDER)
    return [NONE, *(name for name in names if name.lower().endswith((".safetensors", ".sft")))]


def add(model: ModelPatcher, name: str, strength: float) -> tuple[ModelPatcher, int, int]:
    """A MODEL with a LoRA on it.

    Args:
        model: MODEL.
        name: an entry of `menu`.
        strength: 1 is as it was trained; may be negative.

    Returns:
        The MODEL, how many of its parameters are changed, and how many of the file's tensors had
        no place in it.

    Raises:
        InputError: for a name that the menu does not have.
        CheckpointError: if the file cannot be read, or fits nowhere.
    """
    if name == NONE:
        return model.clone(), 0, 0
    names = menu()[1:]
    path = folder_paths.get_full_path(FOLDER, name) if name in names else None
    if path is None:
        raise InputError(not_there(name, FOLDER, names or [NONE]))
    tensors = official(load_weights(path))
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    found = comfy.lora.load_lora(comfy.lora_convert.convert_lora(tensors), known, log_missing=False)
    if not found:
        some = ", ".join(sorted(tensors)[:2])
        raise CheckpointError(
            f"'{name}' fits nowhere in this model: it holds {some} and so on. Choose a LoRA that "
            f"was made for it, or check that this file is a LoRA."
        )
    changed = model.clone()
    applied = changed.add_patches(found, strength)
    unused = sum(1 for key in found if key not in applied)
    return changed, len(applied), unused


def official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a LoRA by the names that core goes by; those it knows already stay."""
    return {renamed(name): tensor for name, tensor in tensors.items()}


def renamed(name: str) -> str:
    """`transformer.blocks.0.attn1.to_q.lora_A.weight` ->
    `diffusion_model.blocks.0.self_attn.q.lora_A.weight`."""
    match = PART.fullmatch(name)
    if match is None or not (prefix := PREFIX.match(match["layer"])):
        return name
    inner = match["layer"][prefix.end() :]
    if ".attn1." in inner or ".attn2." in inner or ".ffn.net." in inner:
        inner = dit_from_diffusers(f"{inner}.weight").removesuffix(".weight")
    return f"diffusion_model.{inner}{match['part'].replace('.default', '')}"
