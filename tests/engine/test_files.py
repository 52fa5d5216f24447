"""What others hold is waited for, and what Windows asks for is done there."""

import ctypes
import errno
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from longtake.engine import files
from longtake.engine.container.formats import FORMATS
from longtake.engine.media.writer import write_video


@pytest.fixture
def refusals(monkeypatch):
    """A call that is refused so many times; and how long was waited in all."""
    waited = []
    monkeypatch.setattr(files.time, "sleep", waited.append)

    def refused(times, number=errno.EACCES):
        calls = iter(range(times))

        def call():
            if next(calls, None) is not None:
                raise PermissionError(number, "held")
            return "done"

        return call

    return refused, waited


@pytest.mark.parametrize("times", [0, 1, files.TRIES])
def test_a_refusal_that_passes_is_waited_out(refusals, times):
    refused, waited = refusals
    assert files.patiently(refused(times)) == "done"
    assert sum(waited) == pytest.approx(times * files.PAUSE)


def test_one_that_lasts_is_raised_after_half_a_second(refusals):
    refused, waited = refusals
    with pytest.raises(PermissionError):
        files.patiently(refused(files.TRIES + 1))
    assert sum(waited) == pytest.approx(0.5)


def test_what_no_waiting_changes_is_raised_at_once(refusals):
    refused, waited = refusals
    with pytest.raises(PermissionError):
        files.patiently(refused(1, errno.EPERM))
    assert not waited


@pytest.fixture
def scanned(monkeypatch):
    """Each file is refused three times to those who would change it, as while a scanner reads it;
    how often that was."""
    refused, of_path, of_os = Counter(), Path.open, os.open

    def refuse(path, changes):
        if changes and Path(path).is_file() and refused[Path(path).suffix] < 3:
            refused[Path(path).suffix] += 1
            raise PermissionError(errno.EACCES, "it is being used by another process")

    def path_open(path, mode="r", *words, **more):
        refuse(path, mode == "r+b")
        return of_path(path, mode, *words, **more)

    def os_open(path, flags, *words, **more):
        refuse(path, flags & os.O_APPEND)
        return of_os(path, flags, *words, **more)

    monkeypatch.setattr(files, "PAUSE", 0)
    monkeypatch.setattr(Path, "open", path_open)
    monkeypatch.setattr(os, "open", os_open)
    return refused


@pytest.mark.parametrize("name", ["mp4 h264", "webp"])
def test_a_film_that_is_scanned_before_it_has_its_name_gets_it(tmp_path, scanned, name):
    form = FORMATS[name]
    path = tmp_path / f"a{form.suffix}"
    frames = np.zeros((3, 34, 58, 3), np.uint8)
    write_video(path, [frames], Fraction(8), form=form, metadata={"workflow": {}})
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert scanned == {form.suffix: 3}


def test_a_ledger_that_is_scanned_gets_its_line(tmp_path, scanned):
    file = tmp_path / "lines.jsonl"
    for line in (b"a", b"b"):
        files.append_line(file, line)
    assert file.read_bytes() == b"a\nb\n"
    assert scanned == {".jsonl": 3}


def test_a_video_in_the_making_is_hidden_on_windows(tmp_path, monkeypatch):
    hidden = []

    def attributes(path, value):
        hidden.append((path, value, [file.name for file in tmp_path.iterdir()]))

    kernel = SimpleNamespace(SetFileAttributesW=attributes)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    frames = np.zeros((3, 34, 58, 3), np.uint8)
    write_video(tmp_path / "a.mp4", [frames], Fraction(8))
    assert not hidden
    monkeypatch.setattr(files, "WINDOWS", True)
    write_video(tmp_path / "b.mp4", [frames], Fraction(8))
    ((path, value, there),) = hidden
    assert value == 2  # FILE_ATTRIBUTE_HIDDEN
    assert path.endswith(".part.mp4")
    assert path.rpartition("/")[2] in there  # attributes are set of what is there


def test_a_folder_is_tried_for_writing(tmp_path):
    assert files.is_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not files.is_writable(tmp_path / "gone")
