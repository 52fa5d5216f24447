"""Which frames are known, and that they stay."""

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.grid import LatentGrid
from longtake.models.errors import FrameCountError, InputError, SizeError

GRID = LatentGrid(channels=7, stride_t=5, stride_hw=3, patch=1)
B, C, T, H, W = SHAPE = (2, 7, 11, 13, 17)


@pytest.fixture
def canvas():
    return Canvas.blank(GRID, frames=1 + 5 * (T - 1), height=3 * H, width=3 * W, batch=B)


def test_blank_is_all_to_be_painted(canvas):
    assert canvas.latents.shape == SHAPE
    assert not canvas.latents.any()
    assert not canvas.known.any()


def test_blank_off_the_grid_is_refused():
    with pytest.raises(FrameCountError, match="Nearest: 1 or 6"):
        Canvas.blank(GRID, frames=5, height=39, width=51)
    with pytest.raises(SizeError, match="height 40"):
        Canvas.blank(GRID, frames=6, height=40, width=51)


def test_an_image_is_not_a_canvas():
    with pytest.raises(InputError, match=r"\(7, 13, 17\)"):
        Canvas(torch.zeros(C, H, W), torch.zeros(1, dtype=torch.bool))


def test_one_mark_for_each_frame():
    with pytest.raises(InputError, match="11 latent frames"):
        Canvas(torch.zeros(SHAPE), torch.zeros(T - 1, dtype=torch.bool))
