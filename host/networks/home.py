"""Weights that lie in a file go back there when they leave a card: nothing is copied.

The host would copy them from the card into memory: 14 GB and seconds for an expert that gives way
to the other one. They have not changed, and the file is still mapped.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..comfyui.file_slices import lies_in_file

HOME = "longtake_home"


def remember(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Have the layers of a network know which of their weights are mapped.

    Args:
        weights: that it has just got, by name.
    """
    owners = dict(network.named_modules())
    for name, weight in weights.items():
        path, _, leaf = name.rpartition(".")
        if lies_in_file(weight) and leaf in owners[path]._parameters:
            owners[path].__dict__.setdefault(HOME, {})[leaf] = weight


def moving(module: nn.Module, to: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """`module.to(...)`, by `to`, for which what is mapped takes no copy on its way to the CPU."""
    device, dtype, *_ = torch._C._nn._parse_to(*args, **more)
    if device is not None and device.type == "cpu" and dtype is None:
        for layer in module.modules():
            _put_back(layer)
    return to(*args, **more)


def _put_back(layer: nn.Module) -> None:
    for name, weight in layer.__dict__.get(HOME, {}).items():
        own = layer._parameters.get(name)
        if own is None or own.device.type == "cpu":
            continue  # there already; or patched, and restored from the host's backup
        if (own.shape, own.dtype) == (weight.shape, weight.dtype):
            layer._parameters[name] = nn.Parameter(weight, requires_grad=False)
