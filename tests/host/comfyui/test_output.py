"""No name, however it is put together, leads out of the output folder."""

import errno
import importlib
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtake.models.errors import LongtakeError

PIECES = ["..", ".", "/", "\\", "a", "inside", "out", "loop", "file", "%year%", "C:", "~", " ", "x"]


@pytest.fixture
def output(pack, links, tmp_path, monkeypatch):
    """An output folder with links in it: within, out of it, to itself."""
    module = importlib.import_module("longtake.host.comfyui.output")
    folder = tmp_path / "output"
    (folder / "a" / "x").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (folder / "file").write_bytes(b"")
    (folder / "inside").symlink_to("a", target_is_directory=True)
    (folder / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "a" / "out").symlink_to("../../elsewhere", target_is_directory=True)
    (folder / "loop").symlink_to("loop")
    monkeypatch.setattr(
        "longtake.host.comfyui.output.folder_paths.get_output_directory", lambda: str(folder)
    )
    return module


@settings(max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_no_name_leads_out(output, tmp_path, prefix):
    try:
        output.check_prefix(prefix)
        name = output.safe_name(output.fill_in_dates(prefix, 16, 16))
        folder = output.folder_for(name)
    except (LongtakeError, OSError):
        folder = None
    if folder is not None:
        assert folder.resolve().is_relative_to(tmp_path / "output")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("prefix", ["out/x", "a/out/x", "inside/out/x", r"a\\out\\x"])
def test_links_out_are_refused(output, prefix):
    with pytest.raises(LongtakeError, match="leads out of the output folder"):
        output.check_prefix(prefix)


def test_links_within_are_followed(output, tmp_path):
    output.check_prefix("inside/x")
    folder = output.folder_for(output.safe_name("inside/y/x"))
    assert folder.resolve() == tmp_path / "output" / "a" / "y"


def test_dates_are_filled_in_as_cores_save_nodes_have_them(output, monkeypatch):
    now = time.strptime("2026-03-07 09:05:01", "%Y-%m-%d %H:%M:%S")
    strftime = time.strftime
    monkeypatch.setattr(output.time, "strftime", lambda code: strftime(code, now))
    prefix = "%date:yyyy-MM-dd%/%year%_%date:yy.M.d hh-mm-ss h%_%width%x%height%"
    assert output.fill_in_dates(prefix, 64, 48) == "2026-03-07/2026_26.3.7 09-05-01 9_64x48"
    output.check_prefix("%date:yyyy-MM-dd%/a")
    with pytest.raises(LongtakeError, match="':' cannot be in a file's name"):
        output.check_prefix("%date:hh:mm%")


def test_a_folder_that_takes_no_files_is_found_before_anything_is_made(
    output, tmp_path, monkeypatch
):
    """As on Windows, where os.access says that every folder may be written to."""
    real = Path.open

    def refusing(path, mode="r", **more):
        if path.parent == tmp_path / "output" / "a" and "r" not in mode:
            raise PermissionError(errno.EACCES, "Access is denied")
        return real(path, mode, **more)

    monkeypatch.setattr(output.os, "access", lambda *_: True)
    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(LongtakeError, match="'a/take' cannot be saved: its folder is not writable"):
        output.check_prefix("a/take")
    output.check_prefix("take")
    assert not [path for path in (tmp_path / "output").rglob("*") if path.suffix == ".part"]


def test_a_path_too_long_for_windows_is_found_before_anything_is_made(
    output, tmp_path, monkeypatch
):
    folders = tmp_path / "output" / "a" / ("x" * 60)
    prefix = f"a/{folders.name}/" + "y" * (259 - 45 - len(str(folders)))  # one too many
    output.check_prefix(prefix)
    monkeypatch.setattr("longtake.engine.files.WINDOWS", True)
    monkeypatch.setattr("longtake.engine.files._has_long_paths", lambda: False)
    output.check_prefix(prefix[:-1])
    with pytest.raises(LongtakeError, match="longer than the 259 characters that Windows takes"):
        output.check_prefix(prefix)
    monkeypatch.setattr("longtake.engine.files._has_long_paths", lambda: True)
    output.check_prefix(prefix)


def test_a_folder_that_is_a_file_is_named(output):
    with pytest.raises(LongtakeError, match="'file' is not a folder"):
        output.check_prefix("file/x")
