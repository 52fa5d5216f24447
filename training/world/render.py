"""The little world in motion: scenes of words become clips, reproducibly and fast.

Objects live in the world; the camera is applied after. Near things pan faster than far ones, as
in a real landscape. What leaves the picture at one side turns up again at the other, on a circle
somewhat longer than the picture, so left, right, rises and falls go on for ever at one speed;
bounces and spins are periodic; only grows, shrinks and zooms come to rest, after `REST` seconds.
"""

from dataclasses import dataclass
from functools import cache
from math import pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .captions import (
    CAMERAS,
    COLOURS,
    GROUNDS,
    MOTIONS,
    SHAPES,
    SIZES,
    TIMES,
    Scene,
)
from .paint import DEPTH, HORIZON, Bodies, Place, cover, paint

RGB = {
    "red": (0.87, 0.08, 0.10),
    "orange": (1.00, 0.50, 0.02),
    "yellow": (1.00, 0.90, 0.05),
    "green": (0.05, 0.62, 0.16),
    "cyan": (0.05, 0.86, 0.90),
    "blue": (0.08, 0.20, 0.90),
    "purple": (0.50, 0.10, 0.74),
    "pink": (1.00, 0.42, 0.72),
}
DIAMETER = {"small": 0.20, "medium": 0.28, "big": 0.38}  # of the picture's height
REST = 2.25  # seconds after which growing, shrinking and zooming stop
CROSSING = 0.25  # picture widths a second, left and right
CLIMB = 0.21  # picture heights a second, rises and falls
PAN = 0.15  # picture widths a second, where the ground pans at the camera's own speed
SWELL = 1.9  # times larger or smaller, in two seconds
ZOOM = 1.5  # times closer or farther, in two seconds
_TRIES = 12  # layouts drawn for each shot; the one with the most room wins

_GROUND_RGB = (  # by ground, by time
    ((0.46, 0.66, 0.28), (0.48, 0.50, 0.16), (0.13, 0.27, 0.13)),
    ((0.86, 0.74, 0.50), (0.86, 0.60, 0.36), (0.42, 0.35, 0.24)),
    ((0.93, 0.95, 0.98), (0.96, 0.80, 0.78), (0.42, 0.47, 0.64)),
    ((0.42, 0.42, 0.45), (0.40, 0.33, 0.36), (0.15, 0.15, 0.20)),
)
_RIPPLE = (0.13, 0.11, 0.07, 0.07)
_THING_LIGHT = ((1.0, 1.0, 1.0), (1.0, 0.94, 0.92), (0.80, 0.80, 0.86))
_SKY_TOP = ((0.36, 0.62, 0.94), (0.52, 0.36, 0.62), (0.02, 0.03, 0.12))
_SKY_LOW = ((0.80, 0.91, 1.00), (1.00, 0.68, 0.42), (0.09, 0.12, 0.28))
_HILL = ((0.50, 0.68, 0.66), (0.58, 0.38, 0.46), (0.10, 0.14, 0.25))
_CLOUD = ((1.0, 1.0, 1.0), (1.0, 0.80, 0.72), (0.14, 0.17, 0.32))
_SUN = ((1.0, 0.98, 0.80), (1.0, 0.88, 0.50), (0.95, 0.95, 0.85))
_SUN_RADIUS = (0.07, 0.13, 0.055)
_SUN_Y = (-0.38, -0.02, -0.36)
_POST = ((0.50, 0.49, 0.52), (0.40, 0.34, 0.38), (0.17, 0.17, 0.22))
_POST_HALF = 0.13  # picture heights: hides what is small wholly for a moment, the rest nearly
_POST_DEPTH = 1.35  # nearer than every object
_FOOT = (1.0, 0.9, 0.9)  # how far below its middle a shape stands, in radii


class Clips(NamedTuple):
    """What was rendered.

    Attributes:
        pixels: (b, 3, frames, h, w) in [-1, 1].
        masks: (b, frames, h, w) in [0, 1], where objects are.
        cuts: (b,) the first frame of the second shot, or `frames` where there is none.
    """

    pixels: Tensor
    masks: Tensor
    cuts: Tensor


