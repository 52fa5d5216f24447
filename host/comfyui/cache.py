"""One copy of a weights file in memory, however many loaders, graphs or tabs use it.

References are weak: ComfyUI's own cache of node outputs decides how long a model lives, so that
/free, memory pressure and interrupted graphs work as they do for any other model. Models can be
retained beyond that, up to a number of bytes.
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
    """What distinguishes two sets of loaded weights.

    Attributes:
        file: real path.
        bytes, mtime_ns: of the file when it was loaded.
        kind: of network, as in folders.FOLDERS.
        dtype: as the user chose it.
        family: of the checkpoint, where the user chose it.
    """

    file: Path
    bytes: int
    mtime_ns: int
    kind: str
    dtype: str
    family: str = ""

    @classmethod
    def of(cls, path: Path, kind: str, dtype: str, family: str = "") -> "Key":
        """The key of a file as it is now; it changes when the file is rewritten.

        For a checkpoint of several files, `bytes` is their sum and `mtime_ns` that of the latest.
        """
        found = [part.stat() for part in {path, *shards(path)}]
        size, time = sum(f.st_size for f in found), max(f.st_mtime_ns for f in found)
        return cls(path.resolve(), size, time, kind, dtype, family)


@dataclass(frozen=True)
class Entry:
    """One loaded model; `str` of it is a line of a report.

    Attributes:
        key: see Key.
        bytes: of its weights in memory.
        on_device: how many of these are on the device that it computes on.
        device: that it computes on.
        retained: whether the cache keeps it alive, beside any graph.
    """

    key: Key
    bytes: int
    on_device: int
    device: str
    retained: bool

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
    """Shares MODEL, CLIP and VAE objects between loaders."""

    def __init__(self):
        self._alive: WeakValueDictionary[Key, Any] = WeakValueDictionary()
        self._retained: OrderedDict[Key, Any] = OrderedDict()
        self._room = 0
        self._lock = RLock()

    def get(self, key: Key, load: Callable[[], Any]) -> Any:
        """The model of a key, from `load` only if there is none alive.

        A MODEL or CLIP is a clone, which nodes may patch; all clones share one set of weights.
        """
        with self._lock:  # one load at a time: two at once would double the peak
            root = self._alive.get(key)
            if root is None:
                root = self._alive[key] = load()
            self._retain(key, root)
            return share(root)

    def entries(self) -> list[Entry]:
        """All loaded models, the largest first."""
        with self._lock:
            live = list(self._alive.items())
            entries = [_entry_of(key, root, key in self._retained) for key, root in live]
        return sorted(entries, key=lambda entry: -entry.bytes)

    def drop(self, key: Key) -> bool:
        """Take a model off its device and forget it; returns whether it was loaded.

        A graph that uses it keeps a copy in RAM until it runs again.
        """
        with self._lock:
            root = self._alive.pop(key, None)
            self._retained.pop(key, None)
        if root is None:
            return False
        _unload(patcher_of(root))
        return True

    def drop_named(self, part: str) -> list[Entry]:
        """Drop all models with `part` in their file's name; returns them."""
        meant = [entry for entry in self.entries() if part.lower() in entry.file.lower()]
        for entry in meant:
            self.drop(entry.key)
        return meant

    def retain(self, room: int) -> None:
        """Keep the most recently used models alive, up to `room` bytes, without any graph.

        The default is 0. POST /free does not remove what is retained.
        """
        with self._lock:
            self._room = room
            self._make_room()

    def _retain(self, key: Key, root: Any) -> None:
        if self._room:
            self._retained[key] = root
            self._retained.move_to_end(key)
            self._make_room()

    def _make_room(self) -> None:
        while sum(patcher_of(root).model_size() for root in self._retained.values()) > self._room:
            self._retained.popitem(last=False)


def patcher_of(root: Any) -> ModelPatcher:
    """The patcher in a MODEL (which is one), CLIP or VAE."""
    return root if isinstance(root, ModelPatcher) else root.patcher


def share(root: Any) -> Any:
    """A handle for one more user, which keeps the root alive as long as any clone of it."""
    if not hasattr(root, "clone"):
        return root  # a VAE: nodes do not change it
    clone = root.clone()
    if clone is not root and not isinstance(clone, ModelPatcher):
        # A CLIP's clone knows its patcher's parent, but not the CLIP it came from.
        clone.patcher.attachments["longtake_root"] = root
    return clone


def _entry_of(key: Key, root: Any, retained: bool) -> Entry:
    patcher = patcher_of(root)
    device = str(patcher.load_device)
    return Entry(key, patcher.model_size(), patcher.loaded_size(), device, retained)


def _unload(patcher: ModelPatcher) -> None:
    """Take a model's weights off their device, whichever of its clones they were loaded for."""
    loaded = mm.current_loaded_models
    for at in reversed(range(len(loaded))):
        if loaded[at].model is not None and patcher.is_clone(loaded[at].model):
            loaded.pop(at).model_unload()
    mm.soft_empty_cache()


models = LoadedModels()
