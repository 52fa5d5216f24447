"""An invisible mark in the brightness of every frame, and its detector.

A spread-spectrum mark: faint cells, lighter or darker by a fixed random pattern, that survive
re-encoding, scaling and cropping because thousands of them say the same. Pattern and detector are
public, so that anybody can remove or forge it: it informs, and secures nothing.
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

from ...models.errors import InputError

TILE = 64  # cells after which the pattern repeats, both ways
CELLS = 90  # on the shorter side of a frame
SMALLEST = 4.0  # pixels of a cell; smaller ones do not outlast an encoder
SYNC = 0.5  # share of the cells that only say where the pattern lies
ID_BITS, CHECK_BITS = 24, 8
BITS = ID_BITS + CHECK_BITS
DOUBTED = 3  # bits that may have been misread, the faintest: more would make the checksum useless
STRENGTH = 1.4  # of 255 levels, on a surface of middling texture
BLOCK = 8  # pixels over which texture is measured
PRESENT = 8.0  # standard deviations of the correlation; unmarked clips stay below 6
PLAIN = 2 * PRESENT  # so clear that no other scale needs to be tried
SCALES = np.exp(np.arange(np.log(0.45), np.log(2.2), 0.008))  # of a cell, against its usual size
FINER = (0.996, 0.998, 1.002, 1.004)  # tried around the best of them
FRAMES = 64  # that the detector looks at
_SEED = 0x10_47_AE
_LUMA = (0.2126, 0.7152, 0.0722)


class Mark(NamedTuple):
    """What the detector found.

    z: standard deviations by which the pattern stands out of chance. id: the 24 bits that the mark
    carries, or None where they contradict their checksum. scale: of the pattern, 1 = not scaled.
    """

    z: float
    id: int | None
    scale: float
    flipped: bool

    @property
    def present(self) -> bool:
        return self.z >= PRESENT


class _Pattern(NamedTuple):
    """Of each cell of a tile (TILE, TILE): its sign, and its bit's number; BITS for sync."""

    signs: Tensor
    bits: Tensor


@lru_cache(maxsize=1)
def _pattern() -> _Pattern:
    random = np.random.default_rng(_SEED)  # PCG64: the same on every machine
    signs = random.integers(0, 2, (TILE, TILE)) * 2 - 1
    bits = random.integers(0, BITS, (TILE, TILE))
    bits[random.random((TILE, TILE)) < SYNC] = BITS
    return _Pattern(torch.from_numpy(signs).float(), torch.from_numpy(bits))


def embed_mark(chunks: Iterable[Tensor], id: int, strength: float = STRENGTH) -> Iterator[Tensor]:
    """A stage on a frame stream that marks its frames.

    Args:
        chunks: uint8 (frames, h, w, 3).
        id: what the mark carries, 24 bits.
        strength: levels of 255; somewhat more for small frames.
    """
    if not 0 <= id < 2**ID_BITS:
        raise InputError(f"the mark carries {ID_BITS} bits, and {id} does not fit in them.")
    plane = None
    for chunk in chunks:
        if plane is None:
            plane = strength * _more(*chunk.shape[1:3]) * _plane(id, *chunk.shape[1:3])
        yield torch.cat([_mark(frame, plane) for frame in chunk.split(1)])


