"""Videos side by side: each frame in its place, whatever the others' size and length."""

import pytest
import torch

from longtake.engine.frames.sheet import GAP, shape_of_sheet, sheet

HEIGHT, WIDTH = 30, 46


def clip(frames: int, colour: int, height: int = HEIGHT, width: int = WIDTH):
    """Frame n of a clip is of one grey, colour + n; in chunks of two."""
    greys = torch.arange(colour, colour + frames, dtype=torch.uint8)
    return iter(greys[:, None, None, None].expand(-1, height, width, 3).split(2))


@pytest.mark.parametrize(
    ("count", "grid"), [(1, (1, 1)), (2, (2, 1)), (4, (2, 2)), (5, (3, 2)), (64, (8, 8))]
)
def test_a_grid_is_nearly_square_and_holds_all(count, grid):
    assert shape_of_sheet(count) == grid


def test_each_frame_is_in_its_tile_and_the_shorter_video_keeps_its_last():
    frames = list(sheet([clip(5, 10), clip(3, 110), clip(4, 210)], HEIGHT, WIDTH))
    assert {frame.shape for frame in frames} == {(1, 2 * HEIGHT + GAP, 2 * WIDTH + GAP, 3)}
    middles = [(15, 40), (15, 40 + WIDTH + GAP), (15 + HEIGHT + GAP, 40)]
    seen = [[int(frame[0, y, x, 0]) for y, x in middles] for frame in frames]
    assert seen == [[10, 110, 210], [11, 111, 211], [12, 112, 212], [13, 112, 213], [14, 112, 213]]
    empty = frames[0][0, HEIGHT + GAP :, WIDTH + GAP :]
    assert not empty.any()


def test_a_smaller_video_lies_in_the_middle_on_black():
    (frame,) = sheet([clip(1, 200), clip(1, 100, height=10, width=20)], HEIGHT, WIDTH)
    tile = frame[0, :, WIDTH + GAP :, 0]
    assert (tile[10:20, 13:33] == 100).all()
    assert not tile[20:].any()
    assert not tile[:, 34:].any()


def test_each_tile_has_its_number():
    (frame,) = sheet([clip(1, 128)] + [clip(1, 128) for _ in range(2)], HEIGHT, WIDTH)
    corners = [frame[0, y : y + 10, x : x + 8] for y in (0, HEIGHT + GAP) for x in (0, WIDTH + GAP)]
    written = corners[:3]
    assert all((corner > 200).any() for corner in written), "white"
    assert not torch.equal(written[0], written[1])
    assert not torch.equal(written[1], written[2])
