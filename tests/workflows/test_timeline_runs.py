"""The graphs that continue clips, on the built-in model in a real ComfyUI, in few steps."""

import av
import numpy as np
import pytest

from headless import set_input
from tests.workflows.conftest import load
from training.exam.camera import find_cut
from training.exam.detect import read

# workflow -> frames of its file, ground and time of day; in an order in which clips are reused
RUNS = {
    "keyframes": (17, "grass", "sunset"),
    "fill_gap": (17, "grass", "sunset"),
    "extend_forward": (25, "grass", "sunset"),
    "extend_backward": (25, "grass", "sunset"),
    "remix": (17, "snow", "day"),
    "image_to_video": (17, "grass", "sunset"),
    "bridge": (41, "grass", "sunset"),
    "loop": (20, "grass", "sunset"),
    "recut": (17, "grass", "sunset"),
}
STEPS = 8


@pytest.fixture(scope="module")
def films(server) -> dict[str, np.ndarray]:
    """What each of them saves: (frames, h, w, 3)."""
    found = {}
    for name in RUNS:
        prompt = load(f"api/{name}.json")
        titles = [node["_meta"]["title"] for node in prompt.values()]
        for title in titles:
            if title.endswith("Schedule"):
                set_input(prompt, f"{title}.steps={STEPS}")
        run = server.run(prompt)
        assert run.error is None, (name, run.error)
        (path,) = run.files
        with av.open(path) as container:
            assert container.streams.video[0].average_rate == 8
            pictures = container.decode(video=0)
            found[name] = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    return found


@pytest.fixture(params=RUNS)
def which(request) -> str:
    return request.param


def test_it_is_as_long_as_it_should_be(films, which):
    assert films[which].shape == (RUNS[which][0], 128, 128, 3)


def test_place_and_time_of_day_are_those_of_the_prompt_and_stay(films, which):
    frames = films[which]
    for part in (frames[: len(frames) // 2], frames[len(frames) // 2 :]):
        seen = read(part)
        assert (seen.ground, seen.time) == RUNS[which][1:]


def test_there_is_no_cut(films, which):
    assert find_cut(films[which]) is None


def test_it_moves_without_a_jump(films, which):
    """Generous: how well the built-in model bridges and loops is measured in the benchmark."""
    steps = np.abs(np.diff(films[which].astype(float), axis=0)).mean((1, 2, 3))
    assert steps.min() > 0.1
    assert steps.max() < 40


def test_a_loop_ends_near_where_it_begins(films):
    frames = films["loop"].astype(float)
    steps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    assert np.abs(frames[-1] - frames[0]).mean() < 2 * np.percentile(steps, 95)


def test_variations_become_a_sheet_and_another_choice_samples_nothing(server):
    prompt = load("api/variations.json")
    for setting in ("Schedule.steps=1", "Canvas.seconds=1", "Variations.seed=5201"):
        set_input(prompt, setting)
    first = server.run(prompt)
    assert first.error is None
    sizes = {path.name.split("_")[0]: shape(path) for path in first.files}
    assert sizes == {"variations": (9, 258, 258, 8), "chosen": (27, 128, 128, 24)}
    set_input(prompt, "SideBySide.chosen=4")
    second = server.run(prompt)
    assert second.error is None
    ran = {prompt[node]["_meta"]["title"] for node in second.executed}
    assert not ran & {"Sample", "Decode"}
    chosen = [path for path in second.files if path.name.startswith("chosen")]
    assert [shape(path) for path in chosen] == [(27, 128, 128, 24)]


def shape(path) -> tuple[int, int, int, int]:
    """Frames, width, height, frames a second."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        count = sum(1 for _ in container.decode(video=0))
        return count, stream.width, stream.height, int(stream.average_rate)
