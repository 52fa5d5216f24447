"""The graphs that make a part of a picture anew, on the built-in model in a real ComfyUI."""

import av
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dev import ROOT
from headless import set_input
from tests.workflows.conftest import load

SIZES = {  # frames, height, width
    "region_replace": (17, 128, 128),
    "remove_object": (17, 128, 128),
    "cinemagraph": (20, 128, 128),
    "expand_canvas": (17, 128, 256),
}
FEATHER = 8  # pixels around a mask, or inside of a picture, that may differ
CODEC = 6  # levels of 255 by which an encoder's mean error stays below


@pytest.fixture(scope="module")
def films(server) -> dict[str, np.ndarray]:
    found = {}
    for name in SIZES:
        prompt = load(f"api/{name}.json")
        set_input(prompt, "Schedule.steps=8")
        run = server.run(prompt)
        assert run.error is None, (name, run.error)
        with av.open(run.files[-1]) as container:
            pictures = container.decode(video=0)
            found[name] = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    return found


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """(h, w, 4), its mask in the last channel: 0 inside."""
    return np.asarray(Image.open(ROOT / "samples" / "longtake_ball_masked.png"))


@pytest.mark.parametrize("name", SIZES)
def test_it_is_as_large_as_it_should_be(films, name):
    assert films[name].shape == (*SIZES[name], 3)


@pytest.mark.parametrize("name", ["region_replace", "remove_object", "cinemagraph"])
def test_the_picture_stands_still_outside_of_its_mask(films, picture, name):
    inside = picture[..., 3] == 0
    outside = ~ndimage.binary_dilation(inside, iterations=FEATHER)
    gap = np.abs(films[name].astype(int) - picture[..., :3])
    assert gap[:, outside].mean() < CODEC
    assert gap[:, inside].mean() > 3 * CODEC


def test_the_picture_is_in_the_middle_of_a_wider_one(films, picture):
    gap = np.abs(films["expand_canvas"][:, :, 64:192].astype(int) - picture[..., :3])
    assert gap[:, :, FEATHER:-FEATHER].mean() < CODEC


def test_what_replaces_the_ball_is_blue(films, picture):
    red, _, blue = films["region_replace"][:, picture[..., 3] == 0].mean((0, 1))
    assert blue > red
