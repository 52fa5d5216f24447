"""Films in ComfyUI's temp folder: there while somebody has them, made again once they are gone."""

import os
from pathlib import Path

import pytest

from longtake.models.errors import InputError
from tests.engine.clips import clip


@pytest.fixture
def films(comfyui, tmp_path, monkeypatch):
    from longtake.host.comfyui import films

    monkeypatch.setattr("folder_paths.get_temp_directory", lambda: str(tmp_path))
    return films


def test_a_film_goes_with_the_last_video_of_it_but_for_the_newest(films, tmp_path):
    kept = films.film(clip(films.temporary_file("kept")))
    for _ in range(3 * films.SHOWN):
        films.film(clip(films.temporary_file("gone")), [clip(films.temporary_file("beside"))])
    assert sum(file.name.startswith("gone") for file in tmp_path.iterdir()) == films.SHOWN
    assert sum(file.name.startswith("beside") for file in tmp_path.iterdir()) == films.SHOWN
    assert Path(kept.get_stream_source()).is_file()


def test_a_part_of_it_keeps_the_whole(films):
    whole = films.film(clip(films.temporary_file("whole")))
    path = Path(whole.get_stream_source())
    trims = hasattr(type(whole).__base__, "as_trimmed")
    part = whole.as_trimmed(0, 0.5, False) if trims else whole  # an older host trims none
    del whole
    assert type(part.get_stream_source()) is str  # PyAV 19 takes no kind of it
    films._newest.clear()
    assert path.is_file()
    del part
    assert not path.exists()


def test_one_that_is_gone_is_said_once_and_counted(films):
    from longtake.host.video.footage import open_video

    before, video = films.films_lost(), films.film(clip(films.temporary_file("a")))
    path = Path(video.get_stream_source())
    assert films.films_lost() == before
    path.unlink()
    assert films.films_lost() != before
    assert films.films_lost() == films.films_lost()
    with pytest.raises(InputError, match=f"the file of this VIDEO is gone: {path.name}"):
        open_video(video).__enter__()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are Unix's")
def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(comfyui, tmp_path, monkeypatch):
    from comfy_api.latest import InputImpl

    from longtake.host.comfyui.media_folders import media_menu
    from longtake.host.provenance.credentials import file_behind
    from longtake.host.video.footage import open_video

    monkeypatch.setattr("folder_paths.get_input_directory", lambda: str(tmp_path))
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dir.mp4").mkdir()
    for name in ("pipe.mp4", "dir.mp4"):
        video = InputImpl.VideoFromFile(str(tmp_path / name))
        for use in (lambda v: open_video(v).__enter__(), file_behind):
            with pytest.raises(InputError, match="no ordinary file"):
                use(video)
    assert not {"pipe.mp4", "dir.mp4"} & set(media_menu((".mp4",)))
