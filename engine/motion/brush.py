"""Strokes of a motion brush -> tracks: where points of a picture are in each frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ...models.errors import InputError
from ..written import WrittenError
from .timed_lines import When

DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}


@dataclass(frozen=True)
class Stroke:
    """How a point or a region moves.

    Attributes:
        span: when.
        mask: number of the region that it moves, from 1; None for a single point.
        start: (x, y) of the point, in parts of the picture's width and height.
        arrow: (x, y) by which it moves, in picture widths, in all or a second; (0, 0) is still.
        per_second: whether the arrow is a speed.
        path: places it goes through, in parts of width and height; a region goes as far from where
            it is as they lie from the first of them.
    """

    span: When
    mask: int | None = None
    start: tuple[float, float] | None = None
    arrow: tuple[float, float] = (0.0, 0.0)
    per_second: bool = False
    path: tuple[tuple[float, float], ...] = ()

    def moved(self, time: float, seconds: Fraction, size: tuple[int, int]) -> Tensor:
        """(2,): x and y in pixels by which it has moved at a time, of a picture (width, height)."""
        done = self.span.progress(time, seconds)
        if not self.path:
            times = float(self.span.seconds(seconds)) if self.per_second else 1.0
            return torch.tensor(self.arrow, dtype=torch.float64) * times * done * size[0]
        places = torch.tensor(self.path, dtype=torch.float64) * torch.tensor(size)
        lengths = places.diff(dim=0).norm(dim=1)
        gone, way = done * float(lengths.sum()), torch.zeros(2, dtype=torch.float64)
        for step, length in zip(places.diff(dim=0), lengths.tolist(), strict=True):
            way = way + step * min(1.0, gone / max(length, 1e-9))
            gone = max(0.0, gone - length)
        return way


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where points are in each frame.

    Attributes:
        path: (frames, points, 2) float32, x and y in pixels.
        visible: (frames, points) bool: whether each is within the picture.
    """

    path: Tensor
    visible: Tensor

    def followed_by(self, other: "Tracks") -> "Tracks":
        """With further points. Raises InputError if those are of another number of frames."""
        if len(self.path) != len(other.path):
            raise InputError(
                f"the tracks that are connected have {len(other.path)} frames and the video "
                f"{len(self.path)}: make them for a video of this length."
            )
        path = torch.cat((self.path, other.path.to(self.path)), 1)
        return Tracks(path, torch.cat((self.visible, other.visible), 1))


def tracks_of(
    strokes: Sequence[Stroke],
    masks: Tensor | None,
    times: Sequence[float],
    seconds: Fraction,
    size: tuple[int, int],
    points: int,
    seed: int,
) -> Tracks:
    """The tracks of all strokes: of a point one, of a region `points`, drawn from it by a seed.

    Args:
        masks: (n, h, w), of any size and the picture's shape; strokes of one region add up.
        times: the seconds of each frame.
        size: (width, height) of the picture in pixels.

    Raises:
        InputError: for strokes beyond the end, out of the picture, or of regions not there.
    """
    for stroke in strokes:
        stroke.span.check_within(seconds)
    regions: dict[int, list[Stroke]] = {}
    paths = []
    for stroke in strokes:
        if stroke.mask is None:
            begin = torch.tensor([stroke.start], dtype=torch.float64) * torch.tensor(size)
            paths.append(_path([stroke], begin, times, seconds, size))
        else:
            regions.setdefault(stroke.mask, []).append(stroke)
    for number, own in regions.items():
        mask = _region(masks, number, own[0], size)
        begin = drawn_points(mask, points, seed + number, size)
        paths.append(_path(own, begin, times, seconds, size))
    path = torch.cat(paths, 1) if paths else torch.zeros(len(times), 0, 2)
    return Tracks(path, within(path, size))


def within(path: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether places (…, 2) in pixels are within a picture (width, height)."""
    return ((path >= 0) & (path < torch.tensor(size))).all(-1)


def drawn_points(mask: Tensor, points: int, seed: int, size: tuple[int, int]) -> Tensor:
    """(n, 2): x and y in pixels of up to `points` places, spread over a region by a seed."""
    rows, columns = (mask > 0.5).nonzero(as_tuple=True)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:points]
    places = torch.stack((columns[order] + 0.5, rows[order] + 0.5), -1).double()
    return places * torch.tensor([size[0] / mask.shape[1], size[1] / mask.shape[0]])


def _path(
    strokes: Sequence[Stroke],
    begin: Tensor,
    times: Sequence[float],
    seconds: Fraction,
    size: tuple[int, int],
) -> Tensor:
    """(frames, points, 2) of points that strokes move together."""
    way = torch.stack([sum(s.moved(time, seconds, size) for s in strokes) for time in times])
    path = (begin + way[:, None]).float()
    gone = (~within(path, size)).all(1).nonzero().flatten()
    if len(gone):
        raise WrittenError(
            strokes[0].span.where,
            f"it leaves the picture at {times[int(gone[0])]:.2f} s: let it go less far, or end "
            f"sooner.",
        )
    return path


def _region(masks: Tensor | None, number: int, stroke: Stroke, size: tuple[int, int]) -> Tensor:
    where, count = stroke.span.where, 0 if masks is None else len(masks)
    if number > count:
        there = f"{count} are connected" if count else "none is connected"
        raise WrittenError(where, f"there is no mask {number}: {there} to 'masks'.")
    high, wide = masks.shape[1:]
    if abs(wide * size[1] / (high * size[0]) - 1) > 0.02:
        raise WrittenError(
            where,
            f"mask {number} is {wide}×{high}, of another shape than the picture, {size[0]}×"
            f"{size[1]}: paint it on this picture.",
        )
    if not (masks[number - 1] > 0.5).any():
        raise WrittenError(where, f"mask {number} is empty: paint what shall move.")
    return masks[number - 1]
