"""A clip decoded in tiles, where memory does not suffice for the whole of its pictures.

Tiles overlap; where two meet, one goes over into the other, and how far apart they were there is
measured. In memory are a row of tiles in numbers, and all that is finished in bytes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .overlapped import Seams


def tile_by_tile(
    latents: Tensor,
    side: int,
    decode: Callable[[Tensor], Tensor],
    finish: Callable[[Tensor], Tensor],
    seams: Seams,
) -> list[Tensor]:
    """Pixels of a clip, a tile at a time.

    Args:
        latents: (1, c, t, h, w).
        side: of a tile, in cells; a quarter of it, at least, is seen by two of them.
        decode: gives all pixels of latents, (1, 3, f, h·s, w·s), in numbers.
        finish: makes of such pixels what is kept, of the same shape.
        seams: told of each place where two tiles meet.

    Returns:
        The pixels from top to bottom, (1, 3, f, some rows, w·s) each, finished.
    """
    rows, columns = (spans(size, side) for size in latents.shape[3:])
    parts, above = [], None
    for row, below in zip(rows, [*rows[1:], None], strict=True):
        strip, scale = None, 1
        for column, before in zip(columns, [None, *columns[:-1]], strict=True):
            tile = decode(latents[:, :, :, slice(*row), slice(*column)])
            scale = tile.shape[3] // (row[1] - row[0])
            if strip is None:
                strip = tile.new_empty(*tile.shape[:4], latents.shape[4] * scale)
            shared = 0 if before is None else before[1] - column[0]
            at = strip.narrow(4, column[0] * scale, tile.shape[4])
            go_over(at, tile, shared * scale, 4, seams)
            at.narrow(4, shared * scale, tile.shape[4] - shared * scale).copy_(
                tile[..., shared * scale :]
            )
            del tile, at  # before the next one is made
        if above is not None:
            go_over(above, strip, above.shape[3], 3, seams)
            strip[:, :, :, : above.shape[3]] = above
        sure = strip.shape[3] - (0 if below is None else (row[1] - below[0]) * scale)
        parts.append(finish(strip[:, :, :, :sure]))
        above = strip[:, :, :, sure:].clone()  # a view would keep the whole row
        del strip
    return parts


def spans(size: int, side: int) -> list[tuple[int, int]]:
    """[start, stop) of tiles along one axis, evenly spread."""
    if size <= side:
        return [(0, size)]
    count = 1 + -(-(size - side) // (side - side // 4))
    starts = [round(k * (size - side) / (count - 1)) for k in range(count)]
    return [(start, start + side) for start in starts]


def go_over(one: Tensor, other: Tensor, shared: int, dim: int, seams: Seams) -> None:
    """The first `shared` of one tile along an axis go over, in place, into those of another."""
    if not shared:
        return
    mine, its = one.narrow(dim, 0, shared), other.narrow(dim, 0, shared)
    seams.met(mine, its)
    weight = torch.arange(1, shared + 1).to(one) / (shared + 1)
    mine.lerp_(its, weight.view(-1, *[1] * (4 - dim)))
