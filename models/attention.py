"""One attention call; which kernel answers it is the caller's choice.

Axes:  b video in the batch   h attention head   n token   d channel within a head
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]  # q, k, v -> out, all (b, h, n, d)


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Torch's own kernel. q: (b, h, n, d), k and v: (b, h, m, d) -> (b, h, n, d)."""
    return F.scaled_dot_product_attention(q, k, v)


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention written out: on a CPU 2 to 5 times faster than `sdpa` up to some 400 tokens.

    Same shapes as `sdpa`; holds the whole (b, h, n, m) matrix in memory.
    """
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
    return weights @ v
