"""Results written into tensors that nobody else needs.

On a CPU, allocating what is as large as the video takes longer than computing it; on a GPU this
saves memory. Under autograd and torch.compile all results are new tensors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def spare(x: Tensor) -> Tensor | None:
    """x, as the `out` of an operation, where it may be overwritten; otherwise None."""
    return None if torch.is_grad_enabled() or torch.compiler.is_compiling() else x


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form; x is overwritten where it may be."""
    if spare(x) is None:
        return F.gelu(x, approximate="tanh")
    return torch.ops.aten.gelu_(x, approximate="tanh")
