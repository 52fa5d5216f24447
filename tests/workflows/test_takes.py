"""The workflows of long takes in a real ComfyUI, with a few steps: how they are put together."""

import json
import shutil
from fractions import Fraction

import aiohttp
import av
import numpy as np
import pytest

from environment import comfyui_folder
from headless import Stop, set_input
from tests.host_models.node import NODE, install_tiny_models
from tests.server import ComfyUI
from tests.workflows.conftest import load, load_graph
from tests.workflows.song import TEMPO

TAKES = {  # workflow -> frames, width, height
    "long_take": (49, 128, 128),
    "storyboard": (49, 128, 128),
    "music_video": (65, 256, 96),
}


@pytest.fixture(params=TAKES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def runs(server) -> dict:
    made = {}
    for name in TAKES:
        prompt = load(f"api/{name}.json")
        set_input(prompt, "Schedule.steps=2")
        made[name] = server.run(prompt, workflow=load_graph(name))
    return made


@pytest.fixture
def file(runs, name):
    assert runs[name].error is None
    (path,) = runs[name].files
    return path


def test_it_is_as_long_and_as_large_as_planned(file, name):
    frames, width, height = TAKES[name]
    with av.open(file) as container:
        stream = container.streams.video[0]
        times = [packet.pts * stream.time_base for packet in container.demux(stream) if packet.size]
        assert (stream.width, stream.height, stream.average_rate) == (width, height, 8)
    assert sorted(times) == [Fraction(i, 8) for i in range(frames)]


def test_the_graph_is_in_the_file(file, name):
    with av.open(file) as container:
        assert json.loads(container.metadata["workflow"]) == load_graph(name)


def test_progress_counts_the_whole_take(runs):
    windows = {"long_take": 4, "storyboard": 4}
    for name, count in windows.items():
        told = [e.data["value"] for e in runs[name].of("progress") if e.data["max"] == 2 * count]
        assert told == sorted(told)
        assert told[-1] == 2 * count


def test_the_graph_for_a_cluster_is_the_storyboard_s():
    """So what the storyboard's makes is what it makes."""
    alone, shared = (load(f"api/{name}.json") for name in ("storyboard", "long_take_on_a_cluster"))
    set_input(shared, "LongTake.workers=this ComfyUI")
    set_input(shared, "Save.filename_prefix=longtake/storyboard")
    assert list(shared.values()) == [
        json.loads(json.dumps(node).replace('"17', '"73')) for node in alone.values()
    ]


def test_the_sound_of_the_music_video_is_in_sync(runs):
    (path,) = runs["music_video"].files
    with av.open(path) as container:
        rate = container.streams.audio[0].sample_rate
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    first = np.abs(heard[: rate // 2]).argmax() / rate
    assert first == pytest.approx(0.25, abs=0.03)
    assert len(heard) / rate == pytest.approx(65 / 8, abs=0.1)


def test_a_picture_and_a_song_become_a_vertical_clip_with_cuts_on_beats(server):
    """What its note says of it: 9:16 as near as can be, 24 fps, three shots, mp4 with sound."""
    prompt = load("api/picture_and_song.json")
    set_input(prompt, "Schedule.steps=1")
    run = server.run(prompt)
    assert run.error is None
    (path,) = run.files
    with av.open(path) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (96, 160, 24)
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert path.suffix == ".mp4"
    assert len(heard) / sound.sample_rate == pytest.approx(97 / 8, abs=0.1)
    (take,) = [out for out in run.outputs.values() if "longtake_shots" in out]
    starts = [shot["start"] for shot in json.loads(take["longtake_shots"][0])["shots"]]
    beats = [start / (60 / TEMPO) for start in starts]  # to a frame of an eighth of a second
    assert len(starts) == 3
    assert beats == pytest.approx([round(beat) for beat in beats], abs=0.2)


def test_a_take_goes_on_after_its_server_was_killed(server, tmp_path):
    """SIGKILL in the third of four windows; another server paints the rest, to the same bits."""
    prompt = load("api/long_take.json")
    for setting in ("Schedule.steps=2", "LongTake.seed=77"):
        set_input(prompt, setting)

    def kill(event):
        if event.type == "progress" and event.data["max"] == 8 and event.data["value"] >= 5:
            doomed.process.kill()

    with (
        ComfyUI(comfyui_folder(), tmp_path) as doomed,
        pytest.raises((Stop, ConnectionError, aiohttp.ClientError)),
    ):
        doomed.run(prompt, on_event=kill)
    left = [*(tmp_path / "output" / "longtake" / "windows").glob("*.safetensors")]
    assert len(left) in (2, 3)
    videos = [path.name for path in (tmp_path / "output").rglob("*.mp4")]
    assert all(name.startswith(".take.") and name.endswith(".part.mp4") for name in videos)

    kept = server.output / "longtake" / "windows"
    kept.mkdir(parents=True, exist_ok=True)
    for path in left:
        shutil.copy(path, kept)
    resumed, steps = finished(server, prompt)
    assert steps == 2 * (4 - len(left))
    for path in kept.glob("*.safetensors"):
        path.unlink()
    server.free()  # or its caches would answer
    whole, steps = finished(server, prompt)
    assert steps == 8
    assert np.array_equal(resumed[0], whole[0])
    for path in left:
        assert path.read_bytes() == (kept / path.name).read_bytes()


def test_so_does_one_of_pictures_and_sound_by_a_model_that_the_host_loads(tmp_path):
    """LTX-2 (a stand-in where the host has none), killed in its second window of three."""
    prompt = load("api/long_take.json")
    model, _, vae, schedule, take = (str(n) for n in (1101, 1102, 1103, 1106, 1107))
    for loader in (vae, "1102"):
        del prompt[loader]
    prompt[model] = {"class_type": NODE, "inputs": {"name": "ltxav"}}
    for node in prompt.values():
        for name, link in node["inputs"].items():
            if link in (["1102", 0], [vae, 0]):
                node["inputs"][name] = [model, 1 if link[0] == "1102" else 2]
    prompt[schedule]["inputs"]["steps"] = steps = 40
    length = {"seconds": 1.96, "fps": 25.0, "window": 25, "overlap": 9}
    prompt[take]["inputs"] |= {**length, "width": 64, "height": 64, "audio_vae": [model, 3]}

    def kill(event):
        done = event.data["value"] if event.type == "progress" else 0
        if done > steps + 5 and event.data["max"] == 3 * steps:
            doomed.process.kill()

    with (
        ComfyUI(comfyui_folder(), tmp_path, install=install_tiny_models) as doomed,
        pytest.raises((Stop, ConnectionError, aiohttp.ClientError)),
    ):
        doomed.run(prompt, on_event=kill)
    kept = tmp_path / "output" / "longtake" / "windows"
    left = {path.name: path.read_bytes() for path in kept.glob("*.safetensors")}
    assert len(left) in (1, 2)
    with ComfyUI(comfyui_folder(), tmp_path, install=install_tiny_models) as server:
        resumed, did = finished(server, prompt)
        assert did == steps * (3 - len(left))
        for path in kept.glob("*.safetensors"):
            path.unlink()
        server.free()  # or its caches would answer
        whole, did = finished(server, prompt)
    assert did == 3 * steps
    assert all(np.array_equal(*both) for both in zip(resumed, whole, strict=True))
    assert all(data == (kept / name).read_bytes() for name, data in left.items())


def finished(server, prompt) -> tuple[list[np.ndarray], int]:
    """The frames of a take, and its sound if it has some; how many steps of sampling it took."""
    run = server.run(prompt)
    assert run.error is None
    streams = []
    with av.open(run.files[0]) as container:
        for stream in container.streams:
            container.seek(0)
            frames = container.decode(stream)
            if stream.type == "video":
                streams.append(np.stack([f.to_ndarray(format="rgb24") for f in frames]))
            else:
                streams.append(np.concatenate([f.to_ndarray() for f in frames], axis=1))
    steps = [e.data["max"] for e in run.of("progress") if e.data["node"] == take_of(prompt)]
    return streams, steps[-1]


def take_of(prompt: dict) -> str:
    return next(k for k, node in prompt.items() if node["class_type"] == "LongtakeLongTake")
