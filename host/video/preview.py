"""What the browser shows of a saved video."""

from pathlib import Path, PurePosixPath
from typing import Any

from ...engine.container.formats import Format
from ...engine.media.reader import media_facts, read_frames
from ...engine.media.still import POSTER, write_still
from ..comfyui.films import shown, temporary_file
from .save import SavedVideo


def preview_of(saved: SavedVideo, form: Format) -> dict[str, Any]:
    """A node's `ui`: the video, or a frame of one that browsers do not play; and all its files."""
    names = [saved.name] + ([saved.picture] if saved.picture else [])
    files = [_entry(name, "output") for name in names]
    if form.suffix == ".mkv" or form.codec == "hevc":
        return {"images": [_entry(_poster(saved.path), "temp")], "files": files}
    animated = {} if form.name == "gif" else {"animated": (True,)}  # a gif is an image that moves
    return {"images": files[:1], **animated, "files": files}


def _poster(video: Path) -> PurePosixPath:
    path, facts = shown(temporary_file("preview", ".png")), media_facts(video)
    write_still(path, read_frames(video), facts.frames, facts.fps, POSTER, {})
    return PurePosixPath(path.name)


def _entry(file: PurePosixPath, kind: str) -> dict[str, str]:
    folder = "" if str(file.parent) == "." else str(file.parent)
    return {"filename": file.name, "subfolder": folder, "type": kind}
