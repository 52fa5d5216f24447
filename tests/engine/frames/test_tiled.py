"""A clip that is decoded in tiles."""

from itertools import pairwise

import pytest
import torch

from longtake.engine.frames.overlapped import Seams
from longtake.engine.frames.tiled import spans, tile_by_tile


@pytest.mark.parametrize(("size", "side"), [(5, 8), (8, 8), (9, 8), (14, 8), (15, 8), (97, 8)])
def test_tiles_cover_all_and_share_a_quarter(size, side):
    tiles = spans(size, side)
    assert (tiles[0][0], tiles[-1][1]) == (0, size)
    for (start, stop), (begin, end) in pairwise(tiles):
        assert stop - start == end - begin == side
        assert side // 4 <= stop - begin < side


def clip(height, width):
    return torch.randn(1, 3, 2, height, width, generator=torch.Generator().manual_seed(0))


def enlarged(z):
    """A decoder whose pixels depend on their own cell only."""
    return z.repeat_interleave(2, 3).repeat_interleave(2, 4).repeat_interleave(3, 2)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (7, 23), (23, 7), (19, 29)])
def test_of_a_decoder_that_looks_nowhere_else_tiles_are_the_whole(height, width):
    z, seams = clip(height, width), Seams()
    made = torch.cat(tile_by_tile(z, 8, enlarged, torch.clone, seams), dim=3)
    assert torch.allclose(made, enlarged(z), atol=1e-6)
    assert seams.most < 1e-3


def test_tiles_go_over_into_each_other_and_are_compared():
    calls = []

    def decode(z):
        calls.append(z.shape[3:])
        return torch.full((1, 3, 1, *z.shape[3:]), len(calls) / 10)

    seams = Seams()
    made = tile_by_tile(torch.zeros(1, 3, 1, 4, 7), 4, decode, torch.clone, seams)
    row = torch.cat(made, dim=3)[0, 0, 0, 0]
    assert calls == [(4, 4), (4, 4)]
    assert row.tolist() == pytest.approx([0.1, 0.1, 0.1, 0.15, 0.2, 0.2, 0.2])
    assert (seams.count, seams.most) == (1, pytest.approx(12.75, abs=0.01))
