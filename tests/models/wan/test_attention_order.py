"""What a VAE hands to torch's attention."""

import torch
from torch import nn

from longtake.models.wan.causal import Past
from longtake.models.wan.vae import AttentionBlock


def test_channels_of_a_pixel_lie_side_by_side_so_that_no_kernel_holds_all_weights():
    """Else torch writes out a number for each pair of pixels: 68 GB at 4096 × 8192."""
    seen = []

    def attention(q, k, v):
        seen.extend(x.stride(-1) for x in (q, k, v))
        return v

    block = AttentionBlock(6, nn)
    block.attention = attention
    for x in (torch.randn(1, 6, 2, 5, 7), torch.randn(1, 2, 5, 7, 6).movedim(-1, 1)):
        with torch.no_grad():
            block(x, Past(None))
    assert seen == [1] * 6
