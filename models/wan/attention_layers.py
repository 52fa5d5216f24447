"""Attention of Wan's blocks: of a video's tokens to each other, and to text and images.

Axes are those of `dit`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..attention import Attention
from .config import DiTConfig
from .rope import Rotary

KeysValues = tuple[Tensor, Tensor]  # each (b, a, m, d)


class SelfAttention(nn.Module):
    def __init__(self, config: DiTConfig, operations: Any, **kw: Any):
        super().__init__()
        self.heads = config.heads
        width = config.width
        self.q = operations.Linear(width, width, **kw)
        self.k = operations.Linear(width, width, **kw)
        self.v = operations.Linear(width, width, **kw)
        self.o = operations.Linear(width, width, **kw)
        self.norm_q = operations.RMSNorm(width, eps=config.eps, elementwise_affine=True, **kw)
        self.norm_k = operations.RMSNorm(width, eps=config.eps, elementwise_affine=True, **kw)
        self.rotary = getattr(operations, "Rotary", Rotary)()

    def forward(self, x: Tensor, table: Tensor, attention: Attention) -> Tensor:
        """x: (b, f, s, c) attends to all of itself; table: from `rope_table`."""
        out = attention(  # passed without names: each is as large as the video, and freed in there
            self._at_positions(self.norm_q(self.q(x)), table),
            self._at_positions(self.norm_k(self.k(x)), table),
            rearrange(self.v(x), "b f s (a d) -> b a (f s) d", a=self.heads),
        )
        return self.o(rearrange(out, "b a (f s) d -> b f s (a d)", f=x.shape[1]))

    def _at_positions(self, x: Tensor, table: Tensor) -> Tensor:
        """x: (b, f, s, c) -> (b, a, f·s, d), rotated by each token's position."""
        heads = rearrange(x, "b f s (a d) -> b (f s) a d", a=self.heads)
        return self.rotary(heads, table).transpose(1, 2)


class CrossAttention(nn.Module):
    def __init__(self, config: DiTConfig, operations: Any, **kw: Any):
        super().__init__()
        self.heads = config.heads
        width = config.width
        norm = dict(eps=config.eps, elementwise_affine=True, **kw)
        self.q = operations.Linear(width, width, **kw)
        self.k = operations.Linear(width, width, **kw)
        self.v = operations.Linear(width, width, **kw)
        self.o = operations.Linear(width, width, **kw)
        self.norm_q = operations.RMSNorm(width, **norm)
        self.norm_k = operations.RMSNorm(width, **norm)
        if config.image_width is not None:
            self.k_img = operations.Linear(width, width, **kw)
            self.v_img = operations.Linear(width, width, **kw)
            self.norm_k_img = operations.RMSNorm(width, **norm)

    def read(self, context: Tensor) -> KeysValues:
        """Keys and values of text tokens (b, m, c)."""
        return self._in_heads(self.norm_k(self.k(context)), self.v(context))

    def read_image(self, context: Tensor) -> KeysValues:
        """Keys and values of image tokens (b, m, c)."""
        return self._in_heads(self.norm_k_img(self.k_img(context)), self.v_img(context))

    def _in_heads(self, k: Tensor, v: Tensor) -> KeysValues:
        split = "b m (a d) -> b a m d"
        return rearrange(k, split, a=self.heads), rearrange(v, split, a=self.heads)

    def forward(
        self,
        x: Tensor,
        words: Sequence[tuple[slice, KeysValues]],
        image: KeysValues | None,
        attention: Attention,
    ) -> Tensor:
        """x: (b, f, s, c), each range of token frames attending to its own text."""
        f = x.shape[1]
        q = rearrange(self.norm_q(self.q(x)), "b f s (a d) -> b a f s d", a=self.heads)
        parts = [attention(q[:, :, span].flatten(2, 3), *kv) for span, kv in words]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        if image is not None:
            out = out + attention(q.flatten(2, 3), *image)
        return self.o(rearrange(out, "b a (f s) d -> b f s (a d)", f=f))
