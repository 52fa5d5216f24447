"""What a crash left in the output folder becomes a VIDEO."""

import os
from pathlib import Path

import pytest

from longtake.engine.media.reader import media_facts
from tests.engine.clips import clip

FRAGMENTED = {"movflags": "frag_keyframe+delay_moov", "frag_duration": "125000"}


@pytest.fixture
def left(host, tmp_path, monkeypatch):
    """An output folder in which a crash left two videos: one older, in a folder, and one newer."""
    monkeypatch.setattr("folder_paths.get_output_directory", lambda: str(tmp_path))
    (tmp_path / "takes").mkdir()
    names = "takes/.dune.01234567.part.mp4", ".forest.89abcdef.part.mp4"
    for age, name in zip((9e8, 1e9), names, strict=True):
        clip(tmp_path / name, range(31), options=FRAGMENTED)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) * 4 // 5])
        os.utime(tmp_path / name, (age, age))
    clip(tmp_path / "whole.mp4")
    return tmp_path


def salvaged(host, **inputs):
    graph = {"1": {"class_type": "LongtakeSalvage", "inputs": inputs}}
    return host.run(graph, want=["1"])


def test_the_newest_is_recovered_unless_another_is_named(left, host, shown):
    (video,) = salvaged(host, file="").values["1"]
    assert Path(video.get_stream_source()) == left / "forest_salvaged.mp4"
    facts = media_facts(left / "forest_salvaged.mp4")
    assert 9 < facts.frames < 31
    assert shown[-1].endswith(f"{facts.frames} frames: forest_salvaged.mp4")
    salvaged(host, file="takes/.dune.01234567.part.mp4")
    assert media_facts(left / "takes" / "dune_salvaged.mp4").frames > 9
    assert (left / ".forest.89abcdef.part.mp4").exists()


def test_the_menu_has_what_a_crash_left_and_nothing_else(left):
    from longtake.host.video.unfinished import unfinished_menu

    assert unfinished_menu() == [".forest.89abcdef.part.mp4", "takes/.dune.01234567.part.mp4"]


@pytest.mark.parametrize("name", ["gone.mp4", "../x.mp4", "/etc/passwd"])
def test_other_files_are_refused_before_anything_runs(left, host, name):
    assert f"there is no file '{name}'" in str(salvaged(host, file=name).error)


def test_an_output_folder_without_any_says_so(host, tmp_path, monkeypatch):
    monkeypatch.setattr("folder_paths.get_output_directory", lambda: str(tmp_path))
    assert "there is no unfinished video" in str(salvaged(host, file="").error)
