"""How a clip goes on, by classical vision: what stays the same, and what moves together."""

import numpy as np
from scipy import ndimage

from ..world.captions import Shot, Thing
from ..world.paint import DEPTH, HORIZON
from ..world.render import PAN
from .camera import half_grid, motion_error, with_rim
from .detect import Reading, Trajectory, labels_of, motion_of, read, shape_of

ALIKE = 1.25  # sizes up to this ratio are the same


def track_of(reading: Reading, colour: str) -> Trajectory | None:
    return next((track for track in reading.tracks if track.colour == colour), None)


def radius_of(track: Trajectory | None) -> float:
    """Median radius where it is wholly seen; NaN where it never is."""
    if track is None:
        return np.nan
    good = track.whole & np.isfinite(track.radius)
    good = good if good.any() else np.isfinite(track.radius)
    return float(np.median(track.radius[good])) if good.any() else np.nan


def kept(thing: Thing, now: np.ndarray, truth: np.ndarray) -> dict[str, bool]:
    """Colour, shape and size of an object in frames `now`, against the rendered frames."""
    seen, meant = read(now), read(truth)
    track = track_of(seen, thing.colour)
    ratio = radius_of(track) / radius_of(track_of(meant, thing.colour))
    main = seen.tracks[:1] and seen.tracks[0].colour == thing.colour
    return {
        "colour": bool(main) or (track is not None and len(meant.tracks) > 1),
        "shape": track is not None and shape_of(track, thing.motion == "spins") == thing.shape,
        "size": bool(1 / ALIKE < ratio < ALIKE),
    }


def where(thing: Thing, now: np.ndarray, truth: np.ndarray) -> bool:
    """Whether the object is where it should be, within an eighth of the picture's width."""
    places = [track_of(read(clip), thing.colour) for clip in (now, truth)]
    if None in places:
        return False
    here, meant = (np.nanmean(track.x) for track in places)
    return bool(abs(here - meant) < 0.125)


def place_kept(now: np.ndarray, truth: np.ndarray) -> bool:
    """Ground and time of day."""
    seen, meant = read(now), read(truth)
    return (seen.ground, seen.time) == (meant.ground, meant.time)


def moves(thing: Thing, clip: np.ndarray) -> bool:
    """Whether the object does what its prompt says."""
    track = track_of(read(clip), thing.colour)
    return track is not None and motion_of(track) == thing.motion


def unseen(thing: Thing, clip: np.ndarray, frames: np.ndarray) -> bool:
    """Whether the object is out of sight in all of these frames but one. frames: (frames,) bool."""
    track = track_of(read(clip), thing.colour)
    return track is None or np.isfinite(track.x[frames]).sum() <= 1


def period_of(track: Trajectory | None, fps: float = 8) -> float:
    """Seconds after which the height repeats, from its autocorrelation; 0 without a swing."""
    if track is None or np.isfinite(track.y).mean() < 0.7:
        return 0.0
    seconds, good = np.arange(len(track.y)), np.isfinite(track.y)
    y = np.interp(seconds, seconds[good], track.y[good])
    y = y - ndimage.uniform_filter1d(y, 17)
    if np.std(y) < 0.02:
        return 0.0
    lags = np.arange(3, 14)
    likeness = np.array([np.corrcoef(y[lag:], y[:-lag])[0, 1] for lag in lags])
    best = int(np.argmax(likeness))
    if likeness[best] < 0.3:
        return 0.0
    if not 0 < best < len(lags) - 1:
        return lags[best] / fps
    a, b, c = likeness[best - 1 : best + 2]
    return float(lags[best] + 0.5 * (a - c) / (a - 2 * b + c)) / fps


LAYERS = {  # rows in picture heights, and how fast they pass under a pan at speed 1
    "near ground": ((HORIZON + 0.6 * DEPTH, 0.5), None),
    "far ground": ((HORIZON + 0.25 * DEPTH, HORIZON + 0.6 * DEPTH), None),
    "hills": ((HORIZON - 0.14, HORIZON - 0.02), 0.55),
}


