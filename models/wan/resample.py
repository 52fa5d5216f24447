"""How Wan's causal video VAE changes the size of frames, and how many there are.

Axes: see vae.py.

Source: wan/modules/vae.py in Wan-Video/Wan2.1@9737cba and wan/modules/vae2_2.py in
Wan-Video/Wan2.2@42bf4cf, whose parameter names are kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from ..cpu import bands
from ..layers import rearrange_video
from .causal import Past


def _each_frame(change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """change, from images (n, c, h, w) to images, of every frame of x: (b, c, t, h, w)."""
    frames = change(rearrange(x, "b c t h w -> (b t) c h w"))
    return rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])


class Downsample(nn.Module):
    """Halves height and width; halves time as well, except that the first frame stays alone."""

    def __init__(self, channels: int, temporal: bool, operations: Any, **kw: Any):
        super().__init__()
        conv = operations.Conv2d(channels, channels, 3, stride=2, **kw)
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)
        if temporal:
            self.time_conv = operations.Conv3d(channels, channels, (3, 1, 1), (2, 1, 1), **kw)
        self.temporal = temporal

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = _each_frame(self._halved, x)
        if not self.temporal:
            return x
        if not past.fresh:
            return self.time_conv(past.before(x, 1))
        past.keep(x, 1)
        first = x[:, :, :1]
        return first if x.shape[2] == 1 else bands.concatenated((first, self.time_conv(x)), 2)

    def _halved(self, frames: Tensor) -> Tensor:
        _, conv = self.resample
        return conv(bands.padded(frames, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width; doubles time as well, except for the first frame."""

    def __init__(
        self, channels: int, out_channels: int, temporal: bool, operations: Any, **kw: Any
    ):
        super().__init__()
        conv = operations.Conv2d(channels, out_channels, 3, padding=1, **kw)
        self.resample = nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), conv)
        if temporal:
            self.time_conv = operations.Conv3d(channels, 2 * channels, (3, 1, 1), **kw)
        self.temporal = temporal

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = self._double_time(x, past) if self.temporal else x
        return _each_frame(self._doubled, x)

    def _doubled(self, frames: Tensor) -> Tensor:
        repeat, conv = self.resample
        return conv(bands.by_rows(repeat, frames, grows=4))

    def _double_time(self, x: Tensor, past: Past) -> Tensor:
        if not past.fresh:
            return self._in_pairs(past.before(x, 2))
        # Wan's first frame passes untouched, and the frames after it do not see it either.
        first, rest = x[:, :, :1], past.before(x[:, :, 1:], 2)
        return first if rest.shape[2] == 2 else bands.concatenated((first, self._in_pairs(rest)), 2)

    def _in_pairs(self, x: Tensor) -> Tensor:
        pattern = "b (p c) t h w -> b c (t p) h w"
        return bands.by_rows(partial(rearrange_video, pattern=pattern, p=2), self.time_conv(x))


class AverageDown(nn.Module):
    """Shortcut of a 2.2 encoder stage: blocks of pixels into channels, averaged in groups.

    A block has `factor_t` frames and `factor_hw` rows and columns.
    """

    def __init__(self, out_channels: int, factor_t: int, factor_hw: int):
        super().__init__()
        self.out_channels, self.factor_t, self.factor_hw = out_channels, factor_t, factor_hw

    def forward(self, x: Tensor, past: Past) -> Tensor:
        # Zeros before the first frame, so that it fills a block of its own.
        before = self.factor_t - 1 if past.fresh else 0
        change, rows = partial(self._averaged, before), self.factor_hw
        return bands.by_rows(change, x, per=rows, grows=self.factor_t)

    def _averaged(self, before: int, x: Tensor) -> Tensor:
        x = rearrange(
            F.pad(x, (0, 0, 0, 0, before, 0)) if before else x,
            "b c (t p) (h q) (w r) -> b (c p q r) t h w",
            p=self.factor_t,
            q=self.factor_hw,
            r=self.factor_hw,
        )
        return reduce(x, "b (c g) t h w -> b c t h w", "mean", c=self.out_channels)


class DuplicateUp(nn.Module):
    """Shortcut of a 2.2 decoder stage: channels repeated, then spread out to blocks of pixels.

    A block has `factor_t` frames and `factor_hw` rows and columns.
    """

    def __init__(self, in_channels: int, out_channels: int, factor_t: int, factor_hw: int):
        super().__init__()
        self.factor_t, self.factor_hw = factor_t, factor_hw
        self.repeats = out_channels * factor_t * factor_hw**2 // in_channels

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = bands.by_rows(self._spread, x, grows=self.repeats)
        return x[:, :, self.factor_t - 1 :] if past.fresh else x

    def _spread(self, x: Tensor) -> Tensor:
        return rearrange_video(
            x.repeat_interleave(self.repeats, dim=1),
            "b (c p q r) t h w -> b c (t p) (h q) (w r)",
            p=self.factor_t,
            q=self.factor_hw,
            r=self.factor_hw,
        )
