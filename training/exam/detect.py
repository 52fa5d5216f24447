"""Classical computer vision that says what a clip of the little world shows.

No learning: the palettes and silhouettes the renderer uses, colour distances, connected
components, least squares. Clips are uint8 (frames, h, w, 3). Each detector makes mistakes of its
own; `training.exam.evaluate` measures them on rendered clips and prints them beside every score.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from ..world.captions import COLOURS, GROUNDS, SHAPES, TIMES
from ..world.render import palette, silhouettes
from .camera import camera_of

ANGLES = 72  # directions of a silhouette's support function
SOLID = 0.84  # least share of its convex hull that one object fills


@dataclass(frozen=True)
class Trajectory:
    """One object through a clip; arrays are (frames, ...), NaN where it is not seen.

    Attributes:
        colour: one of COLOURS. share: of the picture that it typically covers.
        x, y: the middle of what is seen, in picture widths and heights.
        radius: half the silhouette's mean width over all directions, in picture heights.
        whole: whether the picture's edge does not cut it off.
        outline: (frames, ANGLES) the silhouette, free of place and size.
        band: direction of the white band in radians, modulo pi.
    """

    colour: str
    share: float
    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    whole: np.ndarray
    outline: np.ndarray
    band: np.ndarray


@dataclass(frozen=True)
class Reading:
    """What a clip, or one shot of it, shows.

    Attributes:
        ground, time, camera: words of the captions.
        tracks: of its objects, two at most, the largest first.
        lumps: share of frames that show exactly one coherent lump of one colour.
    """

    ground: str
    time: str
    tracks: tuple[Trajectory, ...]
    lumps: float
    camera: str


def read(clip: np.ndarray) -> Reading:
    """Everything about a clip of one shot."""
    levels = clip.astype(np.float32) / 255
    time = _time(levels)
    ground = _ground(levels, time)
    labels = _labels(levels, ground, time)
    tracks = _tracks(levels, labels)
    return Reading(ground, time, tracks, _one_lump(labels), camera_of(levels, labels >= 0, time))


def labels_of(levels: np.ndarray) -> np.ndarray:
    """levels: (frames, h, w, 3) in [0, 1] -> (frames, h, w), the index of the object colour a
    pixel shows, -1 for everything else."""
    time = _time(levels)
    return _labels(levels, _ground(levels, time), time)


def motion_of(track: Trajectory, fps: float = 8) -> str:
    """One of nine; meant for cameras at rest."""
    seen = np.isfinite(track.x)
    good = seen & track.whole if (seen & track.whole).sum() >= 5 else seen
    if good.sum() < 3:
        return "still"
    seconds = np.flatnonzero(good) / fps
    across, _ = _slope(seconds, track.x[good])
    down, swing = _slope(seconds, track.y[good])
    swell, _ = _slope(seconds, np.log(np.maximum(track.radius[good], 1e-3)))
    scores = {
        "left": -across / 0.25,
        "right": across / 0.25,
        "rises": -down / 0.21,
        "falls": down / 0.21,
        "bounces": swing / 0.075,
        "grows": swell / 0.32,
        "shrinks": -swell / 0.32,
    }
    best = max(scores, key=scores.get)
    if scores[best] > 0.45:
        return best
    return "spins" if _turning(track.band, fps) > 0.45 * np.pi else "still"


def shape_of(track: Trajectory, spinning: bool = False) -> str:
    """The silhouette that fits best; upright unless `spinning`, when every turn is tried."""
    good = track.whole & np.isfinite(track.x)
    good = good if good.any() else np.isfinite(track.x)
    if not good.any():
        return SHAPES[0]
    outlines = track.outline[good]
    if not spinning:
        outlines = np.median(outlines, axis=0, keepdims=True)
    fits = []
    for templates in _templates():
        turns = range(ANGLES) if spinning else range(-2, 3)
        turned = np.stack([np.roll(template, k) for template in templates for k in turns])
        fits.append(np.median(((outlines[:, None] - turned) ** 2).mean(-1).min(1)))
    return SHAPES[int(np.argmin(fits))]


def _time(levels: np.ndarray) -> str:
    top = np.median(levels[:, : levels.shape[1] // 4 : 2, ::2], axis=(0, 1, 2))
    gaps = [np.abs(top - (0.6 * p["sky_top"] + 0.4 * p["sky_low"])).sum() for p in _by_time()]
    return TIMES[int(np.argmin(gaps))]


def _ground(levels: np.ndarray, time: str) -> str:
    """The ground colour that most pixels below the horizon are nearest to."""
    below = levels[:, round(levels.shape[1] * 0.66) :: 2, ::2].reshape(-1, 3)
    colours = palette(time)["grounds"]
    near = np.linalg.norm(below[:, None] - colours, axis=-1)
    votes = np.bincount(near.argmin(1)[near.min(1) < 0.2], minlength=len(GROUNDS))
    return GROUNDS[int(votes.argmax())]


@cache
def _by_time() -> list[dict[str, np.ndarray]]:
    return [palette(time) for time in TIMES]


def _ray(pixels: np.ndarray, colour: np.ndarray, low: float, high: float) -> np.ndarray:
    """Distance of pixels (..., 3) to the colour under light between `low` and `high`."""
    light = np.clip(pixels @ colour / (colour @ colour), low, high)
    return np.linalg.norm(pixels - light[..., None] * colour, axis=-1)


def _segment(pixels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of pixels (..., 3) to the mixtures of a and b."""
    share = np.clip((pixels - a) @ (b - a) / max((b - a) @ (b - a), 1e-9), 0, 1)
    return np.linalg.norm(pixels - a - share[..., None] * (b - a), axis=-1)


