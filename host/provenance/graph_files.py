"""The files that the widgets of a graph's nodes name: weights, pictures, clips, sound."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import folder_paths

from ..comfyui.folders import BUILT_IN, built_in_weights

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".gif")
PICTURES_AND_SOUND = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff"),
    *(".wav", ".mp3", ".flac", ".m4a", ".ogg"),
)
MEDIA = VIDEOS + PICTURES_AND_SOUND
WEIGHTS = (".safetensors", ".sft", ".safetensors.index.json", ".gguf", ".ckpt", ".pt", ".pth")
NO_WEIGHTS = {"custom_nodes", "configs"}  # among ComfyUI's model folders
LOADERS = {  # node -> kind of the built-in weights
    "LongtakeLoadModel": "dit",
    "LongtakeLoadTextEncoder": "text_encoder",
    "LongtakeLoadVAE": "vae",
}
MAX_NAME = 1024  # characters


def file_names(node: Mapping[str, Any], suffixes: tuple[str, ...]) -> Iterator[str]:
    """The texts in a node's widgets that end like a file's name."""
    for value in node.get("inputs", {}).values():
        if isinstance(value, str) and len(value) <= MAX_NAME:
            plain = value.rsplit(" [", 1)[0] if value.endswith("]") else value
            if plain.lower().endswith(suffixes):
                yield value


def weights_of(node: Mapping[str, Any]) -> Iterator[tuple[str, str, Path]]:
    """(kind, name, file) of the weights that a node loads, be it of this pack or another."""
    kind = LOADERS.get(node["class_type"])
    if kind and node.get("inputs", {}).get("file") == BUILT_IN:
        yield kind, BUILT_IN, built_in_weights(kind)
    for name in file_names(node, WEIGHTS):
        for folder in sorted(set(folder_paths.folder_names_and_paths) - NO_WEIGHTS):
            if name in folder_paths.get_filename_list(folder):
                path = folder_paths.get_full_path(folder, name)
                if path is not None:
                    yield folder, name, Path(path)
                break
