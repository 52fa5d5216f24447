"""The rules that all other tests are run by: see tests/windows_rules.py."""

import mmap
import os
import sys
from functools import partial

import pytest

from longtake.engine import files
from longtake.engine.files import discard, patiently

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its /proc tells what is open")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PAUSE", 0)
    made = tmp_path / "a.mp4"
    made.write_bytes(b"frames")
    return made


def test_what_is_open_is_neither_deleted_nor_renamed_by_the_pack(file):
    other = file.with_name("b.mp4")
    with file.open("rb"):
        discard(file)
        assert file.exists()
        for call in (os.rename, os.replace):
            with pytest.raises(PermissionError):
                patiently(partial(call, file, other))
    patiently(partial(file.replace, other))
    discard(other)
    assert not other.exists()


def test_what_is_mapped_is_not_deleted_by_the_pack(file):
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
    discard(file)
    assert file.exists()
    mapped.close()
    discard(file)
    assert not file.exists()


def test_a_rename_never_replaces(file):
    other = file.with_name("b.mp4")
    other.write_bytes(b"others")
    with pytest.raises(FileExistsError):
        patiently(partial(file.rename, other))
    assert other.read_bytes() == b"others"


def test_a_test_may_do_as_it_likes(file):
    with file.open("rb"):
        file.unlink()
    assert not file.exists()
