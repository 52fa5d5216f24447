"""An invisible watermark in the brightness of every frame, and its detector.

A spread-spectrum mark: faint cells, lighter or darker by a fixed random pattern, which survive
re-encoding, scaling and cropping because thousands of them carry the same bits. The pattern and the
detector are public, so anybody can remove or forge it: it informs, and secures nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import Tensor

from ...models.cpu import bands
from ...models.errors import InputError

TILE = 64  # cells after which the pattern repeats, both ways
CELLS = 90  # on the shorter side of a frame
SMALLEST = 4.0  # pixels of a cell; smaller ones do not survive an encoder
SYNC = 0.5  # share of the cells that carry no bit, only the position of the pattern
ID_BITS, CHECK_BITS = 24, 8
BITS = ID_BITS + CHECK_BITS
CORRECTED = 3  # weakest bits that may be flipped; with more, chance would pass the checksum
STRENGTH = 1.4  # grey levels of 255, on a surface of medium texture
BLOCK = 8  # pixels over which texture is measured
PRESENT = 8.0  # standard deviations of the correlation; unmarked clips stay below 6
CERTAIN = 2 * PRESENT  # at which no other scale is tried
SCALES = np.exp(np.arange(np.log(0.45), np.log(2.2), 0.008))  # of a cell, against its usual size
FINE_SCALES = (0.996, 0.998, 1.002, 1.004)  # tried around the best of these
FEW = 45  # cells on the shorter side, below which crf 28 takes the mark away; at 48 it is found
FRAMES = 64  # that the detector needs
SEED = 0x10_47_AE
LUMA = (0.2126, 0.7152, 0.0722)


class Mark(NamedTuple):
    """What the detector found.

    Attributes:
        z: standard deviations of the pattern's correlation above chance.
        id: the 24 bits that the mark carries, or None if their checksum does not match.
        scale: of the pattern; 1 is its usual size.
        flipped: whether it is mirrored.
        cells: on the shorter side of the frames that were looked at.
    """

    z: float
    id: int | None
    scale: float
    flipped: bool
    cells: float = CELLS

    @property
    def present(self) -> bool:
        return self.z >= PRESENT


class _Pattern(NamedTuple):
    """What is fixed about the cells of a tile.

    Attributes:
        signs: (TILE, TILE) of -1 and 1.
        bits: (TILE, TILE), number of the bit that each cell carries; BITS for none.
    """

    signs: Tensor
    bits: Tensor


@lru_cache(maxsize=1)
def _pattern() -> _Pattern:
    random = np.random.default_rng(SEED)  # PCG64: the same on every machine
    signs = random.integers(0, 2, (TILE, TILE)) * 2 - 1
    bits = random.integers(0, BITS, (TILE, TILE))
    bits[random.random((TILE, TILE)) < SYNC] = BITS
    return _Pattern(torch.from_numpy(signs).float(), torch.from_numpy(bits))


def embed_mark(chunks: Iterable[Tensor], id: int, strength: float = STRENGTH) -> Iterator[Tensor]:
    """A stage on a frame stream that marks its frames.

    Args:
        chunks: uint8 (frames, h, w, 3).
        id: what the mark carries, 24 bits.
        strength: grey levels of 255; increased somewhat for small frames.
    """
    if not 0 <= id < 2**ID_BITS:
        raise InputError(f"the mark carries {ID_BITS} bits, and {id} does not fit in them.")
    plane = None
    for chunk in chunks:
        if plane is None:
            plane = strength * _boost(*chunk.shape[1:3]) * _plane(id, *chunk.shape[1:3])
        yield torch.cat([_mark(frame, plane) for frame in chunk.split(1)])


def _plane(id: int, height: int, width: int) -> Tensor:
    """The pattern for frames of this size, (h, w), about -1 … 1."""
    values = torch.cat((_bits_of(id), torch.ones(1)))
    signs, bits = _pattern()
    cell = _cell_size(height, width)
    tile = signs * values[bits]
    rows, columns = (int(side / cell) + 3 for side in (height, width))
    cells = tile.repeat(-(-rows // TILE), -(-columns // TILE))[:rows, :columns]
    return _sampled(cells, height, width, 1 / cell)


def _boost(height: int, width: int) -> float:
    """A factor for frames with room for few cells only. At twice as much it would be visible."""
    return min(1.45, _cell_size(height, width) * CELLS / min(height, width))


def _sampled(image: Tensor, height: int, width: int, step: float) -> Tensor:
    """An image (h, w) sampled bilinearly at `height` × `width` points, `step` pixels apart and the
    first half a step from its corner."""
    y = (torch.arange(height) + 0.5) * (2 * step / image.shape[0]) - 1
    x = (torch.arange(width) + 0.5) * (2 * step / image.shape[1]) - 1
    at = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(image[None, None], at[None], align_corners=False)[0, 0]


def _cell_size(height: int, width: int) -> float:
    """Pixels of a cell in frames of this size, when they are marked."""
    return max(SMALLEST, min(height, width) / CELLS)


def _mark(frame: Tensor, plane: Tensor) -> Tensor:
    """Mark a frame, uint8 (1, h, w, 3), more strongly where texture hides it."""
    spread = bands.by_rows(_spread, frame, axis=1, per=BLOCK)
    texture = F.interpolate(spread[None], frame.shape[1:3], mode="bilinear", align_corners=False)
    return bands.by_rows(_shifted, frame, plane[None], texture[0], axis=1)


def _shifted(frames: Tensor, plane: Tensor, texture: Tensor) -> Tensor:
    """frames: (1, h, w, 3); plane, texture: (1, h, w)."""
    delta = plane * (0.6 + texture / 6).clamp_(0.6, 2.2)
    return (frames.float() + delta[..., None]).round_().clamp_(0, 255).to(torch.uint8)


def _luma(frames: Tensor) -> Tensor:
    """uint8 (frames, h, w, 3) -> float (frames, h, w)."""
    return frames.float() @ torch.tensor(LUMA)


def _spread(frame: Tensor) -> Tensor:
    """The standard deviation of brightness within blocks: (1, h, w, 3) -> (1, h / 8, w / 8)."""
    y = _luma(frame)
    both = torch.stack((y, y * y), 1)
    mean, square = F.avg_pool2d(both, BLOCK, ceil_mode=True, count_include_pad=False).unbind(1)
    return (square - mean * mean).clamp_(min=0).sqrt_()


def _bits_of(id: int) -> Tensor:
    """The id and its checksum as -1 and 1: (BITS,)."""
    word = id << CHECK_BITS | _checksum(id)
    return torch.tensor([1.0 if word >> n & 1 else -1.0 for n in range(BITS)])


def _checksum(id: int) -> int:
    """CRC-8 of the id's three bytes. It starts from ones, so that id 0 has no checksum of 0."""
    crc = 0xFF
    for byte in id.to_bytes(ID_BITS // 8, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def find_mark(chunks: Iterable[Tensor], step: Callable[[], None] = lambda: None) -> Mark:
    """Look for the mark in a frame stream.

    Args:
        chunks: uint8 (frames, h, w, 3), all of one size. FRAMES frames are enough.
        step: called for each of the SCALES that is tried.

    Raises:
        InputError: if there are no frames.
    """
    residual, frames = torch.zeros(()), 0
    for chunk in chunks:
        for y in bands.by_rows(_luma, chunk, axis=1):
            residual = residual + _residual(_reduced(y))
            frames += 1
    if not frames:
        raise InputError("there are no frames to look for a mark in.")
    cells = min(chunk.shape[1:3]) / _cell_size(*chunk.shape[1:3])
    shrunk = _at_detail(residual / frames)
    blurred = {size: _blurred(shrunk, size) for size in (1, 3, 5)}
    found = []
    for scale in sorted(SCALES, key=lambda scale: abs(np.log(scale))):
        step()
        found.append(_at_scale(blurred, float(scale)))
        if found[-1].z > CERTAIN:
            break
    best = sorted(found, key=_strength)[-3:]
    found += [_at_scale(blurred, mark.scale * fine) for mark in best for fine in FINE_SCALES]
    return max(found, key=_strength)._replace(cells=cells)


def weakness(height: int, width: int) -> str:
    """What there is to say of a mark in frames of this size; "" of one that is as good as any."""
    if min(height, width) >= FEW * _cell_size(height, width):
        return ""
    return "the mark is weak in frames this small: strong compression (crf 28) removes it"


def _reduced(y: Tensor) -> Tensor:
    """(h, w), made smaller by a whole number as long as a cell keeps twice SMALLEST pixels."""
    factor = int(_cell_size(*y.shape) / (2 * SMALLEST))
    return F.avg_pool2d(y[None, None], factor)[0, 0] if factor > 1 else y


def _at_detail(residual: Tensor) -> Tensor:
    """The residual resized so that a cell of the usual size has SMALLEST pixels."""
    cell = _cell_size(*residual.shape)
    size = [round(side * SMALLEST / cell) for side in residual.shape]
    return F.interpolate(residual[None, None], size, mode="bilinear", antialias=True)[0, 0]


def _strength(mark: Mark) -> float:
    return mark.z


def _residual(y: Tensor) -> Tensor:
    """Detail finer than a cell, divided by its local strength: (h, w) -> (h, w), about -1 … 1."""
    size = 2 * round(_cell_size(*y.shape)) + 1
    fine = y - _blurred(y, size)
    return fine / (_blurred(fine * fine, size).sqrt_() + 1.0)


def _blurred(image: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(image[None, None], size, 1, size // 2, count_include_pad=False)[0, 0]


def _at_scale(blurred: dict[int, Tensor], scale: float) -> Mark:
    """The best match of the pattern with cells of this size, at any position, mirrored or not."""
    step = SMALLEST * scale / 2  # two points a cell, so that one of them is near its middle
    image = blurred[min(blurred, key=lambda size: abs(size - step))]
    height, width = (int(side / step) for side in image.shape)
    points = _sampled(image, height, width, step)
    best = Mark(0.0, None, scale, False)
    for flipped in (False, True):
        folded = _folded(points.flip(1) if flipped else points)
        white = _whitened(torch.fft.rfft2(folded))
        fit = torch.fft.irfft2(white * _sync(), s=folded.shape)
        z = float((fit.max() - fit.mean()) / fit.std().clamp(min=1e-12))
        if z > best.z:
            at = divmod(int(fit.argmax()), fit.shape[1])
            id = _read_id(torch.fft.irfft2(white, s=folded.shape), at) if z >= PRESENT else None
            best = Mark(z, id, scale, flipped)
    return best


def _whitened(spectrum: Tensor) -> Tensor:
    """Each frequency divided by the mean magnitude around it: images are far from white noise."""
    around = F.avg_pool2d(spectrum.abs()[None, None], 9, 1, 4, count_include_pad=False)[0, 0]
    return spectrum / around.clamp(min=1e-9)


def _folded(points: Tensor) -> Tensor:
    """The repetitions of the tile averaged: (h, w) -> (2 TILE, 2 TILE)."""
    side = 2 * TILE
    rows, columns = (-(-length // side) for length in points.shape)
    pad = (0, columns * side - points.shape[1], 0, rows * side - points.shape[0])
    there = F.pad(torch.ones_like(points), pad)
    total, count = (
        reduce(x, "(r h) (c w) -> h w", "sum", h=side, w=side)
        for x in (F.pad(points - points.mean(), pad), there)
    )
    return total / count.clamp(min=1).sqrt()


@lru_cache(maxsize=1)
def _sync() -> Tensor:
    """The spectrum of the cells that carry no bit, conjugated for correlation."""
    signs, bits = _pattern()
    return torch.fft.rfft2(_doubled(signs * (bits == BITS))).conj()


def _doubled(cells: Tensor) -> Tensor:
    return repeat(cells, "h w -> (h y) (w x)", y=2, x=2)


def _read_id(tile: Tensor, at: tuple[int, int]) -> int | None:
    """The id of a pattern whose origin is `at`; None if no checksum matches."""
    signs, bits = _pattern()
    here = tile.roll((-at[0], -at[1]), (0, 1))
    cells = rearrange(here, "(h y) (w x) -> h w (y x)", y=2, x=2).sum(-1) * signs
    sums = torch.zeros(BITS + 1).index_add_(0, bits.flatten(), cells.flatten())
    word = sum(1 << n for n in range(BITS) if sums[n] > 0)
    weakest = [1 << int(n) for n in sums[:BITS].abs().argsort()[:CORRECTED]]
    for flips in chain.from_iterable(combinations(weakest, n) for n in range(CORRECTED + 1)):
        found, check = divmod(word ^ sum(flips), 2**CHECK_BITS)
        if _checksum(found) == check:
            return found
    return None


def describe_mark(mark: Mark) -> str:
    """What was found, in words."""
    measure = f"{mark.z:.1f} standard deviations above chance; {PRESENT:g} are needed"
    if not mark.present:
        small = (
            "\nIn frames this small it cannot be found after strong compression (crf 28)."
            if mark.cells < FEW
            else ""
        )
        return f"No mark found. That does not mean that it was not made by AI.\n{measure}{small}"
    carried = (
        "its id cannot be read"
        if mark.id is None
        else f"id {mark.id:0{ID_BITS // 4}x}: the first digits of the SHA-256 of its workflow"
    )
    mirrored = ", mirrored" if mark.flipped else ""
    return (
        f"Longtake's mark is there. That proves nothing: anybody can forge or remove it.\n"
        f"{measure}\n{carried}{mirrored}"
    )