def render(
    scenes: list[Scene],
    frames: int,
    generator: torch.Generator,
    *,
    height: int = 128,
    width: int = 128,
    fps: float = 8,
    start: int | list[int] | Tensor = 0,
    device: torch.device | str = "cpu",
    compiled: bool = False,
) -> Clips:
    """Clips of the scenes.

    Args:
        frames: how many to render; cuts fall on frame 1 + 4k, where a latent frame begins.
        generator: on the CPU; decides on all that words leave open (places, phases, cut times).
        start: frames of the clip that come before the first one rendered, one number or one for
            each scene: a window from the middle of a longer clip costs no more than its own frames.
        compiled: use torch.compile, worth it from about a hundred clips of one shape.
    """
    layout = arrange(scenes, generator, width / height)
    cuts = _cuts(scenes, frames, generator)
    index = torch.arange(frames)
    later = index >= cuts[:, None]
    begin = torch.as_tensor(start).expand(len(scenes))[:, None]
    seconds = torch.where(later, index - cuts[:, None], index + begin) / fps
    shot = torch.arange(len(scenes))[:, None] * 2 + later
    place, bodies = pose(layout, shot.flatten(), seconds.flatten(), width / height)
    place = Place(*(v.to(device) for v in place))
    bodies = tuple(Bodies(*(v.to(device) for v in body)) for body in bodies)
    draw = _compiled_paint() if compiled else paint
    pixels, masks = draw(place, bodies, height, width)
    pixels = pixels.unflatten(0, (-1, frames)).transpose(1, 2)
    return Clips(pixels, masks.unflatten(0, (-1, frames)), cuts)


@cache
def _compiled_paint():
    return torch.compile(paint, dynamic=False)


def _cuts(scenes: list[Scene], frames: int, generator: torch.Generator) -> Tensor:
    """(b,) first frame of the second shot: 1 + 4k, leaving a latent frame on either side."""
    latent_frames = (frames - 1) // 4 + 1
    k = torch.randint(1, max(2, latent_frames - 1), (len(scenes),), generator=generator)
    double = torch.tensor([len(scene.shots) == 2 for scene in scenes])
    return torch.where(double & (latent_frames > 2), 1 + 4 * k, frames)


@dataclass(frozen=True)
class Layout:
    """All that is decided about s shots (two for each scene) of up to two objects each.

    Attributes:
        ground, time, camera: (s,) indices of words. post: (s,), 1 where there is one.
        present: (s, 2), 0 or 1. colour, shape, motion: (s, 2) indices of words.
        x: (s, 2), where the object is one second in. depth: (s, 2), 1 pans with the camera.
        radius: (s, 2). phase: (s, 2) in [0, 1). way: (s, 2), -1 or 1.
        mood: (s,), the landscape's phase. post_x: (s,), where the post stands before any pan.
    """

    ground: Tensor
    time: Tensor
    camera: Tensor
    post: Tensor
    present: Tensor
    colour: Tensor
    shape: Tensor
    motion: Tensor
    x: Tensor
    depth: Tensor
    radius: Tensor
    phase: Tensor
    way: Tensor
    mood: Tensor
    post_x: Tensor


def arrange(scenes: list[Scene], generator: torch.Generator, aspect: float) -> Layout:
    """Choose places and phases so that objects stay in view for two seconds and start apart."""
    shots = [shot for scene in scenes for shot in (scene.shots[0], scene.shots[-1])]
    words = torch.tensor([_indices(shot) for shot in shots])
    things = words[:, 4:].unflatten(1, (2, 5))
    size = torch.tensor([DIAMETER[s] for s in SIZES])[things[..., 3]]
    draw = torch.rand(len(shots), _TRIES, 2, 5, generator=generator)
    x = (draw[..., 0] - 0.5) * 0.8 * aspect
    layout = Layout(
        *words[:, :4, None].unbind(1),
        *things[:, None, :, :3].unbind(-1),
        motion=things[:, None, :, 4],
        x=x,
        depth=0.75 + 0.5 * draw[..., 1],
        radius=size[:, None] / 2 * (0.95 + 0.1 * draw[..., 2]),
        phase=draw[..., 3],
        way=torch.where(draw[..., 4] < 0.5, -1.0, 1.0),
        mood=torch.rand(len(shots), 1, generator=generator),
        # Near where the first object is one second in; the second one's phase, unused, varies it.
        post_x=x[..., 0] + 0.12 * (draw[..., 1, 3] - 0.5),
    )
    best = _crowding(layout, aspect).argmin(1)
    rows = torch.arange(len(shots))
    flat = {k: v[:, 0] for k, v in vars(layout).items()}
    for name in ("x", "depth", "radius", "phase", "way", "post_x"):
        flat[name] = getattr(layout, name)[rows, best]
    order = flat["depth"].argsort(-1)  # far ones are drawn first
    pairs = {k: v.gather(1, order) for k, v in flat.items() if v.ndim == 2}
    return Layout(**(flat | pairs))


