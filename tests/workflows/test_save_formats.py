"""save_formats.json in a real ComfyUI: one video, three files and a contact sheet."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from headless import Stop, set_input
from longtake.engine.media.reader import media_facts
from longtake.engine.media.writer import write_video
from tests.workflows.conftest import load, load_graph

posix_folders = pytest.mark.skipif(os.name != "posix", reason="Windows' folders have no such modes")


def test_one_video_becomes_three_files_and_a_sheet(server):
    prompt = load("api/save_formats.json")
    set_input(prompt, "Schedule.steps=2")  # what is painted does not matter here

    run = server.run(prompt, workflow=load_graph("save_formats"))

    assert run.error is None
    files = {file.suffix: file for file in run.files}
    assert set(files) == {".mp4", ".png", ".webm", ".gif"}
    for suffix, codec in ((".mp4", "h264"), (".webm", "av1"), (".gif", "gif")):
        facts = media_facts(files[suffix])
        assert (facts.frames, facts.width, facts.height, facts.codec) == (17, 128, 128, codec)
    for suffix in (".mp4", ".webm"):
        with av.open(files[suffix]) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
        assert json.loads(tags["workflow"]) == load_graph("save_formats")
    with Image.open(files[".png"]) as sheet:
        assert json.loads(sheet.text["workflow"]) == load_graph("save_formats")
    assert not [file for file in files[".mp4"].parent.iterdir() if file.name.startswith(".")]


def saved(name: str, frames: int) -> dict:
    """Grey frames, and a save that takes its time."""
    nodes = (
        ("EmptyImage", {"width": 512, "height": 512, "batch_size": frames, "color": 0x808080}),
        ("CreateVideo", {"images": ["1", 0], "fps": 24.0}),
        (
            "LongtakeSaveVideo",
            {
                "video": ["2", 0],
                "filename_prefix": name,
                "format": "mp4 h265",
                "preset": "veryslow",
            },
        ),
    )
    return {
        str(n): {"class_type": kind, "inputs": inputs} for n, (kind, inputs) in enumerate(nodes, 1)
    }


def test_cancel_while_saving_ends_it_and_the_next_prompt_runs(server):
    """ComfyUI's own save cannot be stopped: here a long one ends within a frame or so."""
    before = set(server.output.rglob("*"))
    told = []

    def cancel(event):
        if event.type == "progress" and event.data.get("node") == "3":
            told.append(event.data["value"])
            if len(told) == 1:
                server.interrupt()

    run = server.run(saved("cancelled", 160), on_event=cancel)
    assert run.error is not None
    assert max(told) < 160
    assert set(server.output.rglob("*")) == before
    assert server.run(saved("after", 3)).error is None


def copied(name: str, **inputs) -> dict:
    """Load Video and Save Video."""
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "noise.mp4"}},
        "2": {
            "class_type": "LongtakeSaveVideo",
            "inputs": {"video": ["1", 0], "filename_prefix": name, **inputs},
        },
    }


@pytest.fixture(scope="module")
def source(server) -> Path:
    """A clip that cannot be made small."""
    pixels = np.random.default_rng(3).integers(0, 256, (24, 94, 106, 3), dtype=np.uint8)
    write_video(server.input / "noise.mp4", [pixels], Fraction(24))
    return server.input / "noise.mp4"


@pytest.mark.parametrize("share", [0.0001, 0.4, 0.97])
@pytest.mark.parametrize("inputs", [{}, {"crf": 10}, {"format": "gif"}], ids=str)
def test_a_disk_that_is_full_leaves_no_stub_and_the_next_prompt_runs(server, source, share, inputs):
    """Full at the first byte, half-way, and just before the end; copied, encoded, and drawn."""
    resource = pytest.importorskip("resource")
    whole = server.run(copied(f"whole {share}", **inputs)).files[0]
    room = int(share * whole.stat().st_size)
    before = set(server.output.rglob("*"))
    pid = server.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
    try:
        run = server.run(copied(f"full {share}", **inputs))
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert "the file cannot be written: " in run.error
    assert set(server.output.rglob("*")) == before
    assert server.run(copied(f"full {share}", **inputs)).files[0].stat().st_size > room


@posix_folders
def test_a_read_only_folder_is_told_before_anything_runs(server, source):
    locked = server.output / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    with pytest.raises(Stop, match="its folder is not writable"):
        server.run(copied("locked/below/a"))
    assert not list(locked.iterdir())
    locked.chmod(0o755)
    assert server.run(copied("locked/below/a")).error is None


@posix_folders
def test_a_folder_that_is_locked_meanwhile_gets_no_file(server):
    locked = server.output / "meanwhile"
    locked.mkdir()

    def lock(event):
        if event.type == "progress" and event.data.get("node") == "3":
            locked.chmod(0o555)

    run = server.run(saved("meanwhile/a", 60), on_event=lock)
    assert "Permission denied" in run.error
    locked.chmod(0o755)
    assert all(file.name.startswith(".") for file in locked.iterdir())  # could not be deleted
    assert server.run(saved("meanwhile/a", 3)).error is None