def pans(clip: np.ndarray) -> dict[str, float]:
    """The camera's speed as each layer of the landscape shows it by itself.

    In picture widths a second, positive to the right; NaN where nothing in the layer moves. If the
    parallax is right, all are one number.
    """
    levels = clip.astype(np.float32) / 255
    labels = labels_of(levels)
    grey = ndimage.gaussian_filter(levels.mean(-1), (0, 1, 1))[:, ::2, ::2]
    free = ~np.stack([with_rim(mask[::2, ::2]) for mask in labels >= 0])
    x, y = half_grid(labels.shape)
    speed_of = {}
    for name, ((top, bottom), pace) in LAYERS.items():
        region = free & (y > top) & (y < bottom)
        near = np.maximum((y - HORIZON) / DEPTH, 0.08) if pace is None else pace
        speeds = np.linspace(-0.3, 0.3, 25)
        misfits = np.array(
            [motion_error(grey, region, x + speed * near / 2, y) for speed in speeds]
        )
        best = int(np.argmin(misfits))
        speed_of[name] = speeds[best] if misfits[best] < 0.7 * misfits[12] else np.nan
    return speed_of


def parallax(shot: Shot, depth: float, clip: np.ndarray) -> dict[str, bool]:
    """Whether every layer, and the object at its depth, shows the pan that was asked for.

    Hills are asked only by day: at sunset the sun stands among them, at night they are dark.
    """
    thing, way = shot.things[0], PAN if shot.camera == "pan right" else -PAN
    speed_of = pans(clip)
    if shot.time != "day":
        speed_of.pop("hills")
    verdicts = {name: abs(v - way) <= 0.05 for name, v in speed_of.items()}
    track = track_of(read(clip), thing.colour)
    seen = np.isfinite(track.x) & track.whole if track else np.zeros(1, bool)
    slope = np.polyfit(np.flatnonzero(seen) / 8, track.x[seen], 1)[0] if seen.sum() > 4 else 0.0
    verdicts["object"] = bool(0.65 < -slope / (way * depth) < 1.35)
    return {f"{name} pans as the renderer's": bool(ok) for name, ok in verdicts.items()}


def shadows(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where along the picture the shadow lies in each frame, in widths, and how dark it is.

    Darkness is against the same place when it is light, so the camera has to be at rest and
    something has to happen; x is NaN where no shadow is seen.
    """
    levels = clip.astype(np.float32) / 255
    things = labels_of(levels) >= 0
    things[0] &= ~things.all(0)  # a place that is never seen has no light
    top = round(clip.shape[1] * (0.5 + HORIZON + 0.04))
    grey = ndimage.gaussian_filter(levels.mean(-1), (0.5, 2, 2))[:, top:]
    hidden = ndimage.binary_dilation(things, np.ones((1, 9, 9), bool))[:, top:]
    light = np.nanpercentile(np.where(hidden, np.nan, grey), 90, axis=0)
    dark = np.nan_to_num(np.clip(1 - grey / light - 0.05, 0, None)) * ~hidden
    across = (np.arange(clip.shape[2]) + 0.5) / clip.shape[2]
    weight = ndimage.gaussian_filter1d(dark.sum(1), clip.shape[2] / 16, axis=1)
    peak = across[weight.argmax(1)][:, None]
    weight *= np.abs(across - peak) < 0.2  # of what flickers elsewhere nothing counts
    whole = weight.sum(1)
    return np.where(whole > 1.0, weight @ across / np.maximum(whole, 1e-6), np.nan), whole


def shadow_agrees(thing: Thing, clip: np.ndarray) -> bool:
    """Whether the shadow goes along sideways, or stays below what rises and falls and grows
    darker as that comes near."""
    track = track_of(read(clip), thing.colour)
    if track is None:
        return False
    middle, dark = shadows(clip)
    both = np.isfinite(middle) & np.isfinite(track.x)
    if both.sum() < 5:
        return False
    frames = np.flatnonzero(both)
    if thing.motion in ("left", "right"):
        pace = np.polyfit(frames, track.x[both], 1)[0]
        return bool(0.5 < np.polyfit(frames, middle[both], 1)[0] / pace < 1.5) and abs(pace) > 0.01
    below = np.median(np.abs(middle[both] - track.x[both])) < 0.08
    travels = np.ptp(track.y[both]) > 0.1
    return bool(below and travels and np.corrcoef(dark[both], track.y[both])[0, 1] > 0.5)
