"""A camera's path over a picture: each frame is the part of it that the camera sees.

The picture hangs at the subject's distance. It is as large as the path needs, and the path lies in
its middle, so that no frame looks past its edges and as little as possible is cut off. With a depth
map, what is near stands out of it towards the camera, and moves the more.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from .camera import CameraPath, focal_of

MOST_CROP = 8.0  # times the first frame, which a picture may have to be larger
LAYERS = 32  # of depth at most, between which it is looked for where a ray meets a thing
BAND = 2**18  # pixels that are worked on at once
CLOSEST = 0.02  # picture widths, to which a camera may come near a thing


@dataclass(frozen=True)
class View:
    """How frames show a picture.

    Attributes:
        width, height: of a frame in pixels.
        focal: of the lens, in picture widths.
        parallax: how much faster than the background the nearest thing moves: 1 is twice as fast.
    """

    width: int
    height: int
    focal: float
    parallax: float = 1.0

    @classmethod
    def of_degrees(cls, width: int, height: int, degrees: float, parallax: float) -> "View":
        """degrees: that the lens takes in from left to right."""
        return cls(width, height, focal_of(degrees), parallax)

    def rays(self, rows: int | None = None, columns: int | None = None) -> Tensor:
        """(rows, columns, 2): x and y, in picture widths, of the middles of a frame's pixels.

        rows, columns: 2 of each: the four corners.
        """
        if rows is None or columns is None:
            y = (torch.arange(self.height) + 0.5) - self.height / 2
            x = (torch.arange(self.width) + 0.5) - self.width / 2
        else:
            y = torch.linspace(-0.5, 0.5, rows, dtype=torch.float64) * self.height
            x = torch.linspace(-0.5, 0.5, columns, dtype=torch.float64) * self.width
        grid = torch.meshgrid(y / self.width, x / self.width, indexing="ij")
        return torch.stack(grid[::-1], dim=-1)

    def lines(self, rays: Tensor, pose: Tensor, zoom: Tensor) -> tuple[Tensor, Tensor]:
        """What rays pass, from the background towards the camera, as the first camera sees it.

        Args:
            rays: as `rays` gives them.
            pose: (4, 4) of the camera.

        Returns:
            Two of (rows, columns, 2), in picture widths, a and b: at a distance of 1 / q of the
            background's a ray meets a + q·b. NaN for rays that point away from it.
        """
        ahead = torch.full_like(rays[..., :1], self.focal) * zoom
        directions = torch.cat((rays, ahead), dim=-1) @ pose[:3, :3].T
        deep = directions[..., 2:]
        slopes = directions[..., :2] / torch.where(deep > 1e-6, deep, torch.nan)
        return self.focal * slopes, pose[:2, 3] - pose[2, 3] * slopes

    def seen_at(self, rays: Tensor, pose: Tensor, zoom: Tensor, nearness: float) -> Tensor:
        """Where rays meet things of a nearness: (rows, columns, 2), see `lines`."""
        far, towards = self.lines(rays, pose, zoom)
        return far + (1 + self.parallax * nearness) * towards

    def distance(self, nearness: float) -> float:
        """Of things from the first camera: 0 is the background, 1 the nearest."""
        return self.focal / (1 + self.parallax * nearness)


@dataclass(frozen=True)
class Picture:
    """A picture that is moved over.

    Attributes:
        width, height: in pixels.
        crop: how many first frames wide it is.
        middle: x and y of its middle, in picture widths from that of the first frame.
    """

    width: int
    height: int
    crop: float
    middle: tuple[float, float] = (0.0, 0.0)

    def places(self, points: Tensor) -> Tensor:
        """Points in picture widths from the first frame's middle -> as grid_sample takes them."""
        sides = torch.tensor([self.crop, self.crop * self.height / self.width]).to(points)
        return (points - torch.tensor(self.middle).to(points)) * 2 / sides


def picture_for(
    path: CameraPath, view: View, size: tuple[int, int], times: list[float], deep: bool = False
) -> Picture:
    """How large a picture of `size` (width, height) hangs, so that no frame looks past its edges.

    Args:
        times: the seconds at which each frame is shown.
        deep: whether it has a depth map.

    Raises:
        InputError: for a path that no picture is large enough for.
    """
    poses, corners = path.poses(times, view.focal), view.rays(2, 2)
    low, high = torch.full((2,), torch.inf).double(), torch.full((2,), -torch.inf).double()
    for time, pose, zoom in zip(times, poses.c2w, poses.zoom, strict=True):
        for nearness in (0, 1) if deep else (0,):
            distance = view.distance(nearness)
            if pose[2, 3] > distance - CLOSEST:
                raise InputError(
                    f"at {time:.2f} s the camera runs into the picture: the way there is "
                    f"{distance:.2f}w long. Let it dolly in less, or zoom."
                )
            seen = view.seen_at(corners, pose, zoom, nearness).flatten(0, 1)
            low, high = torch.minimum(low, seen.amin(0)), torch.maximum(high, seen.amax(0))
        needed = _crop(low, high, size)
        if not needed <= MOST_CROP:
            raise InputError(
                f"at {time:.2f} s the camera looks past the edge of the picture: it would have to "
                f"be {f'{needed:.0f} times' if needed < 1e4 else 'endlessly'} as wide as a frame, "
                f"and at most {MOST_CROP:g} are allowed. Let it pan, truck or zoom out less."
            )
    return Picture(*size, _crop(low, high, size), tuple(((low + high) / 2).tolist()))


