"""Which files a graph may name, and which a menu offers."""

import importlib
import os
import shutil

import pytest


@pytest.fixture
def media(comfyui):
    return importlib.import_module("longtake.host.comfyui.media_folders")


@pytest.fixture
def own(comfyui, tmp_path):
    """An empty folder inside the input folder and one inside the output folder."""
    found = [comfyui.base / name / tmp_path.name for name in ("input", "output")]
    for folder in found:
        folder.mkdir(parents=True)
    yield found
    for folder in found:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("links")
def test_a_link_out_of_the_folders_is_outside_and_one_into_them_inside(media, own, tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (own[0] / "mine.mp4").write_bytes(b"mine")
    (own[0] / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "in.mp4").symlink_to(own[0] / "mine.mp4")
    assert not media.in_media_folders(own[0] / "out.mp4")
    assert not media.in_media_folders(tmp_path / "secret.mp4")
    assert not media.in_media_folders(own[0] / ".." / ".." / ".." / "elsewhere.mp4")
    assert media.in_media_folders(tmp_path / "in.mp4")
    assert media.media_named(f"{own[0].name}/out.mp4") is None
    assert media.media_named(f"{own[0].name}/mine.mp4") == own[0] / "mine.mp4"


def test_a_menu_offers_no_hidden_file_and_the_newest_output_first(media, own, monkeypatch):
    for age, name in enumerate(
        ("new.xyz", "middle.xyz", "old.xyz", ".unfinished.xyz", "other.txt")
    ):
        (own[1] / name).write_bytes(b"")
        os.utime(own[1] / name, (2**31 - age, 2**31 - age))
    (own[0] / "deep.xyz").write_bytes(b"")  # ComfyUI's own menus show no folders of the input
    names = [f"{own[1].name}/{name}.xyz [output]" for name in ("new", "middle", "old")]
    assert media.media_menu((".xyz",)) == names
    assert [media.find_media(name).name for name in names] == ["new.xyz", "middle.xyz", "old.xyz"]
    monkeypatch.setattr(media, "NEWEST", 2)
    assert media.media_menu((".xyz",)) == names[:2]
