"""Rays of a camera, beside core's node."""

from fractions import Fraction

import pytest
import torch

from longtake.engine.motion.camera import CameraPath, frame_times
from longtake.engine.motion.camera_text import parse_camera
from longtake.engine.motion.rays import LENS, camera_conditions, plucker

FRAMES, FPS = 13, Fraction(16)
# core's presets at speed 1, in words
PRESETS = {
    "Static": "",
    "Pan Up": "[0s] crane up 1.5w",
    "Pan Down": "[0s] crane down 1.5w",
    "Pan Left": "[0s] truck left 1.5w",
    "Pan Right": "[0s] truck right 1.5w",
    "Zoom In": "[0s] dolly in 3w",
    "Zoom Out": "[0s] dolly out 3w",
    "Anti Clockwise (ACW)": "[0s] roll left 60°",
    "ClockWise (CW)": "[0s] roll right 60°",
}


def poses_of(text: str):
    return CameraPath(parse_camera(text), FRAMES / FPS).poses(frame_times(FRAMES, FPS), LENS)


@pytest.mark.filterwarnings("ignore:Using torch.cross without specifying the dim")  # core's
@pytest.mark.usefixtures("comfyui")
@pytest.mark.parametrize("size", [(64, 48), (112, 48), (48, 80)])
@pytest.mark.parametrize("name", PRESETS)
def test_at_a_constant_speed_they_are_core_s(name, size):
    from comfy_extras.nodes_camera_trajectory import WanCameraEmbedding

    expected = WanCameraEmbedding.execute(name, *size, FRAMES)[0]
    ours = camera_conditions(poses_of(PRESETS[name]), *size)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_a_ray_goes_through_its_pixel_and_its_camera():
    poses = poses_of("[0s] truck right 1w\n[0s] pan left 20°\n[0s] zoom in 2x")
    rays = plucker(poses, 32, 24)
    moments, directions = rays[:, :3], rays[:, 3:]
    assert torch.allclose((moments * directions).sum(1), torch.zeros(()), atol=1e-6)
    assert torch.allclose(directions.norm(dim=1), torch.ones(()), atol=1e-6)
    middle = directions[6, :, 11:13, 15:17].mean((1, 2))
    ahead = poses.c2w[6, :3, 2].float()
    torch.testing.assert_close(middle / middle.norm(), ahead, rtol=0, atol=1e-3)
