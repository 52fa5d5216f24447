"""A slowly refreshed pool of rendered clips, and crops of them: what the VAE learns from.

Rendering a clip takes a good part of a training step, so each is used several times. Clip n depends
only on the pool's seed and n, and the pool holds the latest ones: a run that resumes renders them
again and is exactly where it was.
"""

from random import Random

import torch
from torch import Tensor

from ..world.captions import Mix, sample_scene
from ..world.render import render

FRAMES, SIDE = 17, 128  # of every clip
WORLD = Mix(post=0.08)


class ClipPool:
    """Clips as bytes; new ones replace the oldest.

    Args:
        seed: pools with different seeds share no clip.
        size: clips held, of 1.1 MB each.
        compiled: render with torch.compile, worth it for a hundred clips and more.
    """

    def __init__(self, seed: str, size: int, *, compiled: bool = False):
        self.seed, self.size, self.compiled = seed, size, compiled
        self.pixels = torch.empty(size, 3, FRAMES, SIDE, SIDE, dtype=torch.uint8)
        self.masks = torch.empty(size, FRAMES, SIDE, SIDE, dtype=torch.uint8)
        self.made = 0

    def advance(self, count: int) -> None:
        """Hold the last `size` of the first `count` clips; `count` must be at least `size`."""
        for n in range(max(self.made, count - self.size), count):
            rng = Random(f"{self.seed} clip {n}")
            generator = torch.Generator().manual_seed(rng.randrange(2**31))
            scene = sample_scene(rng, WORLD)
            size = {"height": SIDE, "width": SIDE}
            clip = render([scene], FRAMES, generator, **size, compiled=self.compiled)
            self.pixels[n % self.size] = as_bytes(clip.pixels[0] / 2 + 0.5)
            self.masks[n % self.size] = as_bytes(clip.masks[0])
        self.made = max(self.made, count)

    def crops(self, rng: Random, count: int, frames: int, side: int) -> tuple[Tensor, Tensor]:
        """Cut pieces out of random clips, three in four of them around an object.

        Returns:
            pixels (count, 3, frames, side, side) in [-1, 1], and masks (count, 1, frames, side,
            side) in [0, 1], where objects are.
        """
        pixels, masks = [], []
        for _ in range(count):
            i, t = rng.randrange(self.size), rng.randrange(FRAMES - frames + 1)
            y, x = corner(rng, self.masks[i, t + frames // 2], side)
            span = (slice(None), slice(t, t + frames), slice(y, y + side), slice(x, x + side))
            pixels.append(self.pixels[i][span])
            masks.append(self.masks[i][None][span])
        return torch.stack(pixels) / 127.5 - 1, torch.stack(masks) / 255


def as_bytes(values: Tensor) -> Tensor:
    """[0, 1] -> 0 to 255, rounded."""
    return (values * 255).round().to(torch.uint8)


def corner(rng: Random, mask: Tensor, side: int) -> tuple[int, int]:
    """Row and column of a crop's top left, around a random spot on an object.

    One time in four, or where there is none, it is anywhere. mask: (h, w) bytes.
    """
    height, width = mask.shape
    spots = (mask > 127).nonzero()
    if len(spots) == 0 or rng.random() < 0.25:
        return rng.randrange(height - side + 1), rng.randrange(width - side + 1)
    y, x = (int(v) - rng.randrange(side) for v in spots[rng.randrange(len(spots))])
    return min(max(y, 0), height - side), min(max(x, 0), width - side)
