"""Adds LoRAs to a MODEL, whichever way their tensors are named.

Core reads a layer's tensors and applies them. Here each tensor of a file is given to the layer that
it names, and each layer is tried without its numbers before it counts: core passes over what it
does not know or cannot multiply, with a line in its log at most.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import WeightAdapterBase
from comfy.weight_adapter.lora import LoRAAdapter
from torch import Tensor

from ...engine.sampling.presets import expert_of
from ...models.checkpoint import load_weights
from ...models.errors import CheckpointError, InputError
from ...models.wan.layer_names import LayerNames, is_low_noise
from ...models.weights_file import one_line, shortened
from ..comfyui.folders import no_such_file
from .transformer import network_of

FOLDER = "loras"
NONE = "none"
BY_NAME, HIGH, LOW = "auto", "high noise", "low noise"
HALVES = (BY_NAME, HIGH, LOW)
NETWORK = "diffusion_model."
HERE = "layer"  # what a layer is called while core reads its tensors
Patch = WeightAdapterBase | tuple
Target = str | tuple  # core's: a parameter, or (parameter, part of it, ...)


@dataclass
class Fit:
    """What of a LoRA's file a MODEL takes.

    Attributes:
        patches: by the parameter that is changed.
        used: names in the file.
        left: name in the file -> why it is not used.
    """

    patches: dict[Target, Patch] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """For the node: what counts first."""
        total = len(self.used) + len(self.left)
        said = f"{len(self.patches)} weights changed by {len(self.used)} of {total} tensors"
        return said + (f"; not used: {self.reasons()}" if self.left else "")

    def reasons(self) -> str:
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.left.items():
            by_reason.setdefault(reason, []).append(name)
        return "; ".join(f"{shortened(names, 3)} ({why})" for why, names in by_reason.items())


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


def add(
    model: ModelPatcher, name: str, strength: float, half: str = BY_NAME
) -> tuple[ModelPatcher, Fit]:
    """A MODEL with a LoRA on it.

    Args:
        model: MODEL.
        name: an entry of `menu`.
        strength: 1 is as it was trained; may be negative.
        half: one of HALVES, for a file that holds a LoRA for each expert of Wan 2.2 A14B. BY_NAME
            takes the only one there is, or goes by the name of the model's file.

    Returns:
        The MODEL, and what of the file it takes.

    Raises:
        InputError: for a name that is not in the menu, or a half that must be chosen.
        CheckpointError: if the file cannot be read, or fits nowhere.
    """
    if name == NONE:
        return model.clone(), Fit()
    tensors = comfy.lora_convert.convert_lora(load_weights(find(name)))
    fit = _fit(model, tensors, name, half)
    if not fit.patches:
        raise CheckpointError(
            f"'{name}' fits nowhere in this model: it holds {fit.reasons() or 'no tensors'}. "
            f"Choose a LoRA that was made for it, or check that this file is a LoRA."
        )
    changed = model.clone()
    changed.add_patches(fit.patches, strength)
    return changed, fit


def _fit(model: ModelPatcher, tensors: Mapping[str, Tensor], name: str, half: str) -> Fit:
    layers = _Layers(model)
    fit = Fit()
    by_half: dict[bool, dict[Target, dict[str, str]]] = {False: {}, True: {}}
    for tensor in tensors:
        place = layers.place(tensor)
        if place is None:
            fit.left[tensor] = "this model has no such layer"
            continue
        target, part, low = place
        if part in (parts := by_half[low].setdefault(target, {})):
            fit.left[tensor] = f"the same as {parts[part]}"
        else:
            parts[part] = tensor
    low = _half_of(by_half, model, name, half)
    for parts in by_half[not low].values():
        fit.left |= dict.fromkeys(parts.values(), f"of the {HIGH if low else LOW} half")
    for target, parts in by_half[low].items():
        layer = _Layer({part: tensors[name] for part, name in parts.items()}, parts)
        _read_layer(fit, model, target, layer)
    return fit


def _half_of(by_half: Mapping[bool, Any], model: ModelPatcher, name: str, half: str) -> bool:
    """Whether the low-noise half is to be taken. Raises InputError where that is not clear."""
    if half == BY_NAME and by_half[True] and by_half[False]:
        network = network_of(model)
        expert = network and expert_of(network.source)
        if expert is None:
            raise InputError(
                f"'{name}' holds a LoRA for each expert of Wan 2.2, and this model's name does not "
                f"say which it is: set half to {HIGH} or {LOW}."
            )
        return expert == "low"
    if half == BY_NAME:
        return bool(by_half[True])
    if half == LOW and by_half[False] and not by_half[True]:
        return False  # a file for one expert: its names need not say which
    return half == LOW


class _Layers:
    """Where a file's tensors belong in a MODEL."""

    def __init__(self, model: ModelPatcher):
        self._known = comfy.lora.model_lora_keys_unet(model.model, {})
        targets = {key for key in self._known.values() if isinstance(key, str)}
        stems = (key.removeprefix(NETWORK).removesuffix(".weight") for key in targets)
        self._names = LayerNames(stems)
        self._target = {key.removeprefix(NETWORK).removesuffix(".weight"): key for key in targets}

    def place(self, tensor: str) -> tuple[Target, str, bool] | None:
        """(what it changes, which part of a LoRA it is, whether it is of the low-noise half).

        The longest beginning of its name that names a layer is the layer.
        """
        name = tensor.replace(".default", "")  # PEFT's name for the only adapter
        for side in ("up", "down"):
            name = name.replace(f"_lora.{side}.", f".lora_{side}.")
        if name.endswith(".diff_m"):  # difference of a block's modulation
            name = name.removesuffix(".diff_m") + ".modulation.diff"
        end = len(name)
        while (end := name.rfind(".", 0, end)) > 0:
            layer, part = name[:end], name[end:]
            if layer in self._known:
                return self._known[layer], part, False
            if found := self._names.find(layer):
                return self._target[found[0]], part, is_low_noise(found[1])
        return None


