"""ModelPatchers of our networks, and LoRAs on parameters that ModelPatcher passes over.

Core patches the weights of layers (`comfy.ops`) and of modules that contain no others. Wan keeps
`modulation` beside a block's layers, which core passes over in silence.
"""

from collections.abc import Callable, Mapping
from typing import Any

import comfy.lora
import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from torch import Tensor, nn

from ...models.checkpoint import is_finite, load_into, refuse_zeros
from ...models.wan.rope import cached_table
from ..comfyui.file_slices import lies_in_file
from . import home
from .layers import forget_matrices

OURS = "longtake"


class _FromFile(ModelPatcher):
    """The host's patcher, which pins nothing that lies in a file.

    Of layers that stay behind the host registers each weight with the card's driver. Two
    neighbours in a file share a page, which is registered once; and a page that is registered is
    copied first, so that all the weights would be in memory, locked there.
    """

    def pin_weight_to_device(self, key: str) -> None:
        if not lies_in_file(comfy.utils.get_attr(self.model, key)):
            super().pin_weight_to_device(key)


def _pins_as_its_parent(_parent: ModelPatcher, clone: ModelPatcher) -> None:
    """Newer hosts make a plain patcher, of a network of its own, of one with dynamic VRAM."""
    if type(clone) is ModelPatcher:
        clone.__class__ = _FromFile


def patcher_for(
    network: nn.Module, device: torch.device, offload: torch.device, dynamic: bool = True
) -> ModelPatcher:
    """The host's patcher of a network.

    Newer hosts choose its class themselves; `dynamic` allows the one that moves weights to the
    device layer by layer.
    """
    kind = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    kind = kind if dynamic and kind is not ModelPatcher else _FromFile
    patcher = kind(network, load_device=device, offload_device=offload)
    patcher.add_callback_with_key(CallbacksMP.ON_CLONE, OURS, _pins_as_its_parent)
    return patcher


def take_over(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """`load_into` for networks that the host manages, which are more than zeros."""
    refuse_zeros(weights, source)
    load_into(network, weights, source)
    home.remember(network, weights)
    loaded(network)


def loaded(network: nn.Module) -> None:
    """Finish a network that has got its weights.

    With dynamic VRAM, newer hosts note the dtypes of a network when it is made, and cast to them
    whatever they move to the device. Ours gets its weights afterwards.
    """
    network.requires_grad_(False)
    if (archive := getattr(mm, "archive_model_dtypes", None)) is not None:
        archive(network)


def reloadable(patcher: Any, load: Callable[..., ModelPatcher]) -> Any:
    """A patcher that newer hosts can make another of, with weights of its own.

    They do so for LoRAs on hooks, torch.compile, several GPUs, and to choose a device.

    Args:
        patcher: a ModelPatcher; its clones inherit what is set here. Older hosts ignore it.
        load: called with `disable_dynamic`; must give a network that nothing else uses.
    """
    patcher.cached_patcher_init = (load, ())
    return patcher


def watch(patcher: ModelPatcher) -> None:
    """Set up a patcher of a transformer; its clones inherit the callbacks."""
    for when, what in (
        (CallbacksMP.ON_LOAD, _move_bare_parameters),
        (CallbacksMP.ON_LOAD, _patch_bare_parameters),
        (CallbacksMP.ON_PRE_RUN, _begin_run),
        (CallbacksMP.ON_CLEANUP, _end_run),
    ):
        patcher.add_callback_with_key(when, OURS, what)


def _move_bare_parameters(patcher: ModelPatcher, device: Any, *_: Any) -> None:
    """Put the parameters beside layers on the device, where layers are left behind, too.

    ModelPatcher passes them over unless all is loaded. Each would be sent at every call, which
    waits for all that is queued on a card, and ends core's fetching ahead of the next layers.
    """
    network = patcher.model
    for path, module in network.named_modules():
        if hasattr(module, "comfy_cast_weights") or next(module.children(), None) is None:
            continue
        for name, weight in [*module.named_parameters(prefix=path, recurse=False)]:
            if weight.device != device:
                comfy.utils.set_attr_param(network, name, weight.to(device))


def _patch_bare_parameters(patcher: ModelPatcher, device: Any, *_: Any) -> None:
    """Apply LoRAs to the parameters that ModelPatcher has just passed over.

    The original goes into the patcher's own backup, from which unpatching restores it. Starting
    from the backup, a second call, after another part was loaded, gives the same result.
    """
    for key in patcher.patches:
        owner = comfy.utils.get_attr(patcher.model, key.rpartition(".")[0])
        if hasattr(owner, "comfy_cast_weights"):
            continue  # a layer of comfy.ops: core has patched it, or will as it casts
        if key in patcher.backup:
            comfy.utils.set_attr_param(patcher.model, key, patcher.backup[key].weight)
        patcher.patch_weight_to_device(key, device_to=device)


def weights_of_file(patcher: ModelPatcher) -> dict[str, Tensor]:
    """The weights of a transformer as they are without any patch."""
    kept = {name: backup.weight for name, backup in patcher.backup.items()}
    own = patcher.model.diffusion_model.state_dict(prefix="diffusion_model.")
    weights = {name: kept.get(name, weight) for name, weight in own.items()}
    return {name.removeprefix("diffusion_model."): weight for name, weight in weights.items()}


def broken_by_patches(patcher: ModelPatcher) -> list[str]:
    """Names of the weights that patches, such as LoRAs, make NaN or infinite.

    Packed weights, whose numbers cannot be had without their layer, are left out.
    """
    broken = []
    for name, patches in patcher.patches.items():
        kept = patcher.backup.get(name)
        weight = kept.weight if kept else comfy.utils.get_attr(patcher.model, name)
        if not torch.is_tensor(weight) or not weight.is_floating_point() or not is_finite(weight):
            continue
        changed = weight.detach().to("cpu", torch.float32, copy=True)
        try:
            changed = comfy.lora.calculate_weight(patches, changed, name)
        except (RuntimeError, TypeError, ValueError, AttributeError):
            continue  # a packed one
        if not is_finite(changed.to(weight.dtype)):
            broken.append(name.removeprefix("diffusion_model."))
    return broken


def described_changes(patcher: ModelPatcher) -> str:
    """What other nodes have put on a MODEL, in words; empty if nothing."""
    options = patcher.model_options
    functions = sum(len(value) if isinstance(value, list) else 1
                    for key, value in options.items() if key != "transformer_options")  # fmt: skip
    said = [
        f"the LoRAs on {len(patcher.patches)} weights" if patcher.patches else "",
        "what other nodes put on the model" if patcher.object_patches or functions else "",
    ]
    return " and ".join(filter(None, said))


def _begin_run(patcher: ModelPatcher) -> None:
    """Keep text keys and values through the run, unless weight hooks switch LoRAs between steps."""
    texts = patcher.model.diffusion_model.texts
    if patcher.hook_patches:
        texts.close()
    else:
        texts.open()


def forget_text(patcher: ModelPatcher) -> None:
    """In mid-run: a MODEL of ours keeps no text while another one samples."""
    if (texts := getattr(patcher.model.diffusion_model, "texts", None)) is not None:
        texts.forget()


def _end_run(patcher: ModelPatcher) -> None:
    """Free what was kept for the steps of a run: the host does not know of it."""
    patcher.model.diffusion_model.texts.close()
    cached_table.cache_clear()
    forget_matrices()
