"""What the camera does: cuts, pans and zooms, found by classical vision."""

import numpy as np
from scipy import ndimage

from ..world.paint import DEPTH, HORIZON

HALF_SECOND = 4  # frames


def find_cut(clip: np.ndarray, threshold: float = 0.1) -> int | None:
    """First frame of the second shot, or None.

    A cut changes sky or ground between two frames and for good; an object that falls apart
    changes neither median.
    """
    if len(clip) < 4:
        return None
    levels = clip.astype(np.float32) / 255
    horizon = round(clip.shape[1] * (0.5 + HORIZON))
    parts = (levels[:, : horizon // 2], levels[:, horizon + clip.shape[1] // 12 :])
    colour = np.concatenate([np.median(part, axis=(1, 2)) for part in parts], -1)  # (frames, 6)
    jumps = [
        np.abs(colour[t : t + 3].mean(0) - colour[max(0, t - 3) : t].mean(0)).max()
        for t in range(1, len(colour))
    ]
    at = int(np.argmax(jumps)) + 1
    sudden = np.abs(colour[min(at + 1, len(colour) - 1)] - colour[at - 1]).max()
    return at if sudden > threshold and jumps[at - 1] > threshold else None


def camera_of(levels: np.ndarray, things: np.ndarray, time: str) -> str:
    """The move that best takes each frame to the one half a second later.

    Every move that the camera may make is tried at several speeds, on pixels off the objects, with
    the ground in the renderer's own perspective.

    Args:
        levels: (frames, h, w, 3) in [0, 1]; things: (frames, h, w), true on objects.
        time: of day.
    """
    if len(levels) <= HALF_SECOND:
        return "static"
    grey = ndimage.gaussian_filter(levels.mean(-1), (0, 1, 1))[:, ::2, ::2]
    free = ~np.stack([with_rim(mask[::2, ::2]) for mask in things])
    x, y = half_grid(things.shape)
    # In the sky clouds pan but sun and stars do not; at night zooms show best in the stars.
    low = free & (y > HORIZON - 0.13)
    near = np.where(y > HORIZON, (y - HORIZON) / DEPTH, 0.55)
    regions = {"pan": low, "zoom": free if time == "night" else low}
    still = {name: motion_error(grey, region, x, y) for name, region in regions.items()}
    best, least = "static", 0.85
    for speed in (0.09, 0.15, 0.21):
        shift = speed * things.shape[2] / things.shape[1] * near / 2
        moves = [("pan right", x + shift, y), ("pan left", x - shift, y)]
        scale = np.exp(speed * 0.2 / 0.15 / 2)
        moves += [("zoom in", x / scale, y / scale), ("zoom out", x * scale, y * scale)]
        for name, u, v in moves:
            kind = name.split()[0]
            error = motion_error(grey, regions[kind], u, v) / still[kind]
            if error < least:
                best, least = name, error
    return best


def with_rim(mask: np.ndarray) -> np.ndarray:
    """The mask with a wide rim, because shadows and soft edges move with the object."""
    reach = 2 + 0.25 * np.sqrt(mask.sum() / np.pi)
    below = np.logical_or.accumulate(mask, 0)  # a shadow lies anywhere under its object
    return ndimage.distance_transform_edt(~below) < reach if mask.any() else mask


def half_grid(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """World coordinates of every other pixel in every other row."""
    _, height, width = shape
    x = (np.arange(0, width, 2) + 0.5 - width / 2) / height
    y = (np.arange(0, height, 2) + 0.5 - height / 2) / height
    return np.broadcast_to(x, (len(y), len(x))), np.broadcast_to(y[:, None], (len(y), len(x)))


def motion_error(grey: np.ndarray, free: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Mean square difference of frames and those half a second earlier, looked up at (x, y)."""
    _, height, width = grey.shape
    columns, rows = x * height + width / 2 - 0.25, y * height + height / 2 - 0.25
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    total = count = 0.0
    for now, then in zip(range(HALF_SECOND, len(grey), 2), range(0, len(grey), 2), strict=False):
        here = (rows[inside], columns[inside])
        nearest = tuple(np.rint(c).astype(int) for c in here)
        good = free[now][inside] & free[then][nearest]
        moved = ndimage.map_coordinates(grey[then], here, order=1)
        total += ((grey[now][inside] - moved)[good] ** 2).sum()
        count += good.sum()
    return total / max(count, 1) + 1e-7  # so that an empty region does not count as motion