@dataclass
class _Layer:
    """The tensors of one layer, by their part of a LoRA, and their names in the file."""

    tensors: dict[str, Tensor]
    names: dict[str, str]

    def rename(self, old: str, new: str, scale: float = 1.0) -> None:
        self.tensors[new] = self.tensors.pop(old) * scale
        self.names[new] = self.names.pop(old)


def _read_layer(fit: Fit, model: ModelPatcher, target: Target, layer: _Layer) -> None:
    """Add to `fit` what the tensors of one layer come to."""
    used, why = set(), _unfit(layer)
    if not why:
        magnitude = _in_cores_words(layer)
        named = {HERE + part: tensor for part, tensor in layer.tensors.items()}
        try:
            found = comfy.lora.load_lora(named, {HERE: target}, log_missing=False)
        except KeyError as error:
            found, why = {}, f"without {str(error.args[0]).removeprefix(HERE + '.')}"
        for key, patch in found.items():
            if magnitude and isinstance(patch, LoRAAdapter):
                patch = _RowLengths(patch, layer.tensors[magnitude])
            if problem := _problem(model, key, patch):
                why = problem
            else:
                fit.patches[key] = patch
                used |= _parts_of(patch, layer.tensors)
    for part, name in layer.names.items():
        if part in used:
            fit.used.add(name)
        else:
            fit.left[name] = why or "not known as a part of a LoRA"


def _unfit(layer: _Layer) -> str:
    """What is wrong with a layer's tensors at first sight; empty if nothing is."""
    if empty := [part for part, tensor in layer.tensors.items() if not tensor.numel()]:
        return f"{empty[0].removeprefix('.')} is empty"
    alpha = layer.tensors.get(".alpha")
    if alpha is not None and alpha.numel() != 1:
        return f"alpha is {alpha.numel()} numbers, and should be one"
    return ""


