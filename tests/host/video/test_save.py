"""What is left behind when a video cannot be saved: nothing."""

import errno
import importlib
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.engine.container.formats import FORMATS, Quality
from longtake.engine.container.publish import RESERVE, writing_bytes
from longtake.engine.media.displayed import Look
from longtake.engine.media.writer import write_video
from longtake.models.errors import OutputError
from tests.host.video.conftest import files


@pytest.fixture
def save(pack):
    return importlib.import_module("longtake.host.video.save").save_video


def test_a_part_of_the_name_that_is_a_file_is_reported(save, made, comfyui):
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
    monkeypatch.setattr("longtake.engine.container.publish.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save(made, "stub", {})
    assert files(output) == before


def test_hidden_files_that_are_held_cost_no_video(save, made, comfyui, monkeypatch):
    """By a scanner, on Windows, where nothing that is open can be deleted."""
    from longtake.host.video.save import SaveOptions

    left, delete = set(), os.unlink

    def held(path, **more):
        if ".ready" in Path(path).name:
            left.add(Path(path).suffix)
            raise PermissionError(errno.EACCES, "held")
        return delete(path, **more)

    monkeypatch.setattr("longtake.engine.files.PAUSE", 0)
    with monkeypatch.context() as until_here:
        until_here.setattr(os, "unlink", held)
        saved = save(made, "held/a", {}, SaveOptions(picture="poster"))
    assert saved.path.is_file()
    assert left == {".mp4", ".png"}
    names = {file.name for file in files(comfyui.base / "output" / "held")}
    assert {name for name in names if name[0] != "."} == {"a_00001_.mp4", "a_00001_.png"}


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


def test_without_a_free_name_nothing_is_left(save, made, comfyui, monkeypatch):
    from longtake.host.video.save import SaveOptions

    output = comfyui.base / "output"
    (output / "only.mp4").write_bytes(b"somebody's")
    before = files(output)
    monkeypatch.setattr("longtake.host.video.save.numbered_names", lambda *_: [output / "only.mp4"])
    with pytest.raises(OutputError, match="every name"):
        save(made, "only", {}, SaveOptions(picture="poster"))
    assert files(output) == before
    assert (output / "only.mp4").read_bytes() == b"somebody's"


class Disk:
    """A disk with so many bytes free above what is always left."""

    def __init__(self, free: int):
        self.free = RESERVE + free

    def __call__(self, _):
        return self


def test_a_file_must_fit_twice(save, made, comfyui, monkeypatch):
    size = Path(made.get_stream_source()).stat().st_size
    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", Disk(2 * size - 1))
    with pytest.raises(OutputError, match="free some space"):
        save(made, "fits", {})
    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", Disk(2 * size))
    assert save(made, "fits", {}).path.is_file()


def test_frames_in_memory_must_fit_as_estimated(save, comfyui, monkeypatch):
    from comfy_api.latest import InputImpl, Types

    images = torch.zeros(5, 32, 48, 3)
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=8))
    need = writing_bytes(5, 48, 32)
    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", Disk(need - 1))
    with pytest.raises(OutputError, match="free some space"):
        save(video, "frames", {})
    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", Disk(need))
    assert save(video, "frames", {}).path.is_file()


@pytest.mark.parametrize(
    ("options", "change", "copied"),
    [
        ({}, {}, True),
        ({"form": "mkv h264"}, {}, True),
        ({"form": "mp4 h265"}, {}, False),
        ({}, {"codec": "hevc"}, False),
        ({}, {"container": "matroska"}, False),
        ({}, {"pixel_format": "yuv444p"}, False),
        ({"form": "mkv h264"}, {"pixel_format": "yuv444p"}, True),
        ({}, {"look": Look((16, 16), rotation=90)}, True),
        ({"form": "mkv h264"}, {"look": Look((16, 16), rotation=90)}, False),
        ({"crf": 21}, {}, True),
        ({"crf": 22}, {}, False),
    ],
)
def test_only_what_is_as_asked_for_is_copied(pack, tmp_path, options, change, copied):
    from comfy_api.latest import InputImpl

    from longtake.host.video.footage import open_video
    from longtake.host.video.save import SaveOptions, may_be_copied

    path = tmp_path / "a.mp4"
    write_video(path, [np.zeros((3, 16, 16, 3), np.uint8)], Fraction(8), quality=Quality(crf=21))
    form, quality = FORMATS[options.get("form", "mp4 h264")], Quality(options.get("crf"))
    with open_video(InputImpl.VideoFromFile(str(path))) as footage:
        other = replace(footage, facts=replace(footage.facts, **change))
        assert may_be_copied(other, SaveOptions(form, quality)) == copied
        assert not may_be_copied(replace(footage, file=None, facts=None), SaveOptions())
