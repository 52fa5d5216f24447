"""The causal VAE in less memory: the stages above the latents' size are computed tile by tile.

Those stages are convolutions and norms of single pixels, so that a tile which sees far enough past
its edges comes out as it does within the whole frame. Attention, which sees all of a frame, runs at
the latents' size and takes little: it is not cut. So there are no seams, and nothing is blended.

What a tile remembers waits on the CPU while others are at work. That, and what tiles see of their
neighbours, takes time: to be used where whole frames do not fit.

Axes:  b video in the batch   c channel   t frame   h row   w column
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from .causal import Past, State, move
from .config import VAEConfig
from .vae import WanVAE

TiledState = list[State]  # of the stages that are not cut, then of each tile
WAITING = torch.device("cpu")


class Tile(NamedTuple):
    """A part of a frame, in latent cells.

    Attributes:
        rows, columns: that it makes.
        seen: rows and columns that it sees.
    """

    rows: slice
    columns: slice
    seen: tuple[slice, slice]

    def of(self, x: Tensor, scale: int) -> Tensor:
        """What it sees of x: (b, c, t, h·scale, w·scale), a copy."""
        rows, columns = (_scaled(side, scale) for side in self.seen)
        return x[..., rows, columns].clone()

    def made(self, y: Tensor, scale: int) -> Tensor:
        """What it makes, of what it saw."""
        inside = (
            slice(side.start - seen.start, side.stop - seen.start)
            for side, seen in zip((self.rows, self.columns), self.seen, strict=True)
        )
        rows, columns = (_scaled(side, scale) for side in inside)
        return y[..., rows, columns]


class Tiling:
    """A network's pieces computed in tiles, as its own `decode_piece` and `encode_piece` are.

    Args:
        network: whose pieces.
        size: (h, w) of the latents.
        rows, columns: how many tiles there are.
    """

    def __init__(self, network: WanVAE, size: tuple[int, int], rows: int, columns: int):
        self.network, self.size = network, size
        margin = reach(network.config)
        self.tiles = [
            Tile(y, x, (_widened(y, size[0], margin), _widened(x, size[1], margin)))
            for y in _spans(size[0], rows)
            for x in _spans(size[1], columns)
        ]
        self._scale = network.config.stride_hw // network.config.patch

    def decode_piece(self, latents: Tensor, state: TiledState | None) -> tuple[Tensor, TiledState]:
        """See WanVAE.decode_piece."""
        return self._one_by_one(self._pixels, latents.split(1, dim=2), state)

    def encode_piece(self, pixels: Tensor, state: TiledState | None) -> tuple[Tensor, TiledState]:
        """See WanVAE.encode_piece; pixels are those of one latent frame."""
        return self._one_by_one(self._latents, [pixels], state)

    def _one_by_one(
        self, step: Callable, pieces: Sequence[Tensor], state: TiledState | None
    ) -> tuple[Tensor, TiledState]:
        parts = []
        if state is not None:
            move(state[0], pieces[0].device)
        for piece in pieces:
            part, state = step(piece, state or [None] * (1 + len(self.tiles)))
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2), state

    def _pixels(self, latent: Tensor, state: list) -> tuple[Tensor, TiledState]:
        network, past = self.network, Past(state[0])
        x = network.decoder.inner(network.conv2(latent), past)
        x, outer = self._in_tiles(network.decoder.outer, x, state[1:], 1, self._scale)
        return network.unfolded(x), [past.state(), *outer]

    def _latents(self, pixels: Tensor, state: list) -> tuple[Tensor, TiledState]:
        network, past = self.network, Past(state[0])
        x = network.folded(pixels)
        x, outer = self._in_tiles(network.encoder.outer, x, state[1:], self._scale, 1)
        mean, _ = network.conv1(network.encoder.inner(x, past)).chunk(2, dim=1)
        return mean, [past.state(), *outer]

    def _in_tiles(
        self, stages: Callable[[Tensor, Past], Tensor], x: Tensor, state: list, seen: int, made: int
    ) -> tuple[Tensor, TiledState]:
        """stages(x), a tile at a time; `seen` and `made` are numbers of x and of it per cell."""
        height, width = (side * made for side in self.size)
        out, after = None, []
        for tile, old in zip(self.tiles, state, strict=True):
            if old is not None:
                move(old, x.device)
            past = Past(old)
            part = tile.made(stages(tile.of(x, seen), past), made)
            if out is None:
                out = part.new_empty(*part.shape[:3], height, width)
            out[..., _scaled(tile.rows, made), _scaled(tile.columns, made)] = part
            after.append(past.state())
            move(after[-1], WAITING)
            del part, past  # before the next one begins
        return out, after


def tilings(network: WanVAE, size: tuple[int, int]) -> Iterator[Tiling]:
    """Ever smaller tiles for latents of size (h, w), until most of a tile is what it sees only."""
    least, counts = reach(network.config), [1, 1]
    while True:
        axis = max((0, 1), key=lambda side: size[side] / counts[side])
        counts[axis] *= 2
        if size[axis] / counts[axis] < least:
            return
        yield Tiling(network, size, *counts)


def reach(config: VAEConfig) -> int:
    """How many cells around it the stages above the latents' size see, at most."""
    doublings = len(config.temporal)
    blocks = sum(2 * (config.res_blocks + 1) / 2**stage for stage in range(doublings + 1))
    resampled = sum(1 / 2**stage for stage in range(1, doublings + 1))
    return ceil(blocks + resampled + 1 / 2**doublings)


def remembered(config: VAEConfig) -> int:
    """How many latent frames before it a latent frame's pixels depend on, at most."""
    frames, rate = 10.0, 1  # the first convolution and the two blocks in the middle
    for doubles in (*config.temporal[::-1], False):
        frames += 4 * (config.res_blocks + 1) / rate
        if doubles:
            frames, rate = frames + 2 / rate, 2 * rate
    return ceil(frames + 2 / rate)


def _spans(length: int, count: int) -> list[slice]:
    ends = [length * n // count for n in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _widened(span: slice, length: int, margin: int) -> slice:
    return slice(max(0, span.start - margin), min(length, span.stop + margin))


def _scaled(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