def _indices(shot) -> list[int]:
    """Ground, time, camera, post; then present, colour, shape, size, motion of two things."""
    row = [GROUNDS.index(shot.ground), TIMES.index(shot.time), CAMERAS.index(shot.camera)]
    row.append(int(shot.post))
    for thing in shot.things:
        row += [1, COLOURS.index(thing.colour), SHAPES.index(thing.shape)]
        row += [SIZES.index(thing.size), MOTIONS.index(thing.motion)]
    return row + [0] * (14 - len(row))


def _crowding(layout: Layout, aspect: float) -> Tensor:
    """(s, tries): how much objects leave the picture or cover each other in two seconds."""
    total = 0
    for seconds, weight in ((0.0, 3.0), (1.0, 1.0), (2.0, 1.0)):
        t = torch.tensor(seconds)
        x, y, radius, _ = _where(layout, t, aspect)
        zoom = _zoom(layout.camera, t)[..., None]
        out = ((x.abs() + 0.7 * radius) * zoom - aspect / 2).clamp(min=0)
        out = out + ((y.abs() + 0.7 * radius) * zoom - 0.5).clamp(min=0)
        total = total + (out * layout.present).sum(-1)
        gap = (x[..., 0] - x[..., 1]).hypot(y[..., 0] - y[..., 1]) - 1.15 * radius.sum(-1)
        both = layout.present.prod(-1)
        total = total + weight * (-gap).clamp(min=0) * both
    return total


def _is(motion: Tensor, *names: str) -> Tensor:
    """Where the motion is one of these, as float."""
    return sum((motion == MOTIONS.index(name)).float() for name in names)


def _pan(camera: Tensor, seconds: Tensor, aspect: float) -> Tensor:
    way = (camera == CAMERAS.index("pan right")).float() - (
        camera == CAMERAS.index("pan left")
    ).float()
    return way * PAN * aspect * seconds


def _zoom(camera: Tensor, seconds: Tensor) -> Tensor:
    """Scale of the picture: 0.9 to 1.35 and on until it rests, or back; 1 without a zoom."""
    stretch = ZOOM ** (seconds.clamp(max=REST) / 2)
    closer, farther = 0.9 * stretch, 1.35 / stretch
    zoom = torch.where(camera == CAMERAS.index("zoom in"), closer, torch.ones_like(closer))
    return torch.where(camera == CAMERAS.index("zoom out"), farther, zoom)


def _around(v: Tensor, period) -> Tensor:
    """v brought into [-period / 2, period / 2) by whole periods."""
    return v - period * torch.floor(v / period + 0.5)


def _where(layout: Layout, seconds: Tensor, aspect: float):
    """x, y, radius and height above its resting place of every object, as seen by the camera."""
    motion, t = layout.motion, seconds
    swell = SWELL ** (t.clamp(max=REST) / 2 - 0.5)
    radius = layout.radius * torch.where(_is(motion, "grows") > 0, swell, torch.ones_like(swell))
    radius = radius / torch.where(_is(motion, "shrinks") > 0, swell, torch.ones_like(swell))
    crossing = (_is(motion, "right") - _is(motion, "left")) * CROSSING * aspect
    camera = layout.camera[..., None]
    pan = _pan(camera, t - 1, aspect) * layout.depth
    x = _around(layout.x + crossing * (t - 1) - pan, 1.2 * aspect + 0.5)
    swing = layout.phase + t
    swing = swing - torch.floor(swing)
    lift = _is(motion, "bounces") * (0.22 + 0.06 * layout.depth) * 4 * swing * (1 - swing)
    lift = lift + _is(motion, "rises") * (CLIMB * t + 0.06 * layout.phase)
    lift = lift + _is(motion, "falls") * (CLIMB * (2 - t) + 0.06 * layout.phase)
    foot = torch.tensor(_FOOT)[layout.shape]
    foot = torch.where(_is(motion, "spins") > 0, torch.full_like(foot, 1.05), foot)
    rest = HORIZON + DEPTH * layout.depth - radius * foot
    y = _around(rest - lift, 1.15 + 2 * layout.radius)
    return x, y, radius, rest - y


