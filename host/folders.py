"""Names in a loader's menu, and the files they stand for."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import folder_paths

from ..models.errors import CheckpointError, InputError

BUILT_IN = "nano (built in)"
NANO = Path(__file__).resolve().parent.parent / "models" / "nano"
FOLDERS: Mapping[str, str] = {  # kind of network -> ComfyUI's name for its folders
    "dit": "diffusion_models",
    "vae": "vae",
    "text_encoder": "text_encoders",
}
READABLE = (".safetensors", ".sft", ".safetensors.index.json")


def menu(kind: str) -> list[str]:
    """What a loader of this kind offers: the built-in model, then the files in its folders."""
    files = folder_paths.get_filename_list(FOLDERS[kind])
    return [BUILT_IN, *(name for name in files if name.lower().endswith(READABLE))]


def find(kind: str, name: str) -> Path:
    """The file behind a menu entry.

    Raises:
        InputError: for a name that the menu does not have, with the nearest that it has.
        CheckpointError: if the built-in weights are not where they belong.
    """
    if name == BUILT_IN:
        return built_in(kind)
    folder = FOLDERS[kind]
    names = folder_paths.get_filename_list(folder)
    # Only names from the list: a path made up by hand could lead anywhere on the disk.
    path = folder_paths.get_full_path(folder, name) if name in names else None
    if path is None:
        raise InputError(not_there(name, folder, menu(kind)))
    return Path(path)


def built_in(kind: str) -> Path:
    path = NANO / f"{kind}.safetensors"
    if not path.is_file():
        raise CheckpointError(
            f"the built-in model is incomplete: '{path.name}' is not in {NANO}. Update or "
            f"reinstall Longtake."
        )
    return path


def not_there(name: str, folder: str, offered: list[str]) -> str:
    short = Path(name.replace("\\", "/")).name
    near = difflib.get_close_matches(short, offered, n=3, cutoff=0.4)
    hint = f"Nearest: {', '.join(map(repr, near))}." if near else f"There is {offered[0]!r}."
    if not name.lower().endswith(READABLE):
        hint = f"Only .safetensors files are read. {hint}"
    return f"there is no {name!r} in ComfyUI's folder {folder}. {hint}"
