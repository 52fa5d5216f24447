"""Tables of words in ComfyUI's user folder: longtake/styles.json, longtake/camera.json."""

from pathlib import Path

import folder_paths

FOLDER = "longtake"


def user_table(name: str) -> Path:
    """Where a user's own table lies, if there is one."""
    return Path(folder_paths.get_user_directory()) / FOLDER / name


def table_version(name: str) -> str:
    """Changes when the file does, so that nodes run again; nothing private is in it."""
    try:
        found = user_table(name).stat()
    except OSError:
        return ""
    return f"{found.st_size} bytes, {found.st_mtime_ns}"