def _labels(levels: np.ndarray, ground: str, time: str) -> np.ndarray:
    """(frames, h, w) index of the object colour a pixel shows, -1 for everything else."""
    p = {name: colour.astype(np.float32) for name, colour in palette(time).items()}
    p["ground"] = p["grounds"][GROUNDS.index(ground)]
    present = _present(levels[:, ::2, ::2], p)
    if not present:
        return np.full(levels.shape[:3], -1)
    gaps = np.stack([_faded(levels, p["things"][i]) for i in present])
    clear = _stands_out(levels, gaps.min(0), p, 0.25, 0.02)
    clear = ndimage.binary_opening(clear, ndimage.generate_binary_structure(2, 1)[None])
    return np.where(clear, np.array(present)[gaps.argmin(0)], -1)


def _present(levels: np.ndarray, p: dict[str, np.ndarray]) -> list[int]:
    """The one or two object colours that are in the clip for certain, by pixels of full colour.

    Where red meets white there is pink: a second colour counts only away from the first.
    """
    things = np.stack([_ray(levels, c, 0.55, 1.3) for c in p["things"]])
    label, gap = things.argmin(0), things.min(0)
    label = np.where(_stands_out(levels, gap, p, 0.15, 0.04), label, -1)
    areas = np.bincount(label[label >= 0], minlength=len(COLOURS)) / len(label)
    first = int(areas.argmax())
    if areas[first] < 8:
        return []
    rim = ndimage.generate_binary_structure(2, 2)
    apart = [ndimage.binary_dilation(_closed(f == first), rim, 2) for f in label]
    others = label[~np.stack(apart) & (label >= 0)]
    areas = np.bincount(others, minlength=len(COLOURS)) / len(label)
    second = int(areas.argmax())
    return [first, second] if areas[second] > 10 and second != first else [first]


def _faded(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Distance to the colour in light and shade, or on the way to white."""
    return np.minimum(_ray(pixels, colour, 0.5, 1.3), _segment(pixels, colour, (colour + 1) / 2))


def _stands_out(
    levels: np.ndarray, gap: np.ndarray, p: dict[str, np.ndarray], most: float, margin: float
) -> np.ndarray:
    """Where the distance to an object's colour is small, and to everything else's larger."""
    near = gap < most
    pixels, ground = levels[near], p["ground"]
    others = [_ray(pixels, ground, 0.45, 1.2), _segment(pixels, p["sky_top"], p["sky_low"])]
    others += [_segment(pixels, p["sky_low"], p[k]) for k in ("hill", "cloud", "sun")]
    others += [_segment(pixels, ground, end) for end in (p["hill"], 0.25 + 0.9 * ground)]
    near[near] = gap[near] + margin < np.minimum.reduce(others)
    return near


def _closed(mask: np.ndarray) -> np.ndarray:
    """The mask with the white band filled: closing by a disc that grows with the object."""
    box = ndimage.find_objects(mask.view(np.uint8))
    if not box:
        return mask
    reach = 2 + round(0.34 * np.sqrt(mask.sum() / np.pi))
    padded = np.pad(mask[box[0]], reach + 1)
    away = ndimage.distance_transform_edt(~padded) > reach
    closed = np.zeros_like(mask)
    inner = slice(reach + 1, -reach - 1)
    closed[box[0]] = (ndimage.distance_transform_edt(~away) > reach)[inner, inner]
    return closed


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])


def _one_lump(labels: np.ndarray) -> float:
    """Share of frames in which one lump of one colour holds nearly all there is and bulges
    nowhere inward, as no shape of this world does."""
    if len(np.unique(labels[labels >= 0])) != 1:
        return 0.0
    good = 0
    for mask in labels >= 0:
        if mask.sum() <= 40:
            continue
        whole = _largest(_closed(mask))
        together = (whole & mask).sum() > 0.88 * mask.sum()
        good += bool(together and whole.sum() > SOLID * _hull_area(whole))
    return good / len(labels)


def _hull_area(mask: np.ndarray) -> float:
    """Area of the mask's convex hull, in pixels."""
    rows, columns = np.nonzero(mask)
    middles = np.stack([columns, rows], 1)
    x, y = middles[(middles @ _directions()).argmax(0)].T  # corners, in order
    around = np.hypot(x - np.roll(x, 1), y - np.roll(y, 1)).sum()
    inner = 0.5 * abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum())
    return inner + around / 2 + 1  # half a pixel of rim all round


