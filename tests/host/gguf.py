"""A stand-in for MODELs of GGUF loaders: core's network, whose weights are unpacked at each use.

As in the common loader, a packed weight is a tensor of bytes that says the shape it stands for; a
layer lists weights without contents, for counting memory only; LoRAs hang on the packed weight and
are added each time that it is unpacked; and the patcher is a subclass that sees to this.
"""

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

TOGETHER = 32  # numbers with a scale in common, as in Q8_0: two bytes of scale, then one for each


class Packed(Tensor):
    """Bytes, with the shape and the LoRAs of the numbers that they stand for."""

    @staticmethod
    def of(data: Tensor, size: torch.Size, patches: list | None = None) -> "Packed":
        made = data.as_subclass(Packed)
        made.size_of_numbers, made.patches = size, patches or []
        return made

    @property
    def shape(self) -> torch.Size:
        return getattr(self, "size_of_numbers", self.size())

    def to(self, *args: Any, **kw: Any) -> Tensor:
        moved = super().to(*args, **kw).as_subclass(Tensor)
        return Packed.of(moved.view(moved.shape), self.shape, list(getattr(self, "patches", [])))

    def clone(self, *_: Any, **__: Any) -> Tensor:
        return self

    def detach(self) -> Tensor:
        return self


def packed(weight: Tensor) -> Packed:
    rows = rearrange(weight.float(), "r (n k) -> r n k", k=TOGETHER)
    scale = (rows.abs().amax(-1, keepdim=True) / 127).half()
    numbers = (rows / scale.float()).round().clamp(-127, 127).to(torch.int8)
    data = torch.cat((scale.view(torch.uint8), numbers.view(torch.uint8)), -1)
    return Packed.of(data.flatten(1), weight.shape)


def unpacked(weight: Packed) -> Tensor:
    data = weight.as_subclass(Tensor).view(len(weight), -1, 2 + TOGETHER)
    scale = data[..., :2].contiguous().view(torch.float16).float()
    numbers = data[..., 2:].contiguous().view(torch.int8).float()
    return (numbers * scale).reshape(tuple(weight.shape))


def operations() -> type:
    """Layers for core's networks, with a Linear that unpacks its weight."""
    import comfy.lora
    import comfy.ops

    class Layers(comfy.ops.manual_cast):
        class Linear(comfy.ops.manual_cast.Linear):
            comfy_cast_weights = True

            def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
                nn.Module.__init__(self)
                self.in_features, self.out_features = in_features, out_features
                self.weight = self.bias = None

            def _load_from_state_dict(self, state, prefix, *_: Any) -> None:
                for name in ("weight", "bias"):
                    if (value := state.get(prefix + name)) is not None:
                        setattr(self, name, nn.Parameter(value, requires_grad=False))

            def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
                for name, parameter in self.named_parameters(recurse=False):
                    destination[prefix + name] = torch.zeros_like(parameter, device="meta")

            def forward_comfy_cast_weights(self, x, *_: Any, **__: Any) -> Tensor:
                if not isinstance(self.weight, Packed):
                    return super().forward_comfy_cast_weights(x)
                weight = unpacked(self.weight)
                for patches, key in self.weight.patches:
                    weight = comfy.lora.calculate_weight(patches, weight, key)
                bias = None if self.bias is None else self.bias.to(x)
                return nn.functional.linear(x, weight.to(x), bias)

    return Layers


def patcher_class() -> type:
    import comfy.utils
    from comfy.model_patcher import ModelPatcher

    class PackedPatcher(ModelPatcher):
        def patch_weight_to_device(self, key, device_to=None, *args: Any, **kw: Any) -> Any:
            weight = comfy.utils.get_attr(self.model, key)
            if key not in self.patches or not isinstance(weight, Packed):
                return super().patch_weight_to_device(key, device_to, *args, **kw)
            weight = weight.to(device_to)
            weight.patches = [(self.patches[key], key)]
            return comfy.utils.set_attr_param(self.model, key, weight)

        def unpatch_model(self, device_to=None, unpatch_weights=True) -> Any:
            for weight in self.model.parameters() if unpatch_weights else ():
                if isinstance(weight, Packed):
                    weight.patches = []
            return super().unpatch_model(device_to, unpatch_weights)

        def load(self, *args: Any, force_patch_weights: bool = False, **kw: Any) -> Any:
            return super().load(*args, force_patch_weights=True, **kw)

        def clone(self, *args: Any, **kw: Any) -> ModelPatcher:
            own, self.__class__ = self.__class__, PackedPatcher
            made = super().clone(*args, **kw)
            made.__class__, self.__class__ = PackedPatcher, own
            return made

    return PackedPatcher


def load(weights: Mapping[str, Tensor]) -> tuple[Any, Any]:
    """MODELs of core's: one with packed matrices, and one of the numbers that these stand for."""
    import comfy.sd

    stored = {
        name: packed(weight)
        if name.startswith(("blocks.", "vace_blocks.")) and weight.ndim == 2
        else weight
        for name, weight in weights.items()
    }
    meant = {k: unpacked(w) if isinstance(w, Packed) else w for k, w in stored.items()}
    options = {"custom_operations": operations()}
    gguf = comfy.sd.load_diffusion_model_state_dict(dict(stored), model_options=options)
    return patcher_class().clone(gguf), comfy.sd.load_diffusion_model_state_dict(meant)
