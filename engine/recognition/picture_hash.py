"""A perceptual hash of pictures: alike for a picture and what re-encoding or scaling made of it.

PDQ (Facebook, 2019, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm"):
the brightness of 64 × 64 pixels, the 16 × 16 lowest frequencies of its cosine transform without
those that are constant along an axis, and of each a bit, whether it is above their median. Unlike
PDQ's, the small picture is made by averaging areas. A crop moves every frequency, so a ledger holds
hashes of crops, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SIDE = 64  # pixels of the small picture
FREQUENCIES = 16
BITS = FREQUENCIES * FREQUENCIES
BYTES = BITS // 8
LARGEST = 256  # pixels of a shorter side, from which crops are taken
FLAT = 2.0  # grey levels of 255; what varies less has no hash
LUMA = (0.299, 0.587, 0.114)


class Crop(NamedTuple):
    """A part of a frame, in shares of its sides.

    Attributes:
        y, x: its upper left corner.
        side: how much of each side is left.
    """

    y: float
    x: float
    side: float


WHOLE = Crop(0.0, 0.0, 1.0)
CROPS = (
    WHOLE,
    *(Crop((1 - side) / 2, (1 - side) / 2, side) for side in (0.93, 0.86, 0.8, 0.73)),
    *(Crop(y, x, 0.9) for y in (0.0, 0.1) for x in (0.0, 0.1)),
)


@cache
def _cosines() -> Tensor:
    """The rows 1 … FREQUENCIES of the cosine transform of SIDE points: (FREQUENCIES, SIDE)."""
    k, n = torch.arange(1, FREQUENCIES + 1)[:, None], torch.arange(SIDE)
    return torch.cos(torch.pi / SIDE * (n + 0.5) * k)


def picture_hashes(frame: Tensor, crops: Sequence[Crop] = CROPS) -> NDArray[np.uint8]:
    """The hashes of a frame's crops.

    Args:
        frame: uint8 (h, w, 3).
        crops: which parts.

    Returns:
        (crops, BYTES), BITS bits each; zeros for one in which next to nothing is to be seen.
    """
    luma = frame.float() @ torch.tensor(LUMA)
    by = min(1.0, LARGEST / min(luma.shape))
    size = [max(1, round(side * by)) for side in luma.shape]
    small = F.interpolate(luma[None, None], size, mode="area")
    parts = torch.cat([F.interpolate(_cut(small, c), (SIDE, SIDE), mode="area") for c in crops])
    waves = _cosines() @ parts[:, 0] @ _cosines().T
    bits = rearrange(waves, "n y x -> n (y x)")
    bits = bits > bits.median(1, keepdim=True).values
    bits &= (parts.flatten(1).std(1) >= FLAT)[:, None]
    return np.packbits(bits.numpy(), axis=1)


def _cut(image: Tensor, crop: Crop) -> Tensor:
    height, width = image.shape[-2:]
    top, left = round(crop.y * height), round(crop.x * width)
    high, wide = max(1, round(crop.side * height)), max(1, round(crop.side * width))
    return image[..., top : top + high, left : left + wide]


def mirrored(hashes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The hashes of mirrored pictures: every other column of frequencies changes its sign.

    Args:
        hashes: (..., BYTES).
    """
    bits = np.unpackbits(hashes, axis=-1).reshape(*hashes.shape[:-1], FREQUENCIES, FREQUENCIES)
    bits[..., 0::2] ^= bits.any((-1, -2), keepdims=True)[..., 0:1]  # the frequencies 1, 3, 5, …
    return np.packbits(bits.reshape(*hashes.shape[:-1], BITS), axis=-1)


def hash_frames(
    chunks: Iterable[Tensor], wanted: Sequence[int], crops: Sequence[Crop] = CROPS
) -> Iterator[NDArray[np.uint8]]:
    """The hashes of some frames of a stream, one frame after the other.

    Args:
        chunks: uint8 (frames, h, w, 3).
        wanted: numbers of the frames, rising; one may be there more than once.

    Yields:
        (crops, BYTES) for each of those that the stream has.
    """
    at, number = 0, 0
    for chunk in chunks:
        while at < len(wanted) and wanted[at] < number + len(chunk):
            yield picture_hashes(chunk[wanted[at] - number], crops)
            at += 1
        number += len(chunk)
        if at == len(wanted):
            return
