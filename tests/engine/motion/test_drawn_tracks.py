"""Tracks as a clip of dots, by what LTX's node says of each of them."""

import pytest
import torch

from longtake.engine.motion.brush import Tracks
from longtake.engine.motion.drawn_tracks import aged, trails

SIZE = WIDTH, HEIGHT = 1200, 1080  # drawn as it is: not scaled down
SPEED, ROW, FRAMES = 16, 500, 56


def tracks(frames: int = FRAMES) -> Tracks:
    """One goes to the right, one stays outside of the picture."""
    path = torch.full((frames, 2, 2), float(ROW))
    path[:, 0, 0] = 20 + SPEED * torch.arange(frames)
    path[:, 1, 0] = 900
    visible = torch.ones(frames, 2, dtype=torch.bool)
    visible[:, 1] = False
    return Tracks(path, visible)


@pytest.fixture(scope="module")
def last():
    """The last frame."""
    return trails(tracks(), SIZE, FRAMES - 1)


@pytest.mark.parametrize(("age", "radius"), [(0, 8), (25, 5), (50, 2)])
def test_a_dot_is_seen_for_50_frames_and_shrinks(last, age, radius):
    x = 20 + SPEED * (FRAMES - 1 - age)
    column = last[:, x].amax(-1) > 0
    assert column.nonzero().flatten().tolist() == list(range(ROW - radius, ROW + radius + 1))
    assert tuple(last[ROW, x].tolist()) == pytest.approx(aged(1 - age / 50), abs=1e-6)


def test_what_is_older_and_what_nobody_sees_is_not_drawn(last):
    assert not last[:, : 20 + SPEED * (FRAMES - 52)].any()
    assert not last[:, 895 + 30 :].any()


def test_colours_go_from_blue_over_green_to_red():
    shares = {1.0: (0, 0, 1), 2 / 3: (0, 1, 1), 0.5: (0, 1, 0.5), 1 / 3: (0, 1, 0), 0.0: (1, 0, 0)}
    for share, colour in shares.items():
        assert aged(share) == pytest.approx(colour, abs=1e-6)


def test_it_has_the_video_s_size_and_the_newest_dot_on_top():
    still = Tracks(torch.full((9, 1, 2), 160.0), torch.ones(9, 1, dtype=torch.bool))
    frame = trails(still, (640, 360), 8)
    assert frame.shape == (360, 640, 3)
    assert frame[160, 160].tolist() == pytest.approx([0, 0, 1], abs=1e-6)
