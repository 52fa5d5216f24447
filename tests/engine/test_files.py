"""What others hold is waited for, and what Windows asks for is done there."""

import ctypes
import errno
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from longtake.engine import files
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
