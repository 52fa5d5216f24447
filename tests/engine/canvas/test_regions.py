"""Regions on pixels and on latent cells, each against its definition."""

from fractions import Fraction

import pytest
import torch

from longtake.engine import edges
from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.canvas.regions import (
    Area,
    KeptPixels,
    Pictures,
    Widened,
    border_area,
    drawn_area,
    held,
    margins_of,
)
from longtake.models.errors import InputError

GRID = CausalGrid(channels=3, stride_hw=4)  # tokens of 8 pixels
SIZE = (24, 40)


def dot(y: int, x: int) -> torch.Tensor:
    mask = torch.zeros(1, *SIZE)
    mask[:, y, x] = 1
    return mask


def area(mask, span=range(9), **how) -> Area:
    return drawn_area(mask, SIZE, span, 9, **how)


def test_a_token_is_sampled_where_a_pixel_of_it_is():
    kept = KeptPixels(Pictures(torch.zeros(1, *SIZE, 3)), (area(dot(8, 39), range(5, 9)),), 9)
    cells = kept.cells(GRID, 3)
    assert cells.shape == (1, 1, 3, 6, 10)
    assert cells.nonzero()[:, 2:].tolist() == [[2, y, x] for y in (2, 3) for x in (8, 9)]


def test_masks_of_each_frame_lie_on_their_latent_frames():
    masks = torch.zeros(9, *SIZE)
    masks[4, 0, 0] = masks[5, 23, 39] = 1
    kept = KeptPixels(Pictures(torch.zeros(1, *SIZE, 3)), (area(masks),), 9)
    cells = kept.cells(GRID, 3)[0, 0]
    assert [int(c.sum()) for c in cells] == [0, 4, 4]
    assert cells[1, 0, 0] == 1
    assert cells[2, -1, -1] == 1


def test_growing_and_shrinking_undo_each_other_on_a_box():
    box = torch.zeros(1, *SIZE)
    box[:, 8:16, 8:20] = 1
    grown = area(box, grow=3).alpha[0] == 255
    assert grown.nonzero().amin(0).tolist() == [5, 5]
    assert grown.nonzero().amax(0).tolist() == [18, 22]
    shrunk = area(box, grow=-3).alpha[0] == 255
    assert shrunk.sum() == 2 * 6


@pytest.mark.parametrize("feather", [1, 4, 7])
def test_a_feather_fades_outside_and_leaves_the_inside(feather):
    box = torch.zeros(1, *SIZE)
    box[:, 8:16, 12:28] = 1
    alpha = area(box, feather=feather).alpha[0].int()
    assert (alpha[8:16, 12:28] == 255).all()
    row = alpha[12, 28:]
    assert (row[1:] <= row[:-1]).all()
    assert row[0] > 0
    assert (row[feather + 1 :] == 0).all()


def test_a_mask_of_another_size_but_the_same_shape_is_scaled():
    large = torch.zeros(1, 48, 80)
    large[:, 16:32, 16:40] = 1
    alpha = area(large).alpha[0]
    assert alpha.shape == SIZE
    assert (alpha[9:15, 9:19] == 255).all()
    assert drawn_area(torch.ones(1, 48, 48).tril(), SIZE, range(9), 9, was=(48, 48)).alpha.any()


def test_a_part_of_what_is_kept_is_what_it_is_there():
    pictures = torch.arange(9, dtype=torch.uint8).view(9, 1, 1, 1).expand(-1, *SIZE, 3)
    masks = torch.rand(9, *SIZE)
    kept = KeptPixels(Pictures(pictures), (area(masks), area(dot(3, 3), range(4, 6))), 9)
    part = kept.part(5, 17)
    assert part.frames == 4
    assert torch.equal(part.alpha(range(4)), kept.alpha(range(5, 9)))
    assert [int(c[0, 0, 0, 0]) for c in part.shown(iter)] == [5, 6, 7, 8]
    assert kept.part(9, 1) is None


def test_the_last_frame_goes_on():
    kept = KeptPixels(Pictures(torch.ones(1, *SIZE, 3)), (area(dot(3, 3)),), 9)
    assert kept.still
    assert sum(map(len, kept.shown(iter))) == 9


def test_the_nearest_frame_that_is_known_stands_in():
    assert held([2, 6], 9) == (0, 0, 0, 0, 0, 1, 1, 1, 1)


def test_a_wider_picture_has_its_edges_outside():
    picture = torch.randint(0, 255, (2, 3, 5, 3), dtype=torch.uint8)
    wide = torch.cat(list(Widened(Pictures(picture), (2, 1, 0, 4)).frames(iter)))
    assert wide.shape == (2, 8, 7, 3)
    assert torch.equal(wide[:, 1:4, 2:], picture)
    assert torch.equal(wide[:, 0, 0], picture[:, 0, 0])


@pytest.mark.parametrize(
    ("margins", "ratio", "whole"),
    [
        ((0, 0, 3, 0), None, (24, 48)),
        ((3, 0, 0, 0), None, (24, 48)),
        ((0, 0, 0, 0), Fraction(3), (24, 72)),
        ((0, 0, 0, 0), Fraction(1), (40, 40)),
        ((0, 4, 0, 4), Fraction(2), (32, 64)),
    ],
)
def test_the_whole_is_on_the_grid(margins, ratio, whole):
    left, top, right, bottom = margins_of(SIZE, GRID, margins, ratio)
    assert (SIZE[0] + top + bottom, SIZE[1] + left + right) == whole
    assert abs(left - right) <= 8 or ratio is None
    assert right == 0 or margins[0] == 0 or ratio


def test_a_border_is_all_around_and_fades_inside():
    alpha = border_area((24, 48), (0, 0, 8, 0), 4, 9).alpha[0].int()
    assert (alpha[:, 40:] == 255).all()
    assert (alpha[:, :35] == 0).all()
    assert 0 < alpha[12, 39] < 255


@pytest.mark.parametrize(
    ("mask", "how", "says"),
    [
        (torch.zeros(1, *SIZE), {}, "empty"),
        (torch.ones(1, *SIZE), {}, "covers the whole picture"),
        (torch.zeros(1, *SIZE), {"invert": True}, "covers the whole picture"),
        (torch.ones(4, *SIZE), {}, "4 masks do not fit a canvas of 9 frames"),
        (torch.ones(1, 24, 24), {}, "24×24 does not fit a picture of 40×24"),
        (torch.ones(1, 1, *SIZE), {}, "need (frames, height, width)"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, how, says):
    with pytest.raises(InputError) as caught:
        area(mask, **how)
    assert says in str(caught.value)


@pytest.mark.parametrize("grow", [5, -5])
def test_a_large_mask_is_drawn_in_bands_between_which_it_can_be_cancelled(monkeypatch, grow):
    box = torch.zeros(1, *SIZE)
    box[:, 6:20, 6:30] = 1
    whole, looks = area(box, grow=grow, feather=3).alpha, []
    monkeypatch.setattr(edges, "BAND", 1)
    banded = area(box, grow=grow, feather=3, check=lambda: looks.append(1)).alpha
    assert torch.equal(banded, whole)
    assert len(looks) > 4 * SIZE[0]
