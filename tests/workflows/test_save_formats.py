"""save_formats.json in a real ComfyUI: one video, three files and a contact sheet."""

import json

import av
import pytest
from PIL import Image

from headless import set_input
from longtake.engine.media_file import media_facts
from tests.workflows.conftest import load


def test_one_video_becomes_three_files_and_a_sheet(server):
    prompt = load("api/save_formats.json")
    set_input(prompt, "Schedule.steps=2")  # what is painted does not matter here

    run = server.run(prompt, workflow=load("save_formats.json"))

    assert run.error is None
    files = {file.suffix: file for file in run.files}
    assert set(files) == {".mp4", ".png", ".webm", ".gif"}
    for suffix, codec in ((".mp4", "h264"), (".webm", "av1"), (".gif", "gif")):
        facts = media_facts(files[suffix])
        assert (facts.frames, facts.width, facts.height, facts.codec) == (17, 128, 128, codec)
    for suffix in (".mp4", ".webm"):
        with av.open(files[suffix]) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
        assert json.loads(tags["workflow"]) == load("save_formats.json")
    with Image.open(files[".png"]) as sheet:
        assert json.loads(sheet.text["workflow"]) == load("save_formats.json")
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


def test_a_disk_that_is_full_leaves_no_stub_and_the_next_prompt_runs(server):
    resource = pytest.importorskip("resource")
    before = set(server.output.rglob("*"))
    pid = server.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, hard))
    try:
        run = server.run(saved("full", 3))
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written: " in run.error
    assert set(server.output.rglob("*")) == before
    assert server.run(saved("full", 3)).error is None
