"""Wan's causal video VAE, layouts 2.1 and 2.2.

Axes, everywhere in this file:
    b  video in the batch     t  frame, at whatever rate the stage runs
    c  channel                h  row      w  column

A frame is computed from itself and earlier frames only, so a video can pass through in pieces.
What a piece leaves behind for the next is a list of tensors that the caller keeps and the next
piece uses up; the modules remember nothing, and one module can serve several videos at once.

Source: wan/modules/vae.py in Wan-Video/Wan2.1@9737cba and wan/modules/vae2_2.py in
Wan-Video/Wan2.2@42bf4cf, whose parameter names are kept.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..attention import Attention, sdpa
from ..cpu import bands
from ..errors import FrameCountError
from ..layers import ChannelNorm, NormSiLU, Residual, video_layers
from .causal import Past, State, convolved, one_by_one
from .config import VAEConfig
from .resample import AverageDown, Downsample, DuplicateUp, Upsample


class ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, operations: Any, **kw: Any):
        super().__init__()
        conv = operations.Conv3d
        self.residual = nn.Sequential(
            NormSiLU(in_channels, 3, **kw),
            nn.Identity(),  # Wan's SiLU, which is one with the norm here; so that names agree
            conv(in_channels, out_channels, 3, padding=(0, 1, 1), **kw),
            NormSiLU(out_channels, 3, **kw),
            nn.Identity(),  # SiLU
            nn.Identity(),  # dropout
            conv(out_channels, out_channels, 3, padding=(0, 1, 1), **kw),
        )
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = operations.Conv3d(in_channels, out_channels, 1, **kw)
        self.sum = Residual()

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """x: (b, c, t, h, w) -> (b, c', t, h, w)."""
        norm_a, _, conv_a, norm_b, _, _, conv_b = self.residual
        y = convolved(conv_b, convolved(conv_a, x, past, norm_a), past, norm_b)
        return self.sum(self.shortcut(x), y)


def _residual_blocks(
    in_channels: int, out_channels: int, blocks: int, **kw: Any
) -> list[nn.Module]:
    """Blocks in a row; the first changes the number of channels."""
    widths = [in_channels] + [out_channels] * blocks
    return [ResidualBlock(a, b, **kw) for a, b in pairwise(widths)]


class AttentionBlock(nn.Module):
    """Every pixel of a frame attends to the whole frame, with a single head."""

    attention: Attention = staticmethod(sdpa)

    def __init__(self, channels: int, operations: Any, **kw: Any):
        super().__init__()
        self.norm = ChannelNorm(channels, 2, **kw)
        self.to_qkv = operations.Conv2d(channels, 3 * channels, 1, **kw)
        self.proj = operations.Conv2d(channels, channels, 1, **kw)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        b, _, _, h, _ = x.shape
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        qkv = self.to_qkv(self.norm(frames))
        # Of any other order torch's kernels hold the weights of all pixels at once.
        qkv = rearrange(qkv, "n (k c) h w -> k n 1 (h w) c", k=3).contiguous()
        y = rearrange(self.attention(*qkv), "n 1 (h w) c -> n c h w", h=h)
        return x + rearrange(self.proj(y), "(b t) c h w -> b c t h w", b=b)


class DownStage(nn.Module):
    """One stage of a 2.2 encoder."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, down: tuple[bool, bool], **kw: Any
    ):
        super().__init__()
        temporal, spatial = down
        stack = _residual_blocks(in_channels, out_channels, blocks, **kw)
        if spatial:
            stack.append(Downsample(out_channels, temporal, **kw))
        self.downsamples = nn.Sequential(*stack)
        self.avg_shortcut = AverageDown(out_channels, 1 + temporal, 1 + spatial)
        self.sum = Residual()

    def forward(self, x: Tensor, past: Past) -> Tensor:
        y = _through(self.downsamples, x, past)
        return self.sum(self.avg_shortcut(x, past), y)


class UpStage(nn.Module):
    """One stage of a 2.2 decoder."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, up: tuple[bool, bool], **kw: Any
    ):
        super().__init__()
        temporal, spatial = up
        stack = _residual_blocks(in_channels, out_channels, blocks, **kw)
        if spatial:
            stack.append(Upsample(out_channels, out_channels, temporal, **kw))
        self.upsamples = nn.Sequential(*stack)
        self.avg_shortcut = (
            DuplicateUp(in_channels, out_channels, 1 + temporal, 1 + spatial) if spatial else None
        )
        self.sum = Residual()

    def forward(self, x: Tensor, past: Past) -> Tensor:
        y = _through(self.upsamples, x, past)
        return y if self.avg_shortcut is None else self.sum(self.avg_shortcut(x, past), y)