def _tracks(levels: np.ndarray, labels: np.ndarray) -> tuple[Trajectory, ...]:
    """A track for every colour that is there for most of the clip, largest first, two at most."""
    areas = np.stack([(labels == i).sum((1, 2)) for i in range(len(COLOURS))])
    typical = np.sort(areas, 1)[:, len(labels) // 3 :].mean(1) / labels[0].size
    order = np.argsort(-typical)[:2]
    return tuple(
        _track(levels, labels == i, COLOURS[i], float(typical[i]))
        for i in order
        if typical[i] > 4e-3
    )


def _track(levels: np.ndarray, masks: np.ndarray, colour: str, share: float) -> Trajectory:
    frames, height, width = masks.shape
    place = np.full((4, frames), np.nan)
    outline = np.full((frames, ANGLES), np.nan)
    whole = np.zeros(frames, bool)
    for t, mask in enumerate(masks):
        if mask.sum() < 30:
            continue
        piece = _largest(_closed(mask))
        x, y, radius, outline[t] = _support(piece)
        place[:3, t] = x / width, y / height, radius / height
        place[3, t] = _band(levels[t], piece, x, y, radius)
        edges = (piece[0], piece[-1], piece[:, 0], piece[:, -1])
        whole[t] = not any(edge.any() for edge in edges)
    return Trajectory(colour, share, *place[:3], whole, outline, place[3])


def _directions() -> np.ndarray:
    theta = np.arange(ANGLES) * 2 * np.pi / ANGLES
    return np.stack([np.cos(theta), np.sin(theta)])


def _support(mask: np.ndarray):
    """x, y, radius in pixels and the outline of the mask's convex hull.

    The support function's mean is the radius, its first harmonic the middle (the Steiner point);
    without both what is left is the shape, and turning it is rolling it.
    """
    rows, columns = np.nonzero(mask)
    reach = (np.stack([columns, rows], 1) @ _directions()).max(0) + 0.5
    radius = reach.mean()
    middle = 2 * (_directions() * reach).mean(1)
    radius = max(radius, 1.0)
    outline = (reach - middle @ _directions()) / radius - 1
    return middle[0] + 0.5, middle[1] + 0.5, radius, outline


@cache
def _templates() -> list[list[np.ndarray]]:
    """For each shape, outlines of the renderer's own silhouette, upright: sharp, and blurred as
    small autoencoders blur."""
    blurs = {"ball": (0,), "cube": (3,), "cone": (0, 5, 9)}  # pixels; the radius is about 45
    return [
        [_support(ndimage.gaussian_filter(mask.astype(float), b) > 0.5)[3] for b in blurs[shape]]
        for shape, mask in zip(SHAPES, silhouettes(), strict=True)
    ]


def _band(levels: np.ndarray, piece: np.ndarray, x: float, y: float, radius: float) -> float:
    """Direction of the white band inside the object, modulo pi; NaN where none is clear."""
    rows, columns = np.nonzero(piece)
    u, v = columns + 0.5 - x, rows + 0.5 - y
    inner = np.hypot(u, v) < 0.8 * radius
    if inner.sum() < 12:
        return np.nan
    pale = levels[rows, columns].min(-1)[inner]  # white is the only thing without a dark channel
    weight = np.clip((pale - np.median(pale)) / max(np.ptp(pale), 1e-3) - 0.25, 0, None)
    if np.ptp(pale) < 0.15 or weight.sum() < 1:
        return np.nan
    u, v = (a[inner] - (a[inner] * weight).sum() / weight.sum() for a in (u, v))
    xx, yy, xy = ((weight * a * b).sum() for a, b in ((u, u), (v, v), (u, v)))
    return 0.5 * np.arctan2(2 * xy, xx - yy)


def _slope(seconds: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Least-squares slope, and the spread of what it leaves over."""
    centred = seconds - seconds.mean()
    slope = float((centred * values).sum() / max((centred**2).sum(), 1e-9))
    return slope, float(np.std(values - values.mean() - slope * centred))


def _turning(band: np.ndarray, fps: float) -> float:
    """Speed in radians a second at which the band turns, either way, 0 where it is not seen."""
    seen = np.isfinite(band)
    both = seen[1:] & seen[:-1]
    if both.sum() < 4:
        return 0.0
    steps = np.diff(band)[both]
    steps = (steps + np.pi / 2) % np.pi - np.pi / 2
    return float(abs(np.median(steps)) * fps)
