"""Pixels of the little world: flat tensor code, one formula per pixel, nothing thrown away.

Axes: n frames, h, w. World units: the picture is one unit high, x and y are zero in its middle,
y points down. Everything is drawn with soft edges about two pixels wide and without fine
texture, so that a strong autoencoder keeps it.
"""

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

HORIZON = 0.07  # world y, 57 % of the way down
DEPTH = 0.23  # how far below the horizon the ground lies that pans at the camera's own speed


class Place(NamedTuple):
    """Where a frame is taken. Everything (n,) except the colours: (n, 3). A post stands before all
    else, from `post_base` up and out of the picture; `post_half` of its width is 0 for none."""

    pan: Tensor
    zoom: Tensor
    phase: Tensor
    sky_top: Tensor
    sky_low: Tensor
    ground: Tensor
    hill: Tensor
    cloud: Tensor
    sun: Tensor
    sun_x: Tensor
    sun_y: Tensor
    sun_radius: Tensor
    stars: Tensor
    dashes: Tensor
    ripple: Tensor
    post: Tensor
    post_x: Tensor
    post_half: Tensor
    post_base: Tensor


class Bodies(NamedTuple):
    """One object in every frame. Everything (n,) except `colour` and `shape` (one-hot): (n, 3)."""

    present: Tensor
    x: Tensor
    y: Tensor
    radius: Tensor
    angle: Tensor
    base: Tensor
    shadow: Tensor
    colour: Tensor
    shape: Tensor


def paint(place: Place, bodies: tuple[Bodies, ...], height: int, width: int):
    """Draw n frames.

    Args:
        place: where; `bodies`: what, far ones first.
        height, width: pixels.
    Returns:
        pixels: (n, 3, h, w) in [-1, 1]; mask: (n, h, w) in [0, 1], where objects are seen.
    """
    x, y, soft = _grid(place.zoom, height, width)
    image = _background(place, x, y, soft)
    mask = torch.zeros_like(image[0])
    for body in bodies:
        shade = _shadow(body, x, y)
        image = [channel * shade for channel in image]
        solid, colour = _body(body, x, y, soft)
        image = [_mix(channel, c, solid) for channel, c in zip(image, colour, strict=True)]
        mask = torch.maximum(mask, solid)
    hidden, light = _post(place, x, y, soft)
    image = [
        _mix(channel, c * light, hidden)
        for channel, c in zip(image, _channels(place.post), strict=True)
    ]
    mask = mask * (1 - hidden)
    return torch.stack(image, 1).clamp(0, 1) * 2 - 1, mask


def cover(body: Bodies, height: int, width: int) -> Tensor:
    """(n, h, w) in [0, 1]: where one object is, under a camera at rest."""
    return _body(body, *_grid(torch.ones_like(body.x), height, width))[0]


def _grid(zoom: Tensor, height: int, width: int):
    """World x (n, 1, w), y (n, h, 1) and the size of a pixel (n, 1, 1)."""
    zoom = _column(zoom)
    across = torch.arange(width, device=zoom.device) + 0.5 - width / 2
    down = torch.arange(height, device=zoom.device) + 0.5 - height / 2
    x, y = across[None, None] / height / zoom, down[None, :, None] / height / zoom
    return x, y, 1 / (height * zoom)


def _column(v: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1)."""
    return v[:, None, None]


def _channels(v: Tensor) -> list[Tensor]:
    """(n, 3) -> three of (n, 1, 1)."""
    return [_column(v[:, i]) for i in range(3)]


def _mix(a, b, share):
    return a + (b - a) * share


def _inside(distance: Tensor, soft: Tensor) -> Tensor:
    """1 where distance < 0, 0 outside, with an edge two `soft` wide."""
    return (0.5 - distance / (2 * soft)).clamp(0, 1)


def _background(place: Place, x: Tensor, y: Tensor, soft: Tensor) -> list[Tensor]:
    pan, phase = _column(place.pan), _column(place.phase)
    up = ((HORIZON - y) / 0.6).clamp(0, 1)
    image = [
        _mix(low, top, up)
        for low, top in zip(_channels(place.sky_low), _channels(place.sky_top), strict=True)
    ]
    image = _over(image, place.sun, _sun(place, x, y, soft))
    image = _over(image, torch.ones_like(place.sun), _stars(place, x, y, up))
    image = _over(image, place.cloud, _clouds(x + 0.35 * pan, y, phase))
    image = _over(image, place.hill, _hills(x + 0.55 * pan, y, phase, soft))
    return _ground(place, image, x, y, soft)


def _over(image: list[Tensor], colour: Tensor, cover: Tensor) -> list[Tensor]:
    return [_mix(i, c, cover) for i, c in zip(image, _channels(colour), strict=True)]


def _sun(place: Place, x: Tensor, y: Tensor, soft: Tensor) -> Tensor:
    """The sun or the moon: a disc so far away that no pan moves it."""
    dx, dy = x - _column(place.sun_x), y - _column(place.sun_y)
    return _inside((dx * dx + dy * dy).sqrt() - _column(place.sun_radius), 1.5 * soft)


def _stars(place: Place, x: Tensor, y: Tensor, up: Tensor) -> Tensor:
    """A few soft dots high up, on a slanted lattice."""
    a = torch.sin(2 * pi * (2.1 * x + 0.8 * y) + _column(place.phase))
    b = torch.sin(2 * pi * (2.7 * y - 0.9 * x) + 1.7)
    dots = ((a * b - 0.94) / 0.06).clamp(0, 1)
    return dots * _column(place.stars) * (up * 4 - 0.6).clamp(0, 1)


def _clouds(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Two rows of puffs that drift slowly under a pan."""
    puffs = torch.sin(2 * pi * 1.05 * x + phase) + 0.5 * torch.sin(2 * pi * 2.3 * x + 2 * phase)
    row = y + 0.29 + 0.05 * torch.sin(2 * pi * 0.5 * x + phase)
    return 0.85 * (puffs * 1.2 - 0.3 - row * row * 240).clamp(0, 1)


