"""Moves over a picture, measured in what comes out."""

import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from longtake.engine.motion.camera import CameraPath, frame_times
from longtake.engine.motion.camera_text import parse_camera
from longtake.engine.motion.moved_picture import View, picture_for, seen_by_camera, still_frames
from longtake.models.errors import InputError

FPS, SECONDS = Fraction(8), 2
DEGREES = 40  # of view
W, H = 160, 96
REACH = 40  # pixels, within which a patch is looked for


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def texture(rng, width: int = 480, height: int = 288) -> torch.Tensor:
    """(1, h, w, 3) uint8 that is different everywhere, and smooth."""
    noise = torch.rand(1, 3, height // 12, width // 12, generator=rng)
    picture = F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)
    return picture.movedim(1, -1).mul(255).to(torch.uint8)


def film(text: str, picture: torch.Tensor, nearness=None, degrees: int = DEGREES):
    """All frames, and how much was cut off."""
    path = CameraPath(parse_camera(text), Fraction(SECONDS))
    view = View.of_degrees(W, H, degrees, parallax=1.0)
    times = frame_times(int(SECONDS * FPS) + 1, FPS)
    _, height, width, _ = picture.shape
    hung = picture_for(path, view, (width, height), times, nearness is not None)
    maps = None if nearness is None else [nearness] * len(times)
    frames = seen_by_camera(still_frames(picture, len(times)), path, view, hung, times, maps)
    return torch.cat(list(frames)), hung.crop


def patch_shift(first: torch.Tensor, last: torch.Tensor, at: tuple[int, int], side: int = 24):
    """(x, y) in pixels by which a patch of a frame has moved, found by comparing places."""
    y, x = at
    patch = first[y : y + side, x : x + side].float()
    y0, x0 = max(0, y - REACH), max(0, x - REACH)
    near = last[y0 : y + side + REACH, x0 : x + side + REACH]
    windows = near.float().unfold(0, side, 1).unfold(1, side, 1)  # (y, x, c, side, side)
    error = (windows - patch.movedim(-1, 0)).pow(2).mean((2, 3, 4))
    best = int(error.argmin())
    return best % error.shape[1] + x0 - x, best // error.shape[1] + y0 - y


def within(measured: float, asked: float, share: float = 0.15) -> bool:
    return abs(measured - asked) <= share * abs(asked) + 1


def test_a_camera_that_stays_gives_the_picture_itself(rng):
    picture = texture(rng, W, H)
    frames, crop = film("", picture)
    assert crop == 1
    assert frames.shape == (17, H, W, 3)
    assert int((frames.int() - picture.int()).abs().max()) == 0


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("[0s] truck right 0.2w", (-0.2 * W, 0)),
        ("[0s] truck left 0.1w/s", (0.2 * W, 0)),
        ("[0s] crane up 0.2w ease", (0, 0.2 * W)),
        ("[0s] pan right 8°", (-W * math.tan(math.radians(8)) / 2 / math.tan(math.pi / 9), 0)),
        ("[0s] tilt up 5°", (0, W * math.tan(math.radians(5)) / 2 / math.tan(math.pi / 9))),
        ("[0s to 1s] pan left 0.2w", (0.2 * W, 0)),
    ],
)
def test_the_background_moves_as_far_as_was_asked(rng, text, asked):
    frames, crop = film(text, texture(rng))
    assert 1 < crop < 1.34  # no more is cut off than the way itself
    at = H // 2 - 12, W // 2 - 12
    x, y = patch_shift(frames[0], frames[16], at)
    assert within(x, asked[0])
    assert within(y, asked[1])


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("[0s] zoom in 1.5x", 1.5),
        ("[0s] zoom out 1.25x", 0.8),
        # the camera comes nearer: what is 1.374 w away is shown larger by 1.374 / 1.174
        ("[0s] dolly in 0.2w", 1.3737 / 1.1737),
    ],
)
def test_things_grow_as_much_as_was_asked(rng, text, factor):
    frames, _ = film(text, texture(rng))
    half = 20
    ends = [(frames[16], at) for at in (-half, half)]
    shifts = [
        patch_shift(frames[0], frame, (H // 2 - 6, W // 2 + at - 6), 12)[0] for frame, at in ends
    ]
    measured = (2 * half + shifts[1] - shifts[0]) / (2 * half)
    assert measured == pytest.approx(factor, rel=0.15)


def test_a_roll_turns_the_picture_the_other_way(rng):
    frames, crop = film("[0s] roll right 90°", texture(rng, 480, 480))
    turned = torch.rot90(frames[16].float(), -1, (0, 1))  # back, clockwise
    middle = slice(W // 2 - 30, W // 2 + 30)
    shown = frames[0][H // 2 - 30 : H // 2 + 30, middle].float()
    back = turned[turned.shape[0] // 2 - 30 : turned.shape[0] // 2 + 30, H // 2 - 30 : H // 2 + 30]
    assert float((shown - back).abs().mean()) < 3
    assert crop > 1


def test_what_is_near_moves_faster_and_hides_what_is_behind(rng):
    picture = texture(rng)
    near = torch.zeros(288, 480)
    near[96:192, 200:280] = 1
    frames, _ = film("[0s] truck right 0.1w", picture, near)
    fore = patch_shift(frames[0], frames[16], (H // 2 - 6, W // 2 - 6), 12)[0]
    back = patch_shift(frames[0], frames[16], (H // 2 - 6, 118), 12)[0]
    assert within(back, -0.1 * W)
    assert within(fore, -0.2 * W)


def test_a_depth_map_of_one_depth_changes_nothing(rng):
    picture = texture(rng)
    flat, _ = film("[0s] truck right 0.1w", picture)
    deep, _ = film("[0s] truck right 0.1w", picture, torch.zeros(288, 480))
    # the nearest thing might stand anywhere, so more is cut off
    x = [patch_shift(frames[0], frames[16], (36, 68))[0] for frames in (flat, deep)]
    assert abs(x[0] - x[1]) <= 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[0s] truck right 20w", "at 0.75 s the camera looks past the edge .* 8 times as wide"),
        ("[0s] pan right 150°", "at .* s the camera looks past the edge of the picture"),
        ("[0s] dolly in 3w", "at .* s the camera runs into the picture: the way there is 1.37w"),
        ("[0s] zoom out 50x", "at most 8 are allowed"),
    ],
)
def test_a_path_that_leaves_the_picture_is_refused_in_a_line(rng, text, told):
    with pytest.raises(InputError, match=told):
        film(text, texture(rng))


def test_frames_of_a_clip_are_each_seen_at_their_own_time(rng):
    clip = torch.cat([texture(rng) for _ in range(17)])
    path = CameraPath(parse_camera("[0s] truck right 0.2w"), Fraction(SECONDS))
    view, times = View.of_degrees(W, H, DEGREES, 1.0), frame_times(17, FPS)
    hung = picture_for(path, view, (480, 288), times)
    whole = torch.cat(list(seen_by_camera([clip[:5], clip[5:]], path, view, hung, times)))
    for n in (0, 7, 16):
        alone = torch.cat(list(seen_by_camera([clip[n : n + 1]], path, view, hung, times[n:])))
        assert torch.equal(whole[n], alone[0])
