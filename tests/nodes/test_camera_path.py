"""Camera Path: a still, a clip and nothing at all through the node."""

from fractions import Fraction

import av
import pytest
import torch

from longtake.engine.motion.camera import DEGREES, FACTOR, MOVES, WIDTHS
from longtake.engine.motion.camera_text import parse_camera
from longtake.engine.words.camera import read_camera
from tests.nodes.conftest import Graph

AMOUNT = {DEGREES: "5°", WIDTHS: "0.1w", FACTOR: "1.2x"}

WIDGETS = {
    "path": "[0s] truck right 0.25w", "seconds": 1.0, "fps": 8.0, "width": 0, "height": 0,
    "view_angle": 50.0, "parallax": 1.0,
}  # fmt: skip


@pytest.fixture
def pictures(host, monkeypatch):
    """A node that gives a still of stripes, a batch of it, and a map of its depth."""
    from comfy_api.latest import io

    class Pictures(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            outputs = [io.Image.Output(), io.Image.Output(), io.Image.Output()]
            return io.Schema(node_id="TestPictures", category="test", outputs=outputs)

        @classmethod
        def execute(cls):
            waves = torch.sin(torch.arange(96) / 9).add(1) / 2
            still = waves[None, None, :, None].expand(1, 64, 96, 3).contiguous()
            return io.NodeOutput(still, still.repeat(6, 1, 1, 1), torch.zeros(1, 32, 48, 3))

    Pictures.RELATIVE_PYTHON_MODULE = "custom_nodes.test"
    monkeypatch.setitem(host.nodes.NODE_CLASS_MAPPINGS, "TestPictures", Pictures)


@pytest.fixture
def graph(pictures) -> Graph:
    return Graph().add(
        pictures=("TestPictures", {}),
        camera=("LongtakeCameraPath", {**WIDGETS, "clip": ["pictures", 0]}),
        save=("LongtakeSaveVideo", {"video": ["camera", 0], "filename_prefix": "camera/a"}),
    )


def facts(video) -> tuple:
    """(frames, rate, size) of a VIDEO."""
    with av.open(video.get_stream_source()) as container:
        frames = list(container.decode(video=0))
        rate = container.streams.video[0].average_rate
    return len(frames), rate, (frames[0].width, frames[0].height)


def made(host, graph, node="camera"):
    run = host.run(graph, want=[node])
    assert run.error is None, run.error
    return run.values[node]


def test_a_still_becomes_a_video_of_the_length_that_was_asked_for(host, graph):
    video, preview, *_ = made(host, graph.but(camera={"seconds": 1.5}))
    assert facts(video) == (12, Fraction(8), (96, 64))
    assert preview.shape == (1, 341, 512, 3)


def test_a_clip_keeps_its_length_and_takes_another_size(host, graph):
    changed = {"clip": ["pictures", 1], "fps": 12.0, "width": 48, "seconds": 9.0}
    video, *_ = made(host, graph.but(camera=changed))
    assert facts(video) == (6, Fraction(12), (48, 32))


def test_without_a_picture_the_path_alone_is_drawn(host, graph):
    alone = graph.but(camera={})
    del alone["camera"]["inputs"]["clip"]
    assert made(host, alone)[1].shape == (1, 288, 512, 3)
    run = host.run(alone, want=["save"])
    blocked = [data["exception_message"] for kind, data in run.events if kind == "execution_error"]
    assert ["neither is connected to 'clip'" in message for message in blocked] == [True]


def test_for_models_that_know_words_the_path_is_said_in_its_order(host, graph):
    path = "[0.5s] zoom in 1.2x\n[0s to 0.5s] pan right 2°\n[0s] crane up 0.01w\n[0s] roll left 1°"
    assert made(host, graph.but(camera={"path": path}))[4] == (
        "The camera pans to the right. The camera rises straight up. The camera does a roll left. "
        "The camera zooms in."
    )


@pytest.mark.parametrize("kind", MOVES)
def test_every_move_is_one_of_the_camera_node_s_words(kind):
    table = read_camera()
    for way in MOVES[kind].directions:
        (move,) = parse_camera(f"[0s] {kind} {way} {AMOUNT[MOVES[kind].units[0]]}")
        assert move.spoken in table.moves or kind == "roll"
        assert way in move.spoken or kind == "dolly"


def test_a_depth_map_of_any_size_fits_if_its_shape_does(host, graph):
    video, *_ = made(host, graph.but(camera={"depth": ["pictures", 2]}))
    assert facts(video)[0] == 8


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"path": "[0s to 2s] pan left 5°"}, "line 1, column 1: 0s to 2s is not within the video"),
        ({"path": "[0s] truck left 40w"}, "looks past the edge of the picture"),
        ({"depth": ["pictures", 1]}, "the depth map has 6 frames and the video 8"),
        ({"width": 8}, "frames of 8×5: sides are 16 to 8192 pixels"),
        ({"fps": float("nan")}, "fps nan"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(host, graph, changed, told):
    run = host.run(graph.but(camera=changed), want=["camera"])
    assert told in str(run.error)


def test_a_path_that_cannot_be_read_is_refused_when_it_is_queued(host, graph):
    refusal = host.refusal(graph.but(camera={"path": "[0s] pan up 5°"}))
    assert "line 1, column 10: say in which direction" in str(refusal)
