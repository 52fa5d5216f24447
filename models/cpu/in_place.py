"""Arithmetic in the place of a tensor that nobody else needs.

On a CPU, finding new room for what is as large as the video takes longer than computing it; on a
GPU it is memory saved. While something is learned, or compiled, all of it makes new tensors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def spare(x: Tensor) -> Tensor | None:
    """Room for a result where x lies, if it may go there."""
    return None if torch.is_grad_enabled() or torch.compiler.is_compiling() else x


def gelu(x: Tensor) -> Tensor:
    """GELU's tanh form, in the place of x."""
    if spare(x) is None:
        return F.gelu(x, approximate="tanh")
    return torch.ops.aten.gelu_(x, approximate="tanh")
