"""3x3 convolutions on a CPU with a quarter of the multiplications, by Winograd's filtering.

An image is cut into windows of 6x6 pixels, 4 apart, and the 4x4 results of each come from 36
products instead of 144. In one dimension: six pixels and a filter's three weights are both taken
for polynomials, evaluated at six points and multiplied there, and the four results are interpolated
from the six products. In two dimensions there are 6x6 points. The cost is in the additions before
and after, and in the weights, which are evaluated at every call so that nothing can go stale.

There are no windows in time. At each of the 36 points a convolution over the frames remains, and
oneDNN computes all of these at once, as groups of channels.

Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), F(4x4, 3x3). Their
points 0, 1, -1, 2, -2 and infinity make rounding errors twice as large as ours.

Axes:  b video in the batch   c channel   t frame   h row   w column
       y, x  row and column of a window in its block   j, i  points of its columns and its rows
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from math import prod, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import bands, onednn

A, B = sqrt(0.5), sqrt(2.0)  # A * B is 1, which `_evaluate` relies on
POINTS = (0.0, A, -A, B, -B)  # and infinity
SIZE, STEP = 6, 4  # of windows, in pixels
WINDOWS = 64  # in a block, few enough for all intermediate results to stay in the cache
WEIGHTS = 2**22  # evaluated at a time; larger allocations come from the system, slowly
PLAIN = ((0, 0, 0), (1, 1, 1), (1, 1, 1), SIZE * SIZE)  # padding, stride, dilation, groups
PIXELS = 2048  # of the result; below, the weights cost more than is saved
CHANNELS = 64  # below, the additions cost more than is saved


def fastest_convolution(
    conv: nn.Conv2d | nn.Conv3d, x: Tensor, between: Callable[[], None] = lambda: None
) -> Tensor:
    """conv(x), for what `onednn.convolution_serves`, by the faster of two ways.

    Args:
        between: called between the parts of one that takes long.
    """
    if not pays(conv, x):
        return onednn.in_bands(conv, x, between)
    weight = onednn.weight_for(conv, x)
    if x.ndim == 5:
        return filtered(x, weight, conv.bias, between)
    frames = x.transpose(0, 1).unsqueeze(0)
    return filtered(frames, weight.unsqueeze(2), conv.bias, between).squeeze(0).transpose(0, 1)


def pays(conv: nn.Conv2d | nn.Conv3d, x: Tensor) -> bool:
    """Whether it is a 3x3 convolution, and large enough; bfloat16 would round too coarsely."""
    plain = prod((*conv.stride, *conv.dilation, conv.groups)) == 1
    flat = conv.kernel_size[-2:] == (3, 3) and conv.padding in ((1, 1), (0, 1, 1))
    if not (plain and flat and x.dtype is torch.float32):
        return False
    before = min(conv.kernel_size[0], x.shape[2]) - 1 if x.ndim == 5 else 0  # frames
    pixels = x[:, 0, before:].numel()
    large = pixels >= PIXELS and min(conv.weight.shape[:2]) >= CHANNELS
    return large and x.movedim(1, -1).is_contiguous() and onednn.works(_is_right, x.dtype)


@torch.no_grad()
def _is_right(dtype: torch.dtype) -> bool:
    rng = torch.Generator().manual_seed(0)
    sizes = (1, 5, 4, 7, 9), (3, 5, 3, 3, 3), (3,)
    x, weight, bias = (torch.randn(*size, generator=rng).to(dtype) for size in sizes)
    expected = F.conv3d(x, weight, bias, padding=(0, 1, 1))
    return onednn.close(filtered(x, weight, bias), expected)


def filtered(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    between: Callable[[], None] = lambda: None,
) -> Tensor:
    """A convolution over frames, with one pixel of zeros around each.

    Args:
        x: (b, c, t, h, w).
        weight: (c', c, k, 3, 3).
        bias: (c',).
        between: called between blocks.

    Returns:
        (b, c', t - k + 1, h, w), channels last in memory.
    """
    x = x.movedim(1, -1)
    b, t, h, w, c = x.shape
    rows, columns = -(-h // STEP), -(-w // STEP)  # of windows
    wide, lefts = _cut(columns, WINDOWS)
    high, tops = _cut(rows, WINDOWS // wide)
    channels, _, k = weight.shape[:3]
    few = max(16, WEIGHTS // (SIZE * SIZE * k * c) // 16 * 16)
    bias = weight.new_zeros(channels) if bias is None else bias
    parts = zip(weight.split(few), bias.split(few), strict=True)
    filters = [_evaluated_weights(*part, (b, t, high, wide)) for part in parts]
    out = x.new_empty(b, t - k + 1, STEP * rows, STEP * columns, channels)
    for top, left in product(tops, lefts):
        between()
        block = out.narrow(2, STEP * top, STEP * high).narrow(3, STEP * left, STEP * wide)
        points = _evaluated(_surrounded(x, STEP * top, STEP * left, *block.shape[2:4]))
        for (values, offset), results in zip(filters, block.split(few, dim=-1), strict=True):
            _interpolated(_multiplied(points, values, offset), results)
    if out.shape[2:4] != (h, w):
        out = bands.by_rows(torch.clone, out[:, :, :h, :w], axis=2)
    return out.movedim(-1, 1)


def _cut(total: int, most: int) -> tuple[int, list[int]]:
    """(size, starts) of pieces of equal size, at most `most`; the last may overlap another.

    oneDNN orders weights for one size of input, and would slowly reorder them for another.
    """
    pieces = -(-total // most)
    size = -(-total // pieces)
    return size, [min(i * size, total - size) for i in range(pieces)]


def _surrounded(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A part of x: (b, t, h, w, c), and one pixel more on every side; outside of x are zeros."""
    above, before = int(top == 0), int(left == 0)
    part = x[:, :, top - 1 + above : top + height + 1, left - 1 + before : left + width + 1]
    below, after = height + 2 - above - part.shape[2], width + 2 - before - part.shape[3]
    return F.pad(part, (0, 0, before, after, above, below))


def _evaluated(pixels: Tensor) -> Tensor:
    """Windows at their points: (b, t, 4·y + 2, 4·x + 2, c) -> (b, t, y, x, j, i, c)."""
    b, t, h, w, c = pixels.shape
    half = pixels.new_empty(b, t, h // STEP, w, SIZE, c)
    _evaluate(pixels.unfold(2, SIZE, STEP).unbind(-1), half.unbind(4))
    points = pixels.new_empty(b, t, h // STEP, w // STEP, SIZE, SIZE, c)
    _evaluate(half.unfold(3, SIZE, STEP).unbind(-1), points.unbind(4))
    return points


def _multiplied(points: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(b, t, y, x, j, i, c) by `_evaluated_weights` -> (b, t - k + 1, y, x, j, i, c')."""
    x = points.flatten(4).movedim(-1, 1)
    y = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *PLAIN, "none", [], "")
    return y.movedim(1, -1).unflatten(-1, (SIZE, SIZE, -1))


def _interpolated(products: Tensor, out: Tensor) -> None:
    """(b, t, y, x, j, i, c) -> out: (b, t, 4·y, 4·x, c). The products are overwritten."""
    b, t, y, x, _, _, c = products.shape
    half = products.new_empty(b, t, y, x, STEP, SIZE, c)
    _interpolate(products.unbind(4), half.unbind(4))
    _interpolate(half.flatten(3, 4).unbind(4), out.unflatten(2, (y, STEP)).unbind(3))


def _evaluate(x: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Six pixels -> their values at 0, A, -A, B, -B and infinity.

    Filtering is polynomial multiplication, transposed, and so is this: the coefficients of each sum
    are those of the polynomial that is zero at all points but one. It is scaled in `_constants`.
    """
    torch.add(x[0] + x[4], x[2], alpha=-(A**2 + B**2), out=out[0])
    for i, point, other in ((1, A, B), (3, B, A)):
        even = torch.sub(x[4], x[2], alpha=other**2)
        odd = torch.sub(x[3], x[1], alpha=other**2)
        torch.add(even, odd, alpha=point, out=out[i])
        torch.sub(even, odd, alpha=point, out=out[i + 1])
    torch.add(x[1] + x[5], x[3], alpha=-(A**2 + B**2), out=out[5])


def _interpolate(x: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Products at the six points -> four results. x is overwritten."""
    even_a, odd_a = x[1] + x[2], x[1].sub_(x[2]).mul_(A)
    even_b, odd_b = x[3] + x[4], x[3].sub_(x[4]).mul_(B)
    torch.add(x[0], even_a, out=out[0]).add_(even_b)
    torch.add(odd_a, odd_b, out=out[1])
    torch.add(even_a.mul_(A**2), even_b, alpha=B**2, out=out[2])
    torch.add(x[5], odd_a, alpha=A**2, out=out[3]).add_(odd_b, alpha=B**2)


def _evaluated_weights(
    weight: Tensor, bias: Tensor, block: tuple[int, int, int, int]
) -> tuple[Tensor, Tensor]:
    """Filters at the points, for `_multiplied`.

    Args:
        weight: (c', c, k, 3, 3).
        bias: (c',).
        block: of the input: videos, frames, and rows and columns of windows.

    Returns:
        (j·i·c', c, k, 1, 1), in an order of oneDNN's own, and (j·i·c',).
    """
    _, c, k = weight.shape[:3]
    at_points, of_one = _constants()
    flat = weight.permute(3, 4, 0, 2, 1).reshape(9, -1)
    values = (at_points.to(flat) @ flat).view(-1, k, 1, 1, c).movedim(-1, 1)
    b, *sizes = block
    shape = (b, SIZE * SIZE * c, *sizes)
    packed = torch.ops.mkldnn._reorder_convolution_weight(values, *PLAIN, shape)
    return packed, torch.outer(of_one.to(bias), bias).flatten()


@lru_cache
def _constants() -> tuple[Tensor, Tensor]:
    """What evaluates filters at the points, (36, 9), and products that interpolate to 1, (36,).

    The latter make a bias. By Lagrange's formula they are the weights that the points have for the
    value at 1.
    """
    scales = [prod(p - q for q in POINTS if q != p) for p in POINTS]
    values = [[p**i / s for i in range(3)] for p, s in zip(POINTS, scales, strict=True)]
    values = torch.tensor([*values, [0, 0, 1]], dtype=torch.float64)
    one = [prod(1 - q for q in POINTS if q != p) / s for p, s in zip(POINTS, scales, strict=True)]
    one = torch.tensor([*one, 0], dtype=torch.float64)
    at_points = torch.einsum("jx,iy->jiyx", values, values)
    return at_points.reshape(SIZE * SIZE, 9), torch.outer(one, one).flatten()
