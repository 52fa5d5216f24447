"""The menus of loaders, and the weights files behind their entries."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import folder_paths

from ...models.errors import CheckpointError, InputError
from ...models.weights_file import INDEX, SHARD

BUILT_IN = "nano (built in)"
NANO = Path(__file__).resolve().parents[2] / "models" / "nano"
FOLDERS: Mapping[str, str] = {  # kind of network -> ComfyUI's name for its folders
    "dit": "diffusion_models",
    "vae": "vae",
    "text_encoder": "text_encoders",
}
READABLE = (".safetensors", ".sft", INDEX)


def weights_menu(kind: str) -> list[str]:
    """Entries for a kind of network: the built-in model, then the files in its folders.

    A checkpoint in several parts is one entry: its index, or without one its first part.
    """
    files = folder_paths.get_filename_list(FOLDERS[kind])
    readable = [name for name in files if name.lower().endswith(READABLE)]
    return [BUILT_IN, *dict.fromkeys(_checkpoint_entry(FOLDERS[kind], name) for name in readable)]


def _checkpoint_entry(folder: str, name: str) -> str:
    """The menu entry of the checkpoint that a file is, or is a part of."""
    match = SHARD.fullmatch(name)
    if match is None:
        return name
    index, path = f"{match['stem']}{INDEX}", folder_paths.get_full_path(folder, name)
    if path is not None and (Path(path).parent / Path(index.replace("\\", "/")).name).is_file():
        return index
    return f"{match['stem']}-{1:0{len(match['number'])}}-of-{match['count']}.safetensors"


def find_weights(kind: str, name: str) -> Path:
    """The file behind a menu entry.

    Raises:
        InputError: for a name that is not in the menu, with the nearest that are.
        CheckpointError: if the built-in weights are missing.
    """
    if name == BUILT_IN:
        return built_in_weights(kind)
    folder = FOLDERS[kind]
    names = folder_paths.get_filename_list(folder)
    # Only names from the list: a path made up by hand could lead anywhere on the disk.
    path = folder_paths.get_full_path(folder, name) if name in names else None
    if path is None and name.endswith(INDEX):  # ComfyUI lists no .json: it lies beside its parts
        part = next(
            (n for n in names if SHARD.fullmatch(n) and _checkpoint_entry(folder, n) == name), None
        )
        path = part and Path(folder_paths.get_full_path(folder, part)).parent / Path(name).name
    if path is None:
        raise InputError(no_such_file(name, folder, weights_menu(kind)))
    return Path(path)


def built_in_weights(kind: str) -> Path:
    """The file of the built-in model. Raises CheckpointError if it is missing."""
    path = NANO / f"{kind}.safetensors"
    if not path.is_file():
        raise CheckpointError(
            f"the built-in model is incomplete: '{path.name}' is not in {NANO}. Update or "
            f"reinstall Longtake."
        )
    return path


def no_such_file(name: str, folder: str, offered: list[str]) -> str:
    """A message for a name that is not in a menu, with the nearest that are."""
    short = Path(name.replace("\\", "/")).name
    near = difflib.get_close_matches(short, offered, n=3, cutoff=0.4)
    hint = f"Nearest: {', '.join(map(repr, near))}." if near else f"There is {offered[0]!r}."
    if not name.lower().endswith(READABLE):
        hint = f"Only .safetensors files are read. {hint}"
    return f"there is no {name!r} in ComfyUI's folder models/{folder}: put the file there. {hint}"
