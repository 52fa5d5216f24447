"""A worker's side: a part of a take is sampled, and its windows stay in this machine's store."""

import json
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import folder_paths
from PIL import Image

from ...engine.files import patiently
from ...engine.take.window_store import WindowStore
from ...models.errors import InputError, OutputError
from ..comfyui.output import inside_output
from ..take.long_take import FOLDER, store_folder
from ..take.progress import TakeProgress
from ..take.recipe import Recipe
from ..take.sampler import TakeSampler
from .graph_terms import kind_of_device

PROGRESS_FILE = f"{FOLDER}/clip.json"  # in the output folder; `worker.py` reads it
OFTEN = 0.3  # seconds between two looks at it


class ClipJob(NamedTuple):
    """What a driver asks of a worker.

    Attributes:
        id: of this piece of work.
        clip: its number in the take.
        part: which of the clip's runs of windows, see `TakeSampler.parts`.
        keys: of their windows, as the driver has them.
        kind: of the driver's device; the keys are equal where it is.
    """

    id: str
    clip: int
    part: int
    keys: tuple[str, ...]
    kind: str

    @classmethod
    def read(cls, text: str) -> "ClipJob":
        """Raises InputError if it is no such thing."""
        try:
            told = json.loads(text)
            keys = tuple(map(str, told["keys"]))
            clip, part = int(told["clip"]), int(told["part"])
            return cls(str(told["id"]), clip, part, keys, str(told["kind"]))
        except (ValueError, KeyError, TypeError):
            raise InputError("job: what Long Take sends to a worker, and nothing else.") from None


class ClipProgress(TakeProgress):
    """Tells in a file how far a clip is: whoever runs this ComfyUI reads it.

    Args:
        job: whose clip.
        keys: of all its windows.
        windows: still to be sampled.
        steps: of each.
    """

    def __init__(self, job: ClipJob, keys: list[str], windows: int, steps: int):
        super().__init__(windows, steps, 1.0, 0)
        self._told_of = {"job": job.id, "keys": keys, "steps": steps, "windows": windows}
        self._at = 0.0
        self.write(0)

    def show(self, step: int, frames: list[Image.Image]) -> None:
        super().show(step, frames)
        if time.monotonic() - self._at > OFTEN:
            self.write((self._window - 1) * self.steps + step)

    def write(self, done: int) -> None:
        self._at = time.monotonic()
        path = Path(folder_paths.get_output_directory()) / PROGRESS_FILE
        part = path.with_suffix(".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({**self._told_of, "done": done}), encoding="utf-8")
        patiently(lambda: part.replace(path))


def sample_clip(recipe: Recipe, job: ClipJob) -> Mapping[str, Any]:
    """Sample one part of a take into this machine's store.

    Returns:
        What became of it: "keys" of its windows, in order.

    Raises:
        InputError: if this machine would make other windows than the one that asks.
        OutputError: if a window cannot be kept.
    """
    inside_output(PurePosixPath(PROGRESS_FILE))
    store = WindowStore(store_folder())
    sampler = TakeSampler(recipe, store)
    if sampler.keys is None:
        raise InputError(f"{sampler.why_not} in the graph cannot be compared.")
    if job.clip not in range(len(sampler.keys)):
        raise InputError(f"there is no clip {job.clip}: the take has {len(sampler.keys)}.")
    by_window, parts = sampler.keys[job.clip], sampler.parts(job.clip)
    windows = parts[job.part] if job.part in range(len(parts)) else ()
    keys = tuple(by_window[window] for window in windows)
    if not windows or (job.kind == kind_of_device() and keys != job.keys):
        raise InputError(
            "the windows would be others than those asked for, although the device and all files "
            "are alike: a node of the graph gives something else on this machine."
        )
    known = recipe.known[job.clip]
    needed = [by_window[window] for window in windows if known.whole(window) is None]
    missing = sum(not store.has(key) for key in needed)
    sampler.progress = ClipProgress(job, needed, missing, recipe.sampling.steps)
    with sampler.progress:
        for window, _ in zip(windows, sampler.windows(job.clip, windows), strict=True):
            if known.whole(window) is None and not store.has(by_window[window]):
                raise OutputError(
                    f"a window cannot be kept in {store.folder}: is the worker's disk full?"
                )
    sampler.progress.write(missing * recipe.sampling.steps)
    store.tidy()
    return {"job": job.id, "keys": needed}
