"""Whether one fingerprint is a part of another: the same bits, one after the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

SHARE = 0.5  # of the shorter of two that they must have in common, at least
BLOCK = 64  # kept hashes that are compared in one product


class Agreement(NamedTuple):
    """Where two fingerprints agree best.

    Attributes:
        distance: share of bits that differ there; 0.5 is chance.
        common: how many of the kept hashes were compared.
        offset: how much later than in the kept one the same thing comes, in steps of the sought.
    """

    distance: float
    common: int
    offset: int


NOTHING = Agreement(1.0, 0, 0)


def signs(packed: NDArray[np.uint8]) -> Tensor:
    """Packed bits (..., bytes) as float -1 and 1; zeros for a hash that says nothing."""
    bits = np.unpackbits(packed, axis=-1).astype(np.float32)
    return torch.from_numpy((2 * bits - 1) * packed.any(-1, keepdims=True))


def agree(kept: Tensor, sought: Tensor, times: Sequence[int]) -> Agreement:
    """Slide one along the other, and compare what falls together.

    Args:
        kept: (kinds, n, bits) of -1 and 1, or 0 for what says nothing.
        sought: (kinds, m, bits), at every step of time. Each kind is compared with each.
        times: (n,) of the kept ones, in whole steps of the sought, rising.

    Returns:
        The offset with the least distance, of those at which at least SHARE of the shorter is
        compared; NOTHING if there is none.
    """
    n, m, bits = kept.shape[1], sought.shape[1], kept.shape[2]
    if not n or not m:
        return NOTHING
    last = int(times[-1])
    total = torch.zeros(kept.shape[0], sought.shape[0], last + m)
    count = torch.zeros_like(total)
    there, other = kept[..., 0].abs(), sought[..., 0].abs()
    for begin in range(0, n, BLOCK):
        flat = rearrange(kept[:, begin : begin + BLOCK], "k n b -> (k n) b")
        products = flat @ rearrange(sought, "s m b -> b (s m)")
        products = rearrange(products, "(k n) (s m) -> n k s m", k=len(kept), m=m)
        for i, product in enumerate(products, begin):
            here = slice(last - int(times[i]), last - int(times[i]) + m)
            total[..., here] += product
            count[..., here] += there[:, i, None, None] * other
    step = max(1.0, last / (n - 1)) if n > 1 else 1.0
    need = max(1.0, SHARE * min(n, m / step))
    distance = torch.where(count >= need, 0.5 - total / (2 * bits * count.clamp(min=1)), 1.0)
    best = int(distance.argmin())
    found = float(distance.flatten()[best])
    if found >= 1:
        return NOTHING
    return Agreement(found, int(count.flatten()[best]), best % (last + m) - last)
