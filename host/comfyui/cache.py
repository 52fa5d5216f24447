"""One copy of a weights file, however many loaders, graphs or workflow tabs ask for it.

References are weak: ComfyUI's own cache of node outputs decides how long a model lives, so that
/free, memory pressure and interrupted graphs work as everywhere. Whoever wants models to stay may
set a number of bytes for that.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import comfy.model_management as mm
from comfy.model_patcher import ModelPatcher

from ...models.weights_file import shards


class Key(NamedTuple):
    """What tells two sets of loaded weights apart."""

    file: Path
    bytes: int
    mtime_ns: int
    kind: str
    dtype: str
    family: str = ""

    @classmethod
    def of(cls, path: Path, kind: str, dtype: str, family: str = "") -> "Key":
        """The key of a file as it is now: a file written anew is another one.

        A checkpoint of several files has the bytes of all, and the time of the latest.
        """
        found = [part.stat() for part in {path, *shards(path)}]
        size, time = sum(f.st_size for f in found), max(f.st_mtime_ns for f in found)
        return cls(path.resolve(), size, time, kind, dtype, family)


@dataclass(frozen=True)
class Entry:
    """One loaded model; `str` of it is a line of a report."""

    key: Key
    bytes: int  # of its weights in memory
    on_device: int  # of these, how many are on the device it computes on
    device: str
    kept: bool  # held by the cache itself, not only by a graph

    @property
    def where(self) -> str:
        """Where the weights are, as "cuda:0", "cpu" or "cuda:0 40 %, cpu 60 %"."""
        share = round(100 * self.on_device / self.bytes) if self.bytes else 0
        if share == 0 or self.device == "cpu":
            return "cpu"
        return self.device if share >= 100 else f"{self.device} {share} %, cpu {100 - share} %"

    @property
    def file(self) -> str:
        """The file's name and its folder's, as "vae/wan_2.1.safetensors"."""
        return f"{self.key.file.parent.name}/{self.key.file.name}"

    def __str__(self) -> str:
        kind, size = self.key.kind.replace("_", " "), f"{self.bytes / 2**20:,.1f} MiB"
        return f"{self.file}  {kind}  {self.key.dtype}  {size}  {self.where}"


class LoadedModels:
    """Shares what loaders make. Values are MODEL, CLIP or VAE objects."""

    def __init__(self):
        self._alive: WeakValueDictionary[Key, Any] = WeakValueDictionary()
        self._kept: OrderedDict[Key, Any] = OrderedDict()
        self._room = 0
        self._lock = RLock()

    def get(self, key: Key, load: Callable[[], Any]) -> Any:
        """What is loaded under `key`, calling `load` only if no live copy exists.

        MODEL and CLIP come as clones, which nodes may patch; below them is one set of weights.
        """
        with self._lock:  # one load at a time: two at once would double the peak
            root = self._alive.get(key)
            if root is None:
                root = self._alive[key] = load()
            self._keep(key, root)
            return share(root)

    def entries(self) -> list[Entry]:
        """Everything that is loaded, the largest first."""
        with self._lock:
            live = list(self._alive.items())
            entries = [entry_of(key, root, key in self._kept) for key, root in live]
        return sorted(entries, key=lambda entry: -entry.bytes)

    def drop(self, key: Key) -> bool:
        """Take a model off its device and forget it; returns whether it was there.

        A graph that holds it goes on with its own copy in RAM until it is run anew.
        """
        with self._lock:
            root = self._alive.pop(key, None)
            self._kept.pop(key, None)
        if root is None:
            return False
        unload(patcher_of(root))
        return True

    def drop_named(self, part: str) -> list[Entry]:
        """Drop all models with `part` in their file's name; returns what they were."""
        meant = [entry for entry in self.entries() if part.lower() in entry.file.lower()]
        for entry in meant:
            self.drop(entry.key)
        return meant

    def retain(self, room: int) -> None:
        """Keep the models used last, up to `room` bytes of weights, when no graph holds them.

        0, as at the start, keeps none. What is kept does not go away with POST /free.
        """
        with self._lock:
            self._room = room
            self._make_room()

    def _keep(self, key: Key, root: Any) -> None:
        if self._room:
            self._kept[key] = root
            self._kept.move_to_end(key)
            self._make_room()

    def _make_room(self) -> None:
        while sum(patcher_of(root).model_size() for root in self._kept.values()) > self._room:
            self._kept.popitem(last=False)


def patcher_of(root: Any) -> ModelPatcher:
    """The patcher in a MODEL (which is one), CLIP or VAE."""
    return root if isinstance(root, ModelPatcher) else root.patcher


def share(root: Any) -> Any:
    """A handle for one more user, which keeps the root alive as long as it or a copy lives."""
    if not hasattr(root, "clone"):
        return root  # a VAE: nodes do not change it
    clone = root.clone()
    if clone is not root and not isinstance(clone, ModelPatcher):
        # A CLIP's clone knows its patcher's parent, but not the CLIP it came from.
        clone.patcher.attachments["longtake_root"] = root
    return clone


def entry_of(key: Key, root: Any, kept: bool) -> Entry:
    patcher = patcher_of(root)
    device = str(patcher.load_device)
    return Entry(key, patcher.model_size(), patcher.loaded_size(), device, kept)


def unload(patcher: ModelPatcher) -> None:
    """Take a model's weights off their device, by whichever of its clones they were loaded."""
    loaded = mm.current_loaded_models
    for at in reversed(range(len(loaded))):
        if loaded[at].model is not None and patcher.is_clone(loaded[at].model):
            loaded.pop(at).model_unload()
    mm.soft_empty_cache()


models = LoadedModels()
