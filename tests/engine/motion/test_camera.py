"""Where a camera is, by hand-checked cases and by what a camera is."""

import math
from fractions import Fraction

import pytest
import torch

from longtake.engine.motion.camera import CameraPath, angle_of_view, focal_of
from longtake.engine.motion.camera_text import parse_camera

FOCAL = focal_of(60)


def pose_at(text: str, time: float, seconds: int = 4):
    poses = CameraPath(parse_camera(text), Fraction(seconds)).poses([time], FOCAL)
    return poses.c2w[0], float(poses.zoom[0])


@pytest.mark.parametrize(
    ("text", "ahead"),
    [
        ("[0s] pan right 30°", (0.5, 0, math.cos(math.pi / 6))),
        ("[0s] tilt up 30°", (0, -0.5, math.cos(math.pi / 6))),
        ("[0s] roll right 30°", (0, 0, 1)),
        ("[0s] pan left 0.5w", (-0.5, 0, math.cos(math.pi / 6))),  # half of 60°
    ],
)
def test_where_it_looks(text, ahead):
    pose, _ = pose_at(text, 4)
    torch.testing.assert_close(pose[:3, 2], torch.tensor(ahead).double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[0s] truck right 0.3w", (0.3, 0, 0)),
        ("[0s] crane up 0.1w/s", (0, -0.4, 0)),
        ("[0s to 2s] dolly in 0.1w/s", (0, 0, 0.2)),
        ("[0s] orbit right 90°", (FOCAL, 0, FOCAL)),
    ],
)
def test_where_it_stands(text, place):
    pose, _ = pose_at(text, 4)
    torch.testing.assert_close(pose[:3, 3], torch.tensor(place).double(), rtol=0, atol=1e-7)


def test_an_orbit_looks_at_the_same_point_from_the_same_distance():
    subject = torch.tensor([0, 0, FOCAL]).double()
    for time in (0.0, 1.0, 2.5, 4.0):
        pose, _ = pose_at("[0s] orbit left 120° ease", time)
        way = subject - pose[:3, 3]
        torch.testing.assert_close(way, FOCAL * pose[:3, 2])


def test_zooms_multiply_and_moves_add_up():
    both = "[0s to 2s] zoom in 3x\n[0s] zoom out 2x\n[0s] truck right 1w\n[1s] truck left 1w"
    pose, zoom = pose_at(both, 4)
    assert zoom == pytest.approx(1.5)
    assert float(pose[0, 3]) == pytest.approx(0)
    assert pose_at("[0s] zoom in 1.5x/s", 4)[1] == pytest.approx(1.5**4)


def test_halfway_is_half_at_an_even_speed_and_before_and_after_it_stays():
    text = "[1s to 3s] truck right 0.8w"
    assert [float(pose_at(text, t)[0][0, 3]) for t in (0, 1, 2, 3, 4)] == pytest.approx(
        [0, 0, 0.4, 0.8, 0.8]
    )
    assert float(pose_at("[0s] truck right 1w ease", 1)[0][0, 3]) == pytest.approx(0.15625)


def test_a_lens_s_angle_is_that_of_its_length():
    assert math.degrees(angle_of_view(FOCAL)) == pytest.approx(60)


def test_relative_to_the_first_of_them():
    path = CameraPath(parse_camera("[0s] pan right 20°\n[0s] dolly in 0.3w"), Fraction(4))
    part = path.poses([1.0, 2.0, 3.0], FOCAL).relative()
    torch.testing.assert_close(part.c2w[0], torch.eye(4).double())
    whole = path.poses([1.0, 3.0], FOCAL).c2w
    torch.testing.assert_close(whole[0] @ part.c2w[2], whole[1])