def _hills(x: Tensor, y: Tensor, phase: Tensor, soft: Tensor) -> Tensor:
    """A skyline: what makes a pan visible above the ground."""
    wave = torch.sin(2 * pi * 1.15 * x + 1.3 * phase) + 0.6 * torch.sin(2 * pi * 2.6 * x + phase)
    return _inside(HORIZON - 0.055 - 0.032 * wave - y, soft)


def _ground(place: Place, image: list[Tensor], x: Tensor, y: Tensor, soft: Tensor):
    """A plane in perspective: near ground pans faster than far ground."""
    near = ((y - HORIZON) / DEPTH).clamp(min=0.08)
    u, phase = x / near + _column(place.pan), _column(place.phase)
    fade = ((near - 0.2) * 1.6).clamp(0, 1)
    waves = torch.sin(2 * pi * 1.3 * u + phase + 3.0 * near) * torch.sin(5.5 * near + 2 * phase)
    light = 1.06 - 0.1 * near + _column(place.ripple) * fade * waves
    dashes = _dashes(u, near, soft) * _column(place.dashes)
    cover = _inside(HORIZON - y, soft)
    return [
        _mix(channel, _mix(colour * light, 0.25 + 0.9 * colour, dashes), cover)
        for channel, colour in zip(image, _channels(place.ground), strict=True)
    ]


def _dashes(u: Tensor, near: Tensor, soft: Tensor) -> Tensor:
    """The broken line along a road."""
    row = _inside((near - 0.72).abs() - 0.11, soft / DEPTH)
    place = ((u / 0.62 - torch.floor(u / 0.62)) - 0.5).abs() * 0.62 - 0.17
    return row * _inside(place, 2 * soft)


def _post(place: Place, x: Tensor, y: Tensor, soft: Tensor):
    """Cover and brightness of a round post."""
    half, across = _column(place.post_half), x - _column(place.post_x)
    sides = _inside(across.abs() - half, soft) * (half > 0)
    light = 1.08 - 0.34 * (across / half.clamp(min=0.01)).clamp(-1, 1).square()
    return sides * _inside(y - _column(place.post_base), soft), light


def _shadow(body: Bodies, x: Tensor, y: Tensor) -> Tensor:
    """What is left of the light, where the body stands or above what it hovers."""
    rx = (x - _column(body.x)) / _column(1.25 * body.radius)
    ry = (y - _column(body.base)) / _column(0.32 * body.radius)
    dark = (1 - rx * rx - ry * ry).clamp(min=0)
    return 1 - _column(body.shadow * body.present) * (dark * (2 - dark))


def _body(body: Bodies, x: Tensor, y: Tensor, soft: Tensor):
    """Cover (n, h, w) and three channels of colour, of balls, cubes and cones at once."""
    radius = _column(body.radius)
    dx, dy = (x - _column(body.x)) / radius, (y - _column(body.y)) / radius
    turn, lean = _column(body.angle.cos()), _column(body.angle.sin())
    u, v = dx * turn + dy * lean, dy * turn - dx * lean
    ball, cube, cone = _channels(body.shape)
    edge = soft / radius
    distance = ball * _ball(dx, dy) + cube * _cube(u, v) + cone * _cone(u, v)
    light = (
        ball * (0.92 - 0.28 * (dx * 0.5 + dy))
        + cube * _faces(u, v, edge)
        + cone * (0.92 - 0.42 * u.clamp(-1, 1))
    )
    band = 0.9 * _inside((v - 0.22).abs() - 0.17, edge)
    gleam = ball * 0.6 * (1 - ((dx + 0.35) ** 2 + (dy + 0.42) ** 2) * 7).clamp(0, 1)
    colour = [_mix(_mix(c, 0.97, band) * light, 1.0, gleam) for c in _channels(body.colour)]
    return _inside(distance, edge) * _column(body.present), colour


def _ball(u: Tensor, v: Tensor) -> Tensor:
    return (u * u + v * v + 1e-6).sqrt() - 1


def _cube(u: Tensor, v: Tensor) -> Tensor:
    """A box seen a little from above and from the right: a square with two corners cut."""
    square = torch.maximum(u.abs(), v.abs()) - 0.9
    return torch.maximum(square, ((u + v).abs() - 1.4) * 0.7071)


def _faces(u: Tensor, v: Tensor, edge: Tensor) -> Tensor:
    """Brightness of the front, the top and the right of a cube."""
    front = _inside(torch.maximum(u - 0.5, -0.5 - v), edge)
    top = _inside(u + v, edge)
    return _mix(_mix(0.55, 1.3, top), 0.95, front)


def _cone(u: Tensor, v: Tensor) -> Tensor:
    """A triangle on a round foot."""
    side = (u.abs() * 1.85 - (v + 1.1) * 0.88) * 0.488
    return torch.maximum(side, v - 0.72 - 0.2 * (1 - u * u / 0.77))
