"""What this machine would sample a graph with, and the files that go with a graph."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management as mm
import torch
from comfyui_version import __version__ as comfyui_version

import nodes  # ComfyUI's module, not the folder of this pack

from ...engine.cluster.cut_graph import ApiGraph
from ...engine.cluster.terms import Terms
from ...engine.provenance.signing import version
from ...models.errors import LongtakeError
from ...models.weights_file import shards
from ..comfyui.file_hash import sha256_of
from ..comfyui.media_folders import media_named
from ..provenance.graph_files import MEDIA, file_names, weights_of
from ..take.weights_hash import computed_on

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("engine", "host", "models", "nodes")  # folders of ROOT


def terms_of(graph: ApiGraph, files: Sequence[str] | None = None) -> Terms:
    """What this machine would sample a graph with.

    Args:
        graph: cut down to what travels, as the asking machine has it.
        files: "folder/name" of the weights that machine found, of which the hashes here are
            wanted; None for those that this machine finds.
    """
    found = {name: file for node in graph.values() for name, file in _weights_named(node)}
    hashes = {name: _hash_of(file) for name, file in found.items()}
    if files is not None:
        hashes = {name: hashes.get(name, "") for name in files}
    known = nodes.NODE_CLASS_MAPPINGS
    unknown = {node["class_type"] for node in graph.values()} - set(known)
    return Terms(pack_version(), comfyui_version, kind_of_device(), hashes, tuple(sorted(unknown)))


def _weights_named(node: Mapping[str, Any]) -> list[tuple[str, Path]]:
    try:
        return [(f"{folder}/{name}", file) for folder, name, file in weights_of(node)]
    except LongtakeError:  # the built-in model is incomplete
        return []


def _hash_of(file: Path) -> str:
    """SHA-256 of weights; of a checkpoint in parts, of the hashes of its parts."""
    parts = [sha256_of(part) for part in shards(file)]
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


@cache
def pack_version() -> str:
    """The pack's version, and a hash of its programs: "0.3.0 (1a2b3c4d)"."""
    found = hashlib.sha256()
    for folder in PROGRAMS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            found.update(file.relative_to(ROOT).as_posix().encode())
            found.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return f"{version()} ({found.hexdigest()[:8]})"


def kind_of_device() -> str:
    """The device and what computes on it. Where it is the same, numbers are rounded alike."""
    device, *more = computed_on(mm.get_torch_device())
    words = [f"{device} with {more[0]} threads"] if device == "cpu" else [device, *map(str, more)]
    attention = comfy.ldm.modules.attention.optimized_attention.__name__
    return ", ".join([*words, f"torch {torch.__version__}", attention])


def inputs_by_hash(graph: ApiGraph) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """A graph whose files are named by their hashes, and these files.

    So a picture is sent once, whatever it is called in which graph, and none replaces another.

    Returns:
        (the graph, the files by what they are called in it).
    """
    named: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    for key, node in graph.items():
        inputs = dict(node["inputs"])
        texts = set(file_names(node, MEDIA))
        for name, value in inputs.items():
            file = media_named(value) if isinstance(value, str) and value in texts else None
            if file is not None:
                inputs[name] = f"{sha256_of(file)}{file.suffix.lower()}"
                files[inputs[name]] = file
        named[key] = {**node, "inputs": inputs}
    return named, files


def lists_in(graph: ApiGraph) -> list[str]:
    """Classes of nodes that give lists: what follows them runs once for each entry."""
    known = nodes.NODE_CLASS_MAPPINGS
    classes = (node["class_type"] for node in graph.values())
    return sorted({name for name in classes if any(_gives_list(known.get(name)))})


def _gives_list(node: Any) -> Sequence[bool]:
    return getattr(node, "OUTPUT_IS_LIST", None) or ()
