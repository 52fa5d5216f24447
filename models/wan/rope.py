"""Rotary positions on three axes: latent frame, row, column."""

from functools import lru_cache

import torch
from torch import Tensor, nn

Axis = tuple[float, float]  # token i of an axis stands at shift + scale·i
AS_TRAINED: tuple[Axis, Axis, Axis] = ((0, 1), (0, 1), (0, 1))
COMPLETE = ("cpu", "cuda", "meta")  # kinds of device that know float64 and complex numbers


def rope_table(
    grid: tuple[int, int, int],
    head_dim: int,
    device: torch.device,
    first_frame: int = 0,
    axes: tuple[Axis, Axis, Axis] = AS_TRAINED,
) -> Tensor:
    """Cosine and sine of every token's rotation; arguments and result as of `_new_table`.

    Every step of a run asks for the same table, so the last few are kept. A compiler would trace
    through the cache, and warn that it does.
    """
    table = _new_table if torch.compiler.is_compiling() else cached_table
    return table(grid, head_dim, device, first_frame, axes)


def _new_table(
    grid: tuple[int, int, int],
    head_dim: int,
    device: torch.device,
    first_frame: int = 0,
    axes: tuple[Axis, Axis, Axis] = AS_TRAINED,
) -> Tensor:
    """Cosine and sine of every token's rotation.

    Args:
        grid: (t, h, w) in tokens, not pixels or latent cells.
        head_dim: channels per attention head; even, at least 6.
        device: of the table.
        first_frame: index of the grid's first token frame in its video.
        axes: positions stretched or moved along t, h and w.

    Returns:
        (2, t·h·w, 1, head_dim / 2) float32, frames varying slowest.

    Source:
        Su et al. 2021, arXiv:2104.09864, one axis at a time. The channel split, the base and
        float64 follow `rope_params` in wan/modules/model.py, Wan-Video/Wan2.1@9737cba.
    """
    with torch.inference_mode(False):  # computed in a sampler, it must still serve training
        along_hw = 2 * (head_dim // 6)
        dims = (head_dim - 2 * along_hw, along_hw, along_hw)
        starts = (first_frame, 0, 0)
        angles = [
            torch.outer(shift + scale * torch.arange(start, start + size).double(), _speeds(dim))
            for start, size, dim, (shift, scale) in zip(starts, grid, dims, axes, strict=True)
        ]
        t, h, w = grid
        angles = torch.cat(
            (
                angles[0][:, None, None].expand(t, h, w, -1),
                angles[1][None, :, None].expand(t, h, w, -1),
                angles[2][None, None, :].expand(t, h, w, -1),
            ),
            dim=-1,
        )
        table = torch.stack((angles.cos(), angles.sin())).flatten(1, 3)
        return table.unsqueeze(2).float().to(device)


cached_table = lru_cache(maxsize=4)(_new_table)


def _speeds(dim: int, base: float = 10_000.0) -> Tensor:
    """Radians per position of an axis's dim / 2 channel pairs: 1 down to almost 1 / base."""
    return base ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)


class Rotary(nn.Module):
    """`rotate` as a layer, for a host that has a faster one."""

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return rotate(x, table)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Each pair of neighbouring channels of x: (b, n, h, d) rotated; table: from `rope_table`."""
    cos, sin = table  # float32 throughout: bfloat16 cannot tell frame 257 from 258
    pairs = x.float().unflatten(-1, (-1, 2))
    if x.device.type in COMPLETE and not torch.compiler.is_compiling():
        # The same to the last bit as the product written out, 9 to 22 times faster on a CPU, and a
        # third of the memory traffic on a GPU. Compilers do not support complex numbers.
        rotation, numbers = torch.complex(cos, sin), torch.view_as_complex(pairs)
        is_copy = x.dtype is not torch.float32 and not torch.is_grad_enabled()  # by x.float()
        rotated = numbers.mul_(rotation) if is_copy else numbers * rotation
        rotated = torch.view_as_real(rotated)
    else:
        a, b = pairs.unbind(-1)
        rotated = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1)
    return rotated.flatten(-2).to(x.dtype)
