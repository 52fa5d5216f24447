import av
import numpy as np
import pytest
from PIL import Image

from longtake.engine.media.contact_sheet import (
    CAPTION,
    GAP,
    TILE,
    contact_sheet,
    evenly_spaced,
    write_contact_sheet,
)
from longtake.engine.media.reader import media_facts, read_frames


@pytest.fixture
def video(tmp_path):
    """A clip of 31 grey frames of 34x22 pixels at 8 fps, each a little lighter than the last."""
    path = tmp_path / "grey.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=8, width=34, height=22)
        for i in range(31):
            picture = np.full((22, 34, 3), 8 * i, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(("count", "most"), [(1, 7), (7, 7), (31, 7), (1441, 18)])
def test_evenly_spaced_keeps_both_ends(count, most):
    chosen = evenly_spaced(count, most)
    assert len(chosen) == min(count, most)
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    steps = np.diff(chosen)
    assert not len(steps) or steps.max() - steps.min() <= 1


def sheet_of(path, **size):
    facts = media_facts(path)
    return contact_sheet(read_frames(path), facts.frames, facts.fps, **size)


def test_the_grid_shows_frames_in_order(video):
    sheet = sheet_of(video, columns=3, rows=2)
    high = round(TILE * 22 / 34) + CAPTION
    assert sheet.size == (3 * (TILE + GAP) + GAP, 2 * high + GAP)
    places = [
        (GAP + TILE // 2 + x * (TILE + GAP), GAP + 40 + y * high) for y in (0, 1) for x in range(3)
    ]
    shades = [sheet.getpixel(place)[0] for place in places]
    assert shades == pytest.approx([0, 48, 96, 144, 192, 240], abs=6)


def test_one_frame_is_a_sheet_as_well(tmp_path):
    path = tmp_path / "still.gif"
    Image.new("RGB", (4, 4)).save(path)
    assert sheet_of(path).width == TILE + 2 * GAP


def test_the_program_writes_the_sheet_of_a_file(video, tmp_path):
    write_contact_sheet(video, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == sheet_of(video).size
