"""What a video was made from, according to its graph: models, files, earlier takes.

The graph is the only record that the nodes of every pack pass on.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nodes  # ComfyUI's module, not the folder of this pack

from ...engine.provenance.signing import SourceFile, Statement
from ..comfyui.file_hash import sha256_of
from ..comfyui.graph import without_notes
from ..comfyui.media_folders import media_named
from .graph_files import MEDIA, VIDEOS, file_names, weights_of

Graph = Mapping[str, Mapping[str, Any]]
SAVE = "LongtakeSaveVideo"
KEEPERS = {"LongtakeRegion", "LongtakeExpandCanvas"}  # nodes that keep most pixels of their clip
GENERATORS = {"LongtakeInterpolate"}  # nodes that make frames with a network but without a MODEL
MAX_SOURCES = 64
MAX_SAVES = 256  # that are remembered; the graph of each may be large


class SavedFiles(NamedTuple):
    """What one node of a graph saved in its latest run.

    Attributes:
        prompt: the graph, the same object throughout a run.
        files: in the order in which they were saved.
    """

    prompt: Graph
    files: list[Path]


_saved: dict[str, SavedFiles] = {}  # by hash of a node and all upstream of it


def statement_of(prompt: Graph | None, node: str | None) -> Statement:
    """What can be said of a video that arrives at a node.

    Args:
        prompt: the graph, in API form.
        node: id of the node; where it is not in the graph, as in expanded ones, all nodes count.
    """
    if not prompt:
        return Statement(generated=False)
    upstream = _upstream(prompt, node)
    files = [file for key in upstream for file in _files_of(prompt, key)]
    return Statement(
        generated=any(_generates(prompt[key]["class_type"]) for key in upstream),
        workflow=graph_hash(prompt),
        models=tuple(dict.fromkeys((k, sha256_of(f)) for key in upstream
                                   for k, _, f in weights_of(prompt[key]))),
        sources=tuple(_sources(dict.fromkeys(files), _kept(prompt, upstream))),
    )  # fmt: skip


def weights_in(prompt: Graph | None, node: str | None) -> list[str]:
    """The names of the files of weights that a video at a node was made with."""
    keys = _upstream(prompt, node) if prompt else ()
    return [file.name for key in keys for *_, file in weights_of(prompt[key])]


def graph_hash(prompt: Graph) -> str:
    """SHA-256 of a graph in API form, as it is embedded in the file but with keys sorted."""
    text = json.dumps(without_notes(prompt), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def remember_saved(prompt: Graph | None, node: str | None, file: Path) -> None:
    """Remember what a node saved, for nodes that use its output in the same graph."""
    if not prompt or node not in prompt:
        return
    key = _upstream_hash(prompt, node)
    before = _saved.pop(key, None)
    same_run = before is not None and before.prompt is prompt
    _saved[key] = SavedFiles(prompt, [*(before.files if same_run else []), file])
    for oldest in list(_saved)[:-MAX_SAVES]:
        del _saved[oldest]


def _upstream(prompt: Graph, node: str | None) -> list[str]:
    """Ids of the nodes that a node depends on, the nearest first, up to those that saved a file."""
    if node not in prompt:
        return list(prompt)
    found, waiting = dict.fromkeys([node]), [node]
    for key in waiting:  # grows
        if key != node and _saved_by(prompt, key):
            continue
        for value in prompt[key].get("inputs", {}).values():
            if _is_link(value, prompt) and value[0] not in found:
                found[value[0]] = None
                waiting.append(value[0])
    return waiting[1:]


def _is_link(value: Any, prompt: Graph) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] in prompt


def _saved_by(prompt: Graph, key: str) -> Path | None:
    """The file that a save node of the graph made; None if it made none or several."""
    if prompt[key]["class_type"] != SAVE:
        return None
    saved = _saved.get(_upstream_hash(prompt, key))
    return saved.files[0] if saved and len(saved.files) == 1 and saved.files[0].is_file() else None


def _upstream_hash(prompt: Graph, node: str) -> str:
    found, waiting = {node}, [node]
    for key in waiting:  # grows
        links = (v for v in prompt[key].get("inputs", {}).values() if _is_link(v, prompt))
        new = [link[0] for link in links if link[0] not in found]
        found.update(new)
        waiting.extend(dict.fromkeys(new))
    return graph_hash({key: prompt[key] for key in found})


def _generates(class_type: str) -> bool:
    """Whether a node gives a MODEL, or frames that a model made here or behind an API."""
    node = nodes.NODE_CLASS_MAPPINGS.get(class_type)
    loads_model = "MODEL" in (getattr(node, "RETURN_TYPES", None) or ())
    return loads_model or bool(getattr(node, "API_NODE", False)) or class_type in GENERATORS


def _files_of(prompt: Graph, key: str) -> Iterator[Path]:
    """Media files that a node reads from ComfyUI's folders, or saved there."""
    saved = _saved_by(prompt, key)
    if saved:
        yield saved
        return
    for text in file_names(prompt[key], MEDIA):
        file = media_named(text)
        if file is not None:
            yield file


def _kept(prompt: Graph, keys: Iterable[str]) -> set[Path]:
    """Files of which a node among these keeps pixels as they are: it edits them."""
    clips = [
        prompt[key]["inputs"].get("clip") for key in keys if prompt[key]["class_type"] in KEEPERS
    ]
    nodes = {
        key
        for clip in clips
        if _is_link(clip, prompt)
        for key in (clip[0], *_upstream(prompt, clip[0]))
    }
    return {file for key in nodes for file in _files_of(prompt, key)}


def _sources(files: Mapping[Path, None], kept: Container[Path]) -> Iterator[SourceFile]:
    edited = [file for file in files if file.suffix.lower() in VIDEOS]
    parent = next(iter([*edited, *(file for file in files if file in kept)]), None)
    for file in list(files)[:MAX_SOURCES]:
        yield SourceFile(file, sha256_of(file), "parent" if file == parent else "input")
