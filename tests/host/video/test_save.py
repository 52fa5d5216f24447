"""What is left behind when a video cannot be saved: nothing."""

import importlib

import pytest

from longtake.models.errors import OutputError
from tests.host.video.conftest import files


@pytest.fixture
def save(pack):
    return importlib.import_module("longtake.host.video.save").save_video


def test_a_part_of_the_name_that_is_a_file_is_told(save, made, comfyui):
    output = comfyui.base / "output"
    (output / "taken").write_bytes(b"")
    before = files(output)
    with pytest.raises(OutputError, match="the file cannot be written: "):
        save(made, "taken/x", {})
    assert files(output) == before


def test_a_disk_that_fails_leaves_no_stub(save, made, comfyui, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    output = comfyui.base / "output"
    before = files(output)
    monkeypatch.setattr("longtake.engine.media.publish.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save(made, "stub", {})
    assert files(output) == before


def test_a_name_taken_meanwhile_is_passed_over(save, made, comfyui, monkeypatch):
    first = save(made, "quick", {})
    # as if it were not there yet
    monkeypatch.setattr(
        importlib.import_module("longtake.host.comfyui.output"), "highest_number", lambda *_: 0
    )
    second = save(made, "quick", {})
    assert first.path.name == "quick_00001_.mp4"
    assert second.name.as_posix() == "quick_00002_.mp4"
    assert second.path.read_bytes() == first.path.read_bytes()