def _through(stages: nn.Sequential, x: Tensor, past: Past) -> Tensor:
    """x: (b, c, t, h, w) through every stage in turn."""
    for stage in stages:
        x = stage(x, past)
    return x


def middle(channels: int, **kw: Any) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels, channels, **kw),
        AttentionBlock(channels, **kw),
        ResidualBlock(channels, channels, **kw),
    )


def head(channels: int, out_channels: int, operations: Any, **kw: Any) -> nn.Sequential:
    """Norm, SiLU and convolution, under Wan's numbers."""
    conv = operations.Conv3d(channels, out_channels, 3, padding=(0, 1, 1), **kw)
    return nn.Sequential(NormSiLU(channels, 3, **kw), nn.Identity(), conv)


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig, operations: Any, **kw: Any):
        super().__init__()
        widths = [config.width * m for m in (1, *config.multipliers)]
        self.conv1 = operations.Conv3d(config.pixel_channels, widths[0], 3, padding=(0, 1, 1), **kw)
        kw["operations"] = operations
        self.downsamples = nn.Sequential(*self._stages(config, widths, kw))
        self.middle = middle(widths[-1], **kw)
        self.head = head(widths[-1], 2 * config.latent_channels, **kw)

    @staticmethod
    def _stages(config: VAEConfig, widths: list[int], kw: dict) -> Iterator[nn.Module]:
        for i, (a, b) in enumerate(pairwise(widths)):
            last = i == len(config.temporal)
            temporal = not last and config.temporal[i]
            if config.residual:
                yield DownStage(a, b, config.res_blocks, (temporal, not last), **kw)
                continue
            yield from _residual_blocks(a, b, config.res_blocks, **kw)
            if not last:
                yield Downsample(b, temporal, **kw)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """x: (b, c, t, h, w), patches folded in -> (b, 2z, t', h', w')."""
        return self.inner(self.outer(x, past), past)

    def outer(self, x: Tensor, past: Past) -> Tensor:
        """The stages above the latents' size; `tiles` computes them tile by tile."""
        return _through(self.downsamples, convolved(self.conv1, x, past), past)

    def inner(self, x: Tensor, past: Past) -> Tensor:
        """The stages of the latents' size, in which all pixels of a frame see each other."""
        x = _through(self.middle, x, past)
        norm, _, conv = self.head
        return convolved(conv, x, past, norm)


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig, operations: Any, **kw: Any):
        super().__init__()
        up = config.multipliers[::-1]
        widths = [config.decoder_width * m for m in (up[0], *up)]
        self.conv1 = operations.Conv3d(
            config.latent_channels, widths[0], 3, padding=(0, 1, 1), **kw
        )
        kw["operations"] = operations
        self.middle = middle(widths[0], **kw)
        self.upsamples = nn.Sequential(*self._stages(config, widths, kw))
        self.head = head(widths[-1], config.pixel_channels, **kw)

    @staticmethod
    def _stages(config: VAEConfig, widths: list[int], kw: dict) -> Iterator[nn.Module]:
        for i, (a, b) in enumerate(pairwise(widths)):
            last = i == len(config.temporal)
            temporal = not last and config.temporal[::-1][i]
            blocks = config.res_blocks + 1
            if config.residual:
                yield UpStage(a, b, blocks, (temporal, not last), **kw)
                continue
            a = a if i == 0 else a // 2  # 2.1 halves the channels as it upsamples
            yield from _residual_blocks(a, b, blocks, **kw)
            if not last:
                yield Upsample(b, b // 2, temporal, **kw)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """x: (b, z, t, h, w) -> (b, c, t', h', w'), patches still folded in."""
        return self.outer(self.inner(x, past), past)

    def inner(self, x: Tensor, past: Past) -> Tensor:
        """The stages of the latents' size, in which all pixels of a frame see each other."""
        return _through(self.middle, convolved(self.conv1, x, past), past)

    def outer(self, x: Tensor, past: Past) -> Tensor:
        """The stages above the latents' size; `tiles` computes them tile by tile."""
        x = _through(self.upsamples, x, past)
        norm, _, conv = self.head
        return convolved(conv, x, past, norm)


class WanVAE(nn.Module):
    """Pixels (b, 3, 1 + 4n, h, w) in [-1, 1] <-> latents (b, z, 1 + n, h / s, w / s).

    Args:
        config: sizes and layout.
        operations: where layers come from, `torch.nn` or ComfyUI's `comfy.ops` classes.
        attention: of a frame's pixels to each other.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        config: VAEConfig,
        *,
        operations: Any = nn,
        attention: Attention = sdpa,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        z, operations = config.latent_channels, video_layers(operations)
        self.config = config
        self.encoder = Encoder(config, operations, **kw)
        self.conv1 = operations.Conv3d(2 * z, 2 * z, 1, **kw)
        self.conv2 = operations.Conv3d(z, z, 1, **kw)
        self.decoder = Decoder(config, operations, **kw)
        for part in (self.encoder, self.decoder):
            _, block, _ = part.middle
            block.attention = attention

    def encode(self, pixels: Tensor) -> Tensor:
        """The mean latent of a whole clip: (b, 3, 1 + 4n, h, w) -> (b, z, 1 + n, h / s, w / s)."""
        return self.encode_piece(pixels, None)[0]

    def encode_distribution(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of a whole clip's latent, for training."""
        return self._moments(pixels, Past(None))

    def _means(self, pixels: Tensor, past: Past) -> Tensor:
        return self._moments(pixels, past)[0]

    def _moments(self, pixels: Tensor, past: Past) -> tuple[Tensor, Tensor]:
        x = self.encoder(self.folded(pixels), past)
        mean, log_variance = self.conv1(x).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """The pixels of a whole clip, not clamped: the reverse of `encode`."""
        return self.decode_piece(latents, None)[0]

    def encode_piece(self, pixels: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next latents of a video, and what the piece after will need.

        Args:
            pixels: (b, 3, t, h, w) in [-1, 1]; t is 1 + 4n when `state` is None, 4n after.
            state: what the call before returned, which is used up; None begins a video.

        Raises:
            FrameCountError: if t does not fill whole latent frames.
        """
        frames = pixels.shape[2] + (state is not None)
        if frames % self.config.stride_t != 1 % self.config.stride_t or not pixels.shape[2]:
            raise FrameCountError.causal(frames, self.config.stride_t)
        return one_by_one(self._means, pixels, self.config.stride_t, state)

    def decode_piece(self, latents: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next pixels of a video, and what the piece after will need.

        Args:
            latents: (b, z, t, h, w), any t from 1 on. The video's first latent frame gives one
                frame, every other four.
            state: what the call before returned, which is used up; None begins a video.
        """
        return one_by_one(self._pixels, latents, 1, state)

    def _pixels(self, latents: Tensor, past: Past) -> Tensor:
        return self.unfolded(self.decoder(self.conv2(latents), past))

    def folded(self, pixels: Tensor) -> Tensor:
        """Patches of pixels (b, 3, t, h·p, w·p) into channels."""
        p = self.config.patch
        if p == 1:
            return pixels
        pattern = "b c t (h q) (w r) -> b (c r q) t h w"
        return bands.by_rows(partial(rearrange, pattern=pattern, q=p, r=p), pixels, per=p)

    def unfolded(self, x: Tensor) -> Tensor:
        """Channels back into patches of pixels: the reverse of `folded`."""
        p = self.config.patch
        if p == 1:
            return x
        pattern = "b (c r q) t h w -> b c t (h q) (w r)"
        return bands.by_rows(partial(rearrange, pattern=pattern, q=p, r=p), x)
