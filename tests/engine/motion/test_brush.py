"""Strokes as people write them, and the tracks that they become."""

from fractions import Fraction

import pytest
import torch

from longtake.engine.motion.brush import drawn_points, tracks_of
from longtake.engine.motion.brush_text import parse_brush
from longtake.models.errors import InputError

SIZE = (112, 80)
FRAMES, FPS = 13, Fraction(4)
TIMES = [float(n / FPS) for n in range(FRAMES)]


def made(text: str, masks=None, points: int = 5, seed: int = 1):
    return tracks_of(parse_brush(text), masks, TIMES, FRAMES / FPS, SIZE, points, seed)


def mask(left: int = 40, top: int = 20) -> torch.Tensor:
    """(1, 40, 56), half the picture's size, with a square of 10."""
    out = torch.zeros(1, 40, 56)
    out[0, top // 2 : top // 2 + 5, left // 2 : left // 2 + 5] = 1
    return out


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("[0s to 3s] 0.25,0.5 -> 0.5,0.75", (28, 40), (56, 60)),
        ("[0s to 2s] 0.25, 0.5 right 0.5w ease", (28, 40), (84, 40)),
        ("[0s to 2s] 0.25,0.5 down 0.1w/s", (28, 40), (28, 62.4)),
        ("[1s to 2s] 0.5,0.5 → 0.5,0.25 -> 0.25,0.25", (56, 40), (28, 20)),
        ("[0s] 0.5,0.5 still", (56, 40), (56, 40)),
    ],
)
def test_a_point_goes_where_it_was_told_to(text, first, last):
    path = made(text).path[:, 0]
    torch.testing.assert_close(path[0], torch.tensor(first, dtype=torch.float32))
    torch.testing.assert_close(path[-1], torch.tensor(last, dtype=torch.float32))


def test_a_path_is_gone_along_at_an_even_speed():
    steps = made("[0s to 3s] 0.1,0.1 -> 0.9,0.1 -> 0.9,0.3").path[:, 0].diff(dim=0).norm(dim=1)
    straight = steps[[0, 1, 2, 3, 4, 5, 6, 7, 8]]
    assert float(straight.max() - straight.min()) < 1e-3


def test_a_region_moves_as_one_and_one_that_is_still_stays():
    masks = torch.cat((mask(), mask(80, 50)))
    tracks = made("[0s] mask 1 right 0.2w\n[0s] mask 1 down 0.1w\n[0s] mask 2 still", masks)
    assert tracks.path.shape == (FRAMES, 10, 2)
    way = tracks.path[-1] - tracks.path[0]
    assert torch.allclose(way[:5], way[:1].expand(5, 2))
    assert torch.equal(way[5:], torch.zeros(5, 2))
    begin = tracks.path[0, :5]
    assert bool(((begin >= torch.tensor([40, 20])) & (begin < torch.tensor([50, 30]))).all())
    assert bool(tracks.visible.all())


def test_points_of_a_region_are_the_seed_s():
    one, same, other = (drawn_points(mask()[0], 7, seed, SIZE) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.5,0.5 still", "line 1, column 1: a line begins with a time"),
        ("[0s]", "line 1, column 5: a time without a stroke"),
        ("[0s] ball right 0.2w", "line 1, column 6: 'ball right 0.2w' is no stroke"),
        ("[0s] 1.5,0.5 still", "line 1, column 6: '1.5,0.5' is not in the picture"),
        ("[0s] 0.5,0.5 -> 0.5,-0.1", "line 1, column 17: '0.5,-0.1' is not in the picture"),
        ("[0s] 0.5,0.5 -> there", "line 1, column 17: 'there' is no place"),
        ("[0s] mask 0 still", "masks are counted from 1"),
        ("[0s] mask 1 sideways 0.2w", "line 1, column 13: 'sideways 0.2w' is no place"),
        ("[0s] mask 3 still", "line 1, column 1: there is no mask 3: 1 are connected to 'masks'"),
        ("[0s] 0.5,0.5 right 0.7w", "line 1, column 1: it leaves the picture at 2.5"),
        ("[0s to 9s] 0.5,0.5 still", "is not within the video, which lasts 3.25s"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, told):
    with pytest.raises(InputError) as error:
        made(text, mask())
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        (None, "there is no mask 1: none is connected"),
        (torch.zeros(1, 40, 56), "mask 1 is empty"),
        (torch.ones(1, 40, 40), "mask 1 is 40×40, of another shape than the picture, 112×80"),
    ],
)
def test_a_region_that_cannot_be_is_refused(masks, told):
    with pytest.raises(InputError, match=told):
        made("[0s] mask 1 still", masks)
