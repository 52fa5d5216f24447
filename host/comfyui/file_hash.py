"""SHA-256 of files, each computed once: weights are gigabytes, and seldom change."""

import hashlib
import json
import secrets
from pathlib import Path

import folder_paths

from .node_text import show_text
from .progress import check_cancelled

PIECE = 8 * 2**20
LARGE = 2**28  # bytes from which on it takes long enough to say so, and to keep the result
_known: dict[str, str] = {}


def sha256_of(file: Path) -> str:
    """The hex digest of a file; of large ones it is kept until the file changes."""
    state = file.stat()
    key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    if key not in _known and state.st_size >= LARGE:
        _known.update(_kept())
    if key not in _known:
        if state.st_size >= LARGE:
            show_text(f"SHA-256 of {file.name} for the credentials, once…")
        _known[key] = _computed(file)
        if state.st_size >= LARGE:
            _keep(key, _known[key])
    return _known[key]


def _computed(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            check_cancelled()
            found.update(piece)
    return found.hexdigest()


def _list() -> Path:
    return Path(folder_paths.get_system_user_directory("longtake")) / "file_hashes.json"


def _kept() -> dict[str, str]:
    try:
        found = json.loads(_list().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a note to save time, no more
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _keep(key: str, value: str) -> None:
    file = _list()
    part = file.with_name(f".{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({**_kept(), key: value}, indent=1), encoding="utf-8")
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
