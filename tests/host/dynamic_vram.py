"""A stand-in for the dynamic VRAM of newer hosts, which is on by default on NVIDIA cards.

There, layers have no parameters before core's loader runs, embeddings are on the meta device, the
dtypes of a model are noted when it is made, and its weights are cast to these as they are moved to
the card. Patchers without that come from the loader that made the model, asked once more.

Where the host has such layers they are used, and only the patcher, which needs a card, stands in.
"""

from importlib.util import find_spec
from inspect import signature
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

CARD = torch.device("cpu:0")  # another than "cpu", on which text encoders are made


def switch_on(monkeypatch) -> None:
    """Until the test ends, the host at hand works as with dynamic VRAM."""
    import comfy.model_management as mm
    from comfy import model_base, model_patcher

    monkeypatch.setattr(model_patcher, "CoreModelPatcher", dynamic_patcher(), raising=False)
    monkeypatch.setattr(mm, "text_encoder_device", lambda: CARD)
    if find_spec("comfy.memory_management"):
        monkeypatch.setattr("comfy.memory_management.aimdo_enabled", True)
        # The host's own mapping of files is part of a library that does nothing without a card.
        monkeypatch.setattr("comfy.utils.load_safetensors", lambda path: (load_file(path), {}))
        return
    make_parameters_late(monkeypatch)
    monkeypatch.setattr(mm, "archive_model_dtypes", archive, raising=False)
    init = model_base.BaseModel.__init__

    def init_and_archive(self: Any, *args: Any, **kw: Any) -> None:
        init(self, *args, **kw)
        archive(self.diffusion_model)

    monkeypatch.setattr(model_base.BaseModel, "__init__", init_and_archive)


def archive(network: nn.Module) -> None:
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, f"{name}_comfy_model_dtype", parameter.dtype)


def make_parameters_late(monkeypatch) -> None:
    import comfy.ops

    layers = comfy.ops.disable_weight_init

    def load_late(self, state, prefix, metadata, strict, missing, unexpected, errors) -> None:
        copies = not metadata.get("assign_to_params_buffers", False)
        for name in ("weight", "bias"):
            if (value := state.get(prefix + name)) is not None:
                value = value.clone() if copies else value
                setattr(self, name, nn.Parameter(value, requires_grad=False))
        if self.weight is None or self.weight.is_meta:
            missing.append(f"{prefix}weight")
            self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)

    def is_late(layer: nn.Module) -> bool:
        return type(layer)._load_from_state_dict is load_late  # another loader is not relied on

    def linear(self, in_features, out_features, bias=True, device=None, dtype=None) -> None:
        if not is_late(self):
            nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
            return
        nn.Module.__init__(self)
        self.in_features, self.out_features = in_features, out_features
        self.weight = self.bias = None

    def embedding(self, count, width, *args, device=None, dtype=None, **kw) -> None:
        nn.Embedding.__init__(self, count, width, *args, device="meta", dtype=dtype, **kw)
        self.bias = None

    for cls, init in ((layers.Linear, linear), (layers.Embedding, embedding)):
        monkeypatch.setattr(cls, "__init__", init)
        monkeypatch.setattr(cls, "_load_from_state_dict", load_late)


def dynamic_patcher() -> type:
    from comfy.model_patcher import ModelPatcher

    class DynamicPatcher(ModelPatcher):
        cached_patcher_init = None

        def is_dynamic(self) -> bool:
            return True

        def clone(self, disable_dynamic: bool = False, **kw: Any) -> ModelPatcher:
            if "disable_dynamic" in signature(ModelPatcher.clone).parameters:
                return super().clone(disable_dynamic=disable_dynamic, **kw)
            clone = super().clone(**kw)
            clone.cached_patcher_init = self.cached_patcher_init
            if disable_dynamic:
                load, args = self.cached_patcher_init
                clone.__class__, clone.backup = ModelPatcher, {}
                clone.model = load(*args, disable_dynamic=True).model
                for callback in self.get_all_callbacks("on_clone"):
                    callback(self, clone)
            return clone

        def get_non_dynamic_delegate(self) -> ModelPatcher:
            return self.clone(disable_dynamic=True)

        def patch_hook_weight_to_device(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("LoRAs on hooks are for patchers without dynamic VRAM")

        def load(self, *args: Any, **kw: Any) -> None:
            super().load(*args, **kw)
            for module in self.model.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    dtype = getattr(module, f"{name}_comfy_model_dtype", None)
                    parameter.data = parameter.data.to(dtype or parameter.dtype)

    return DynamicPatcher