def _in_cores_words(layer: _Layer) -> str | None:
    """Rename what PEFT writes and core does not read. Returns the part with lengths of rows."""
    for bias, low in (".lora_B.bias", ".lora_A.weight"), (".lora_up.bias", ".lora_down.weight"):
        if bias in layer.tensors and ".diff_b" not in layer.tensors:
            alpha, down = layer.tensors.get(".alpha"), layer.tensors.get(low)
            scaled = alpha is not None and down is not None
            layer.rename(bias, ".diff_b", alpha.item() / len(down) if scaled else 1.0)
    parts = (part for part in layer.tensors if part.startswith(".lora_magnitude_vector"))
    return next(parts, None)


class _RowLengths(LoRAAdapter):
    """PEFT's DoRA: rows of the changed weight get trained lengths.

    Core's divides by the lengths that rows had before the change.

    Source: huggingface/peft, src/peft/tuners/lora/dora.py.
    """

    def __init__(self, lora: LoRAAdapter, lengths: Tensor):
        """`lengths`: (o,), or any shape of o numbers."""
        up, down, alpha, middle, _, reshape = lora.weights
        super().__init__(lora.loaded_keys, (up, down, alpha, middle, lengths, reshape))

    def calculate_weight(self, weight, key, strength, strength_model, offset, function,
                         intermediate_dtype=torch.float32, original_weight=None):  # fmt: skip
        up, down, alpha, _, lengths, _ = (
            value.to(weight.device, intermediate_dtype) if isinstance(value, Tensor) else value
            for value in self.weights
        )
        change = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        before = weight.to(intermediate_dtype)
        after = before + change * (1.0 if alpha is None else alpha / len(down))
        one_by_row = (len(weight), *[1] * (weight.ndim - 1))
        measured = after.flatten(1).norm(dim=1).clamp_min(torch.finfo(weight.dtype).eps)
        after *= (lengths.flatten() / measured).reshape(one_by_row)
        return weight.add_(function((strength * (after - before)).to(weight.dtype)))


def _parts_of(patch: Patch, tensors: Mapping[str, Tensor]) -> set[str]:
    """Which of a layer's tensors a patch was made of."""
    held = patch[1] if isinstance(patch, tuple) else patch.weights
    inside = {id(value) for value in held}
    used = {part for part, tensor in tensors.items() if id(tensor) in inside}
    if isinstance(patch, WeightAdapterBase):  # these it holds as numbers
        used |= {part for part in (".alpha", ".reshape_weight") if part in tensors}
    return used


def _problem(model: ModelPatcher, target: Target, patch: Patch) -> str:
    """Why core could not apply a patch; empty if it can. It is tried without the numbers."""
    key, *part = target if isinstance(target, tuple) else (target,)
    offset, function, *_ = [*part, None, None]
    try:
        shape = tuple(comfy.utils.get_attr(model.model, key).shape)
    except AttributeError:
        return f"this model has no {key.removeprefix(NETWORK)}"
    problem = _tried(patch, shape, key, offset, function, "meta")
    if "meta" in problem:  # it looks at numbers
        problem = _tried(patch, shape, key, offset, function, "cpu")
    return problem


def _tried(patch: Patch, shape: tuple, key: str, offset, function, device: str) -> str:
    weight = torch.zeros(shape, device=device)
    with _heard() as complaints:
        try:
            patches = [(1.0, patch, 1.0, offset, function)]
            result = comfy.lora.calculate_weight(patches, weight, key)
        except (RuntimeError, ValueError, IndexError, ZeroDivisionError, TypeError) as error:
            complaints.append(str(error))
            result = weight
    if result.shape != weight.shape:
        complaints.append(f"it would make {tuple(result.shape)} of it")
    if not complaints:
        return ""
    reason = one_line(complaints[0].split(key)[-1])
    if "meta" in reason:
        return reason
    return f"it does not fit {key.removeprefix(NETWORK)}, which is {shape}: {reason}"


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What core would write into its log as a complaint, which is not written there meanwhile."""
    complaints, me = [], threading.get_ident()

    def hear(record: logging.LogRecord) -> bool:
        if record.thread != me or record.levelno < logging.WARNING:
            return True
        complaints.append(record.getMessage())
        return False

    root = logging.getLogger()
    root.addFilter(hear)
    try:
        yield complaints
    finally:
        root.removeFilter(hear)
