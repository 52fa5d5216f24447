"""The workflow that moves a camera over a still."""

import av
import numpy as np

from tests.workflows.conftest import load


def test_it_runs_and_the_picture_moves_all_the_way(server):
    run = server.run(load("api/camera_path.json"))
    assert run.error is None
    path = next(file for file in run.files if file.suffix == ".mp4")
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == 24
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode()]
    assert len(frames) == 4 * 24
    assert frames[0].shape == (512, 512, 3)
    steps = [np.abs(b - a).mean() for a, b in zip(frames[:-1:12], frames[12::12], strict=False)]
    assert min(steps) > 0.5, "it stands still somewhere"
    told = [event.data["bytes"] for event in run.of("binary 3")]  # text on nodes
    assert ["512×512, 96 frames, 4.00 s".encode() in text for text in told].count(True) == 1