def pose(layout: Layout, shot: Tensor, seconds: Tensor, aspect: float):
    """What each frame shows.

    Args:
        shot: (n,) which shot of the layout; seconds: (n,) how long that shot has been running.
    Returns:
        Place and two Bodies, n frames each.
    """
    now = Layout(**{k: v[shot] for k, v in vars(layout).items()})
    x, y, radius, lift = _where(now, seconds[:, None], aspect)
    angle = _is(now.motion, "spins") * now.way * pi * (seconds[:, None] + now.phase)
    light = torch.tensor(_THING_LIGHT)[now.time][:, None]
    colour = torch.tensor([RGB[c] for c in COLOURS])[now.colour] * light
    fields = (
        now.present.float(),
        x,
        y,
        radius,
        angle,
        HORIZON + DEPTH * now.depth,
        0.5 * (1 - lift.abs() / 0.5).clamp(0, 1),
        colour,
        torch.eye(3)[now.shape],
    )
    return _place(now, seconds, aspect), tuple(Bodies(*(v[:, i] for v in fields)) for i in (0, 1))


def _place(now: Layout, seconds: Tensor, aspect: float) -> Place:
    def by_time(table):
        return torch.tensor(table)[now.time]

    return Place(
        pan=_pan(now.camera, seconds, aspect),
        zoom=_zoom(now.camera, seconds),
        phase=2 * pi * now.mood,
        sky_top=by_time(_SKY_TOP),
        sky_low=by_time(_SKY_LOW),
        ground=torch.tensor(_GROUND_RGB)[now.ground, now.time],
        hill=by_time(_HILL),
        cloud=by_time(_CLOUD),
        sun=by_time(_SUN),
        sun_x=(now.mood * 7.3 % 1 - 0.5) * 0.7 * aspect,
        sun_y=by_time(_SUN_Y),
        sun_radius=by_time(_SUN_RADIUS),
        stars=(now.time == TIMES.index("night")).float(),
        dashes=(now.ground == GROUNDS.index("road")).float(),
        ripple=torch.tensor(_RIPPLE)[now.ground],
        post=by_time(_POST),
        post_x=now.post_x - _POST_DEPTH * _pan(now.camera, seconds, aspect),
        post_half=_POST_HALF * now.post,
        post_base=torch.full_like(seconds, HORIZON + _POST_DEPTH * DEPTH),
    )


def palette(time: str) -> dict[str, np.ndarray]:
    """Colours at a time of day, as (3,) or (k, 3) arrays in [0, 1]."""
    at = TIMES.index(time)
    light = np.array(_THING_LIGHT[at])
    return {
        "sky_top": np.array(_SKY_TOP[at]),
        "sky_low": np.array(_SKY_LOW[at]),
        "hill": np.array(_HILL[at]),
        "cloud": np.array(_CLOUD[at]),
        "sun": np.array(_SUN[at]),
        "grounds": np.array([row[at] for row in _GROUND_RGB]),
        "things": np.array([RGB[c] for c in COLOURS]) * light,
    }


def silhouettes(size: int = 128) -> list[np.ndarray]:
    """Masks (size, size) of every shape, upright."""
    one, zero = torch.ones(1), torch.zeros(1)
    masks = []
    for shape in torch.eye(len(SHAPES)):
        shot = (one, zero, zero, 0.35 * one, zero, 0.4 * one, zero, torch.ones(1, 3), shape[None])
        masks.append(cover(Bodies(*shot), size, size)[0].numpy() > 0.5)
    return masks
