"""The workflow that paints at 8 frames a second and shows 24."""

from fractions import Fraction

import av
import numpy as np

from tests.workflows.conftest import load
from training.exam.detect import read


def test_it_runs_three_times_as_smooth_and_as_long_as_before(server):
    run = server.run(load("api/interpolate.json"))
    assert run.error is None
    (path,) = run.files
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 24
        assert stream.duration * stream.time_base == Fraction(17, 8)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames = np.stack(decoded).astype(int)
    assert frames.shape == (51, 128, 128, 3)
    seen = read(np.stack(decoded))
    assert (seen.tracks[0].colour, seen.ground, seen.time) == ("red", "grass", "sunset")
    steps = np.abs(np.diff(frames[:49], axis=0)).mean((1, 2, 3)).reshape(16, 3)
    apart = np.abs(np.diff(frames[:49:3], axis=0)).mean((1, 2, 3))
    assert (steps.max(1) < 0.9 * apart)[apart > 0.5].all(), "a step is as long as before"
    told = [event.data["bytes"] for event in run.of("binary 3")]  # text on nodes
    assert [b"17 frames at 8 fps -> 51 at 24 fps" in text for text in told].count(True) == 1