def _crop(low: Tensor, high: Tensor, size: tuple[int, int]) -> float:
    """How wide a picture of `size` is that holds all from x and y `low` to `high`."""
    wide, tall = (high - low).tolist()
    return max(wide, tall * size[0] / size[1])


def seen_by_camera(
    chunks: Iterable[Tensor],
    path: CameraPath,
    view: View,
    picture: Picture,
    times: list[float],
    nearness: Iterable[Tensor] | None = None,
    check: Callable[[], Any] = lambda: None,
) -> Iterator[Tensor]:
    """A frame stream as a moving camera sees it.

    Args:
        chunks: uint8 (f, h, w, 3).
        times: the seconds at which each frame is shown.
        nearness: (h, w) for each frame, 0 (background) to 1 (nearest); None for a flat picture.
        check: called for every part of a frame; an exception from it ends the work.

    Yields:
        Frames one by one, uint8 (1, view.height, view.width, 3).
    """
    poses, rays, number = path.poses(times, view.focal), view.rays().float(), count()
    bands = rays.split(max(1, BAND // view.width))
    maps = iter(nearness) if nearness is not None else None
    for chunk in chunks:
        for frame in chunk:
            n, pixels, rows = next(number), _pixels(frame, picture, view), []
            pose, near = (poses.c2w[n].float(), poses.zoom[n].float()), maps and next(maps)
            for band in bands:
                check()
                rows.append(_seen(pixels, _points(view, picture, band, pose, near), picture))
            yield torch.cat(rows, dim=1)


def _points(
    view: View,
    picture: Picture,
    rays: Tensor,
    pose: tuple[Tensor, Tensor],
    nearness: Tensor | None,
) -> Tensor:
    """What each pixel of a band shows, in picture widths from the middle: (rows, w, 2).

    With depth, the first layer that a ray meets, from the nearest to the background.
    """
    far, towards = view.lines(rays, *pose)
    if nearness is None:
        return far + towards
    reach = float(towards.abs().max()) * view.parallax * view.width  # pixels
    layers = min(max(2, round(reach)), LAYERS)
    before = found = far + (1 + view.parallax) * towards
    gap = _nearness_at(nearness, before, picture) - 1  # above 0 where a thing reaches the layer
    hit = gap >= 0
    for level in torch.linspace(1, 0, layers).tolist()[1:]:
        points = far + (1 + view.parallax * level) * towards
        over = _nearness_at(nearness, points, picture) - level
        part = (gap / (gap - over).clamp(max=-1e-9)).clamp(0, 1)[..., None]
        new = ~hit & (over >= 0)
        found = torch.where(new[..., None], before + part * (points - before), found)
        hit, before, gap = hit | new, points, over
    return torch.where(hit[..., None], found, before)


def _nearness_at(nearness: Tensor, points: Tensor, picture: Picture) -> Tensor:
    """(rows, w) of a map (h, w)."""
    grid = picture.places(points)[None]
    return F.grid_sample(
        nearness[None, None], grid, padding_mode="border", align_corners=False
    )[0, 0]  # fmt: skip


def _pixels(frame: Tensor, picture: Picture, view: View) -> Tensor:
    """(1, 3, h, w) of a frame (H, W, 3); made smaller first where it is far too large."""
    pixels = rearrange(frame, "h w c -> 1 c h w").float()
    shrink = picture.width / (picture.crop * view.width)
    if shrink <= 1.5:
        return pixels
    size = [max(1, round(side / shrink)) for side in pixels.shape[2:]]
    return F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)


def _seen(pixels: Tensor, points: Tensor, picture: Picture) -> Tensor:
    """(1, rows, w, 3) uint8 of the pixels at some points."""
    seen = F.grid_sample(
        pixels,
        picture.places(points)[None],
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return rearrange(seen, "1 c h w -> 1 h w c").round_().clamp_(0, 255).to(torch.uint8)


def still_frames(picture: Tensor, count: int) -> Iterator[Tensor]:
    """A picture (1, h, w, 3) uint8 as a frame stream of so many frames."""
    for _ in range(count):
        yield picture
