"""Attention kernels with one signature; which one is used is the caller's choice.

Axes:  b video in the batch   h attention head   n token   d channel within a head
"""

from collections.abc import Callable
from itertools import product
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]  # q, k, v -> out, all (b, h, n, d)
SMALL = 2**20  # attention weights; up to here `chunked` computes all at once
CHUNK = 6 * 2**20  # attention weights at a time beyond that; more do not fit the shared cache


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Torch's own kernel. q: (b, h, n, d), k and v: (b, h, m, d) -> (b, h, n, d)."""
    return F.scaled_dot_product_attention(q, k, v)


def chunked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention written out for one head and some queries at a time, for bfloat16 on a CPU.

    Same shapes as `sdpa`, whose kernel is 1.4 to 1.8 times slower there. The error is that of
    ComfyUI's sub-quadratic attention, twice `sdpa`'s.
    """
    b, h, n, d = q.shape
    if b * h * n * k.shape[2] <= SMALL:
        return exact(q, k, v)
    pieces = ceil(n / max(64, min(512, CHUNK // k.shape[2])))
    rows = ceil(n / pieces)  # pieces of equal size, so that none has only a few rows
    out = q.new_empty(b, n, h, d).transpose(1, 2)  # in memory token by token, as it will be read
    for i, j in product(range(b), range(h)):
        keys, values = k[i, j].t(), v[i, j]
        if pieces > 3:  # otherwise each product would copy them into this order
            keys, values = keys.contiguous(), values.contiguous()
        for at in range(0, n, rows):
            queries = q[i, j, at : at + rows] * d**-0.5
            weights = torch.softmax(queries @ keys, dim=-1)
            torch.mm(weights, values, out=out[i, j, at : at + rows])
    return out


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention written out: on a CPU 2 to 5 times faster than `sdpa` up to about 400 tokens.

    Same shapes as `sdpa`; needs memory for the whole (b, h, n, m) matrix.
    """
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
    return weights @ v