def _plane(id: int, height: int, width: int) -> Tensor:
    """The pattern for frames of this size, (h, w), of about -1 … 1."""
    values = torch.cat((_bits_of(id), torch.ones(1)))
    signs, bits = _pattern()
    cell = cell_size(height, width)
    tile = signs * values[bits]
    rows, columns = (int(side / cell) + 3 for side in (height, width))
    cells = tile.repeat(-(-rows // TILE), -(-columns // TILE))[:rows, :columns]
    return _sampled(cells, height, width, 1 / cell)


def _more(height: int, width: int) -> float:
    """By how much the mark is stronger in frames that have room for few cells only; by twice
    as much it would show."""
    return min(1.45, cell_size(height, width) * CELLS / min(height, width))


def _sampled(image: Tensor, height: int, width: int, step: float) -> Tensor:
    """image (h, w) at `height` × `width` points that lie `step` of its pixels apart, the first
    half a step from its corner; linear in between."""
    y = (torch.arange(height) + 0.5) * (2 * step / image.shape[0]) - 1
    x = (torch.arange(width) + 0.5) * (2 * step / image.shape[1]) - 1
    at = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(image[None, None], at[None], align_corners=False)[0, 0]


def cell_size(height: int, width: int) -> float:
    """Pixels of a cell in frames that were not scaled since they were marked."""
    return max(SMALLEST, min(height, width) / CELLS)


def _mark(frame: Tensor, plane: Tensor) -> Tensor:
    """frame: uint8 (1, h, w, 3). More is added where texture hides it."""
    delta = plane * (0.6 + _texture(luma(frame)[0]) / 6).clamp_(0.6, 2.2)
    return (frame.float() + delta[None, :, :, None]).round_().clamp_(0, 255).to(torch.uint8)


def luma(frames: Tensor) -> Tensor:
    """uint8 (frames, h, w, 3) -> float (frames, h, w)."""
    return frames.float() @ torch.tensor(_LUMA)


def _texture(y: Tensor) -> Tensor:
    """The standard deviation within blocks, smooth between them: (h, w) -> (h, w)."""
    both = torch.stack((y, y * y))[None]
    mean, square = F.avg_pool2d(both, BLOCK, ceil_mode=True, count_include_pad=False)[0]
    spread = (square - mean * mean).clamp_(min=0).sqrt_()
    return F.interpolate(spread[None, None], y.shape, mode="bilinear", align_corners=False)[0, 0]


def _bits_of(id: int) -> Tensor:
    """The id and its checksum as -1 and 1: (BITS,)."""
    word = id << CHECK_BITS | _checksum(id)
    return torch.tensor([1.0 if word >> n & 1 else -1.0 for n in range(BITS)])


def _checksum(id: int) -> int:
    """CRC-8 of the id's three bytes; it starts with ones, so that a mark of noughts has one."""
    crc = 0xFF
    for byte in id.to_bytes(ID_BITS // 8, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def find_mark(chunks: Iterable[Tensor], step: Callable[[], None] = lambda: None) -> Mark:
    """Look for the mark in a frame stream.

    Args:
        chunks: uint8 (frames, h, w, 3), all of one size. FRAMES of them are enough.
        step: called for each of the SCALES that is tried.
    """
    residue, frames = torch.zeros(()), 0
    for chunk in chunks:
        for y in luma(chunk):
            residue = residue + _residue(y)
            frames += 1
    if not frames:
        raise InputError("there are no frames to look for a mark in.")
    shrunk = _at_detail(residue / frames)
    blurred = {size: _blurred(shrunk, size) for size in (1, 3, 5)}
    found = []
    for scale in sorted(SCALES, key=lambda scale: abs(np.log(scale))):
        step()
        found.append(_at_scale(blurred, float(scale)))
        if found[-1].z > PLAIN:
            break
    best = sorted(found, key=_strength)[-3:]
    found += [_at_scale(blurred, mark.scale * finer) for mark in best for finer in FINER]
    return max(found, key=_strength)


def _at_detail(residue: Tensor) -> Tensor:
    """The residue at a size at which an unscaled cell has SMALLEST pixels."""
    cell = cell_size(*residue.shape)
    size = [round(side * SMALLEST / cell) for side in residue.shape]
    return F.interpolate(residue[None, None], size, mode="bilinear", antialias=True)[0, 0]


def _strength(mark: Mark) -> float:
    return mark.z


def _residue(y: Tensor) -> Tensor:
    """What is finer than the picture's shapes, evened out: (h, w) -> (h, w), about -1 … 1."""
    size = 2 * round(cell_size(*y.shape)) + 1
    fine = y - _blurred(y, size)
    return fine / (_blurred(fine * fine, size).sqrt_() + 1.0)


def _blurred(image: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(image[None, None], size, 1, size // 2, count_include_pad=False)[0, 0]


def _at_scale(blurred: dict[int, Tensor], scale: float) -> Mark:
    """The best fit of the pattern with cells of this size, wherever it lies, mirrored or not."""
    step = SMALLEST * scale / 2  # two points for each cell, so that one of them is near its middle
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
            id = _read(torch.fft.irfft2(white, s=folded.shape), at) if z >= PRESENT else None
            best = Mark(z, id, scale, flipped)
    return best


def _whitened(spectrum: Tensor) -> Tensor:
    """Each frequency divided by how strong its neighbourhood is: pictures are far from white."""
    around = F.avg_pool2d(spectrum.abs()[None, None], 9, 1, 4, count_include_pad=False)[0, 0]
    return spectrum / around.clamp(min=1e-9)


def _folded(points: Tensor) -> Tensor:
    """Repetitions of the tile laid upon each other: (h, w) -> (2 TILE, 2 TILE)."""
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
    """The cells that are known, transformed for correlation."""
    signs, bits = _pattern()
    return torch.fft.rfft2(_doubled(signs * (bits == BITS))).conj()


def _doubled(cells: Tensor) -> Tensor:
    return repeat(cells, "h w -> (h y) (w x)", y=2, x=2)


def _read(tile: Tensor, at: tuple[int, int]) -> int | None:
    """The id of a pattern that lies at `at`; None if its checksum contradicts it."""
    signs, bits = _pattern()
    here = tile.roll((-at[0], -at[1]), (0, 1))
    cells = rearrange(here, "(h y) (w x) -> h w (y x)", y=2, x=2).sum(-1) * signs
    sums = torch.zeros(BITS + 1).index_add_(0, bits.flatten(), cells.flatten())
    word = sum(1 << n for n in range(BITS) if sums[n] > 0)
    weakest = [1 << int(n) for n in sums[:BITS].abs().argsort()[:DOUBTED]]
    for doubted in chain.from_iterable(combinations(weakest, n) for n in range(DOUBTED + 1)):
        found, check = divmod(word ^ sum(doubted), 2**CHECK_BITS)
        if _checksum(found) == check:
            return found
    return None


def describe_mark(mark: Mark) -> str:
    """What was found, for people."""
    sure = f"{mark.z:.1f} standard deviations above chance; {PRESENT:g} are needed"
    if not mark.present:
        return f"No mark found ({sure}). That does not mean that no AI made it."
    carried = (
        "its id cannot be read"
        if mark.id is None
        else f"id {mark.id:0{ID_BITS // 4}x}: the first digits of the SHA-256 of its workflow"
    )
    mirrored = ", mirrored" if mark.flipped else ""
    return (
        f"Longtake's mark is there ({sure}), {carried}{mirrored}. It informs, and proves nothing: "
        f"anybody can forge or remove it."
    )
