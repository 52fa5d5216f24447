"""VIDEOs that are files: which file, and which part of it; and those in ComfyUI's temp folder.

ComfyUI empties the folder only when it starts, and keeps a VIDEO as long as its graph is queued
unchanged. So a file goes with the last VIDEO of it, but for the newest few, which the browser may
still show. Somebody else may empty the folder at any time: `films_lost` tells.
"""

import io
import secrets
import weakref
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import Input, InputImpl

from ...engine.files import discard

SHOWN = 16  # of the newest files, which stay although nobody has them
UNTRIMMED = (0.0, 0.0)  # the window of a file that is not trimmed


class Film:
    """A file that is deleted once nobody has this object any more.

    Args:
        path: of the file.
        beside: paths of others that go with it.
    """

    def __init__(self, path: Path, beside: Iterable[Path] = ()):
        weakref.finalize(self, _delete, [path, *beside])


class FilmVideo(InputImpl.VideoFromFile):
    """A VIDEO that has its film, as its trimmed parts have. PyAV 19 takes no path but a plain str,
    so it cannot be the path itself that is waited for."""

    film: Film

    def as_trimmed(self, *words: Any, **more: Any) -> Any:  # newer hosts'
        part = super().as_trimmed(*words, **more)
        if part is not None:
            part.film = self.film
        return part


def file_source(video: Input.Video) -> str | io.BytesIO | None:
    """The path of a VIDEO's file, or what is in it; None for a VIDEO that is no file."""
    return video.get_stream_source() if isinstance(video, InputImpl.VideoFromFile) else None


def window_of(video: Input.Video) -> tuple[float, float] | None:
    """Which part of its file a VIDEO is: from when on and how long, in seconds; 0 s is to the end.

    None if it is no part of a file, or one that only ComfyUI can make: newer hosts may crop as well
    as trim, and do not say how; older ones trim without saying when a negative start is.
    """
    if type(video) not in (InputImpl.VideoFromFile, FilmVideo):
        return None
    cut = {name.rpartition("__")[2] for name, value in vars(video).items() if value}
    cut -= {"file", "film"}
    if not cut:
        return UNTRIMMED
    tell = getattr(video, "get_active_trim_window", None)
    return tell() if tell and cut <= {"start_time", "duration"} else None


_there: set[str] = set()  # paths of films that somebody has
_newest: deque[Film] = deque(maxlen=SHOWN)
_lost: list[str] = []


def temporary_file(stem: str, suffix: str = ".mp4") -> Path:
    """A new file name in ComfyUI's temp folder, which is emptied when ComfyUI starts."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stem}_{secrets.token_hex(8)}{suffix}"


def film(path: Path, beside: Iterable[Path] = ()) -> Input.Video:
    """A file in the temp folder as a VIDEO, which it and those `beside` it go with."""
    kept = Film(path, beside)
    _there.add(str(path))
    _newest.append(kept)
    video = FilmVideo(str(path))
    video.film = kept
    return video


def shown(path: Path) -> Path:
    """A file in the temp folder that only the browser shows, as one of the newest."""
    _newest.append(Film(path))
    return path


def films_lost() -> str:
    """For `fingerprint_inputs` of a node that makes films: it runs again once one is gone."""
    for path in list(_there):
        if not Path(path).is_file():
            _there.discard(path)
            _lost.append(path)
    return f"{len(_lost)} films lost"


def _delete(paths: list[Path]) -> None:
    for path in paths:
        _there.discard(str(path))
        discard(path)
