"""What a sampled window depends on besides its own inputs: the weights, and what acts on them."""

from collections.abc import Iterator
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import comfy.ldm.modules.attention
import comfy.model_management as mm
import torch
from comfy.cli_args import args
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import WeightAdapterBase

from ...engine.take.fingerprint import digest
from ..networks.patching import OURS
from ..sampling import experts

VERSION = 3  # of how windows are sampled; a new number means that all are sampled again
_WEIGHTS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # a module's hash, while it lives


def identity(model: ModelPatcher) -> str:
    """A hash of a MODEL: weights, LoRAs, patches, and what computes with them.

    Raises:
        UnknownValueError: if some node has put in what cannot be compared by value.
    """
    network = model.model
    return digest(
        VERSION,
        str(torch.__version__),
        computed_on(model.load_device),
        comfy.ldm.modules.attention.optimized_attention.__name__,
        str(network.get_dtype()),
        str(network.manual_cast_dtype),
        type(network).__qualname__,
        vars(network.latent_format),
        weights(model),
        [(name, list(patches(values))) for name, values in sorted(model.patches.items())],
        model.object_patches,
        model.model_options,
        {kind: foreign(by_key) for kind, by_key in model.wrappers.items() if foreign(by_key)},
        second_expert(model),
        {when: foreign(by_key) for when, by_key in model.callbacks.items() if foreign(by_key)},
        model.hook_patches,
        model.injections,
        {name: [identity(m) for m in more] for name, more in model.additional_models.items()},
    )


def computed_on(device: torch.device) -> tuple[Any, ...]:
    """What the rounding of a network depends on besides itself: which device, and how set up."""
    if device.type == "cpu":
        return "cpu", torch.get_num_threads()
    # Which of several of one kind it is makes no difference.
    kind = mm.get_torch_device_name(device).removeprefix(f"{device} ")
    return device.type, kind, *sorted(str(feature) for feature in args.fast or ())


def foreign(by_key: dict[Any, Any]) -> dict[Any, Any]:
    """Callbacks and wrappers that are not ours, which are the same for every model of ours."""
    return {k: value for k, value in by_key.items() if k not in (OURS, experts.KEY) and value}


def second_expert(model: ModelPatcher) -> Any:
    """Of a MODEL that changes experts inside a run, the other one, and when and how."""
    both = experts.experts_of(model)
    return both and (identity(both.low), both.boundary, both.cfg_low)


def weights(model: ModelPatcher) -> str:
    """A hash of a model's weights as they were before any LoRA was put in."""
    network = model.model
    if network not in _WEIGHTS:
        # Not from its state_dict, in which GGUF loaders list weights without their numbers.
        original = {}
        for name, weight in chain(network.named_parameters(), network.named_buffers()):
            patched = model.backup.get(name)
            original |= _stored(name, weight if patched is None else patched.weight)
        _WEIGHTS[network] = digest(original, sampled=True)
    return _WEIGHTS[network]


def _stored(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a weight holds, as packed: a quantised tensor of newer hosts is several."""
    parts = getattr(weight, "state_dict", None)
    return {name: weight.detach().as_subclass(torch.Tensor)} if parts is None else parts(name)


def patches(values: list[tuple]) -> Iterator[Any]:
    """The LoRAs on one weight, as values that can be compared."""
    for strength, patch, strength_model, offset, function in values:
        if isinstance(patch, WeightAdapterBase):
            patch = (type(patch).__qualname__, patch.weights)
        yield strength, patch, strength_model, offset, function
