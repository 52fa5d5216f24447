"""The fixtures that other tests stand on, tried with ComfyUI's own nodes."""

import importlib.util
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dev
import pack
from headless import Stop
from longtake.engine.media.sound import Sound
from longtake.engine.media.writer import write_video

IMAGE = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 31, "height": 17, "batch_size": 1, "color": 255},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/b"}},
}


def with_width(width) -> dict:
    return {**IMAGE, "1": {**IMAGE["1"], "inputs": {**IMAGE["1"]["inputs"], "width": width}}}


def test_the_server_runs_a_prompt_and_tells_its_files(server):
    run = server.run(IMAGE)
    assert run.error is None
    assert run.executed == {"1", "2"}
    assert [file.name for file in run.files] == ["b_00001_.png"]
    assert run.files[0].is_file()
    assert server.run(IMAGE).executed == set()  # cached
    server.free()
    assert server.run(IMAGE).executed == {"1", "2"}


def test_the_server_says_why_it_refuses(server):
    with pytest.raises(Stop, match="EmptyImage: Value 0 smaller than min of 1"):
        server.run(with_width(0))


def test_a_prompt_runs_in_this_process(comfyui):
    run = comfyui.run(IMAGE, want=["1"])
    assert run.values["1"][0].shape == (1, 17, 31, 3)
    assert run.executed == {"1"}
    assert comfyui.refusal(IMAGE) is None
    assert "smaller than min" in comfyui.refusal(with_width(0))


def test_an_executor_keeps_its_cache(comfyui):
    executor = comfyui.executor()
    assert comfyui.run(IMAGE, executor=executor).executed == {"1", "2"}
    assert comfyui.run(IMAGE, executor=executor).executed == set()


def test_comfyui_loads_every_node_of_the_pack_by_itself(server, host):
    ours = [name for name in host.nodes.NODE_CLASS_MAPPINGS if name.startswith("Longtake")]
    assert "LongtakeSample" in ours
    for name in ours:
        assert server.info(name)["python_module"] == "custom_nodes.longtake"


def test_a_refused_node_is_named(server):
    with pytest.raises(Stop, match="LongtakeNoSuch'? (does not exist|not found)"):
        server.run({"1": {"class_type": "LongtakeNoSuch", "inputs": {}}})


# The pack from outside


def test_the_neighbours_are_found_and_the_pack_is_not_on_the_path():
    names = ("longtake", *pack.NEIGHBOURS)
    found = [importlib.util.find_spec(name) for name in names]
    places = {Path(place) for spec in found
              for place in (spec.submodule_search_locations or [spec.origin])}  # fmt: skip
    beside = (
        "archive.py",
        "benchmarks",
        "dev.py",
        "environment.py",
        "headless.py",
        "matrix.py",
        "tests",
        "training",
        "worker.py",
    )
    assert places == {pack.ROOT, *(pack.ROOT / name for name in beside)}
    assert pack.ROOT not in [Path(entry or ".").resolve() for entry in sys.path]


def test_registering_again_changes_nothing_but_the_path(monkeypatch):
    finders = sys.meta_path.count(pack.Finder)
    monkeypatch.setattr(sys, "path", [str(pack.ROOT), "elsewhere"])
    pack.register(keep_path=True)
    assert sys.path == [str(pack.ROOT), "elsewhere"]
    pack.register()
    assert sys.path == ["elsewhere"]
    assert sys.meta_path.count(pack.Finder) == finders == 1


def test_a_module_of_the_pack_runs_as_a_program_with_its_exit_code(tmp_path):
    command = [sys.executable, *map(str, dev.program("engine.container.salvage", tmp_path)[1:])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, f"0 unfinished videos in {tmp_path}\n")
    done = subprocess.run([*command, "--no"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2


# The benchmark that tells whether a workflow's frames are still the same


@pytest.fixture(scope="module")
def pixels():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(dev.BENCHMARKS)  # where a benchmark finds its neighbours
        return importlib.import_module("pixels")


def noise(frames: int, seed: int = 0) -> np.ndarray:
    """(frames, 34, 62, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (frames, 34, 62, 3), dtype=np.uint8)


def tone(pitch: float) -> Sound:
    return Sound(np.sin(np.arange(8000) * pitch, dtype=np.float32)[None], 8000)


def test_the_digest_is_that_of_frames_and_sound_and_not_of_the_file(pixels, tmp_path):
    def digest(name: str, frames: np.ndarray, **more) -> str:
        path = tmp_path / f"{name}.mp4"
        write_video(path, [frames], Fraction(8), **more)
        return pixels.digest(path)

    frames = noise(5)
    found = digest("a", frames, sound=tone(0.3))
    assert found == digest("b", frames, sound=tone(0.3), metadata={"prompt": "another file"})
    assert found != digest("c", frames[::-1], sound=tone(0.3))
    assert found != digest("d", frames[:4], sound=tone(0.3))
    assert found != digest("e", frames, sound=tone(0.4))
    assert found != digest("f", frames)


def test_the_digest_of_a_picture_is_that_of_all_its_frames_with_transparency(pixels, tmp_path):
    def digest(*pictures: Image.Image) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.png"
        pictures[0].save(path, save_all=True, append_images=pictures[1:])
        return pixels.digest(path)

    one, two, three = (Image.fromarray(frame).convert("RGBA") for frame in noise(3))
    faint = one.copy()
    faint.putalpha(254)
    assert digest(one, two) == digest(one, two)
    assert len({digest(one, two), digest(one, three), digest(one), digest(faint, two)}) == 4


def test_workflows_that_need_other_people_s_models_are_not_run(pixels):
    names = pixels.without_files()
    assert {"text_to_video", "core_nodes", "long_take"} <= {*names}
    assert not {"h3_image_to_video", "gguf_long_take"} & {*names}


def test_workflows_whose_hashes_are_not_those_of_an_earlier_run_are_named(pixels):
    found = {"a": ["1", "2"], "b": ["3"], "c": ["4"]}
    earlier = json.dumps({"pixels": {"workflows": {"a": ["1", "2"], "b": ["5"]}}})
    assert pixels.differing(found, f"a table\n{earlier}\n") == ["b", "c"]


# Benchmarks of takes, on a GPU and without one


@pytest.fixture(scope="module")
def takes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(dev.BENCHMARKS)
        return importlib.import_module("_takes")


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_work_is_measured_apart_but_on_a_gpu_in_the_process_that_has_it(takes, monkeypatch):
    own, there = os.getpid(), takes.apart(os.getpid)
    assert there["result"] != own
    assert there["ram_mib"] > 10
    assert "vram_mib" not in there
    assert takes.on_best_device() == ["--cpu"]
    monkeypatch.setattr(takes.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(takes.torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(takes.torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    here = takes.apart(os.getpid)
    assert (here["result"], here["vram_mib"]) == (own, 3.0)
    assert takes.on_best_device() == []


def test_on_a_gpu_comfyui_is_not_told_to_take_the_cpu(takes, monkeypatch):
    given = []
    monkeypatch.setattr(
        takes, "import_comfyui", lambda folder, base, options: given.append(options)
    )
    takes.start_comfyui()
    monkeypatch.setattr(takes.torch.cuda, "is_available", lambda: True)
    takes.start_comfyui()
    assert given == [["--cpu"], []]
