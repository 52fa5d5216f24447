"""SHA-256 of files, each computed once: weights are gigabytes, and rarely change."""

import hashlib
import json
import secrets
from contextlib import suppress
from pathlib import Path

import folder_paths

from ...engine.files import discard, patiently
from .node_text import show_text
from .progress import check_cancelled

CHUNK = 8 * 2**20  # bytes read at a time
LARGE = 2**28  # bytes of a file whose hash takes long: it is announced, and stored on disk
_known: dict[str, str] = {}


def sha256_of(file: Path) -> str:
    """The hex digest of a file; that of a large one is stored until the file changes."""
    state = file.stat()
    key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    if key not in _known and state.st_size >= LARGE:
        _known.update(_stored())
    if key not in _known:
        if state.st_size >= LARGE:
            show_text(f"SHA-256 of {file.name}, once…")
        _known[key] = _compute(file)
        if state.st_size >= LARGE:
            _store(key, _known[key])
    return _known[key]


def _compute(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(CHUNK):
            check_cancelled()
            found.update(piece)
    return found.hexdigest()


def _store_file() -> Path:
    return Path(folder_paths.get_system_user_directory("longtake")) / "file_hashes.json"


def _stored() -> dict[str, str]:
    try:
        found = json.loads(_store_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # it only saves time
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _store(key: str, value: str) -> None:
    file = _store_file()
    part = file.with_name(f".{secrets.token_hex(4)}.part")
    with suppress(OSError):  # without it the next start takes longer
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({**_stored(), key: value}, indent=1), encoding="utf-8")
            patiently(lambda: part.replace(file))
        finally:
            discard(part)
