"""A driver's side: the clips of a take go to workers, and their windows into its own store."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from comfy.model_management import InterruptProcessingException

from ...engine.canvas.plan import Window
from ...engine.cluster.crowd import Crowd
from ...engine.cluster.cut_graph import ApiGraph, cut, link_in, values_in_place
from ...engine.files import patiently
from ...engine.take.fingerprint import digest
from ...engine.take.window_store import unpacked
from ..comfyui.graph import without_notes
from ..comfyui.node_text import show_text
from ..comfyui.progress import check_cancelled
from ..take.sampler import TakeSampler, in_a_row
from .graph_terms import inputs_by_hash, kind_of_device, lists_in, terms_of
from .shift import ClipOut, Shift

DRIVERS_OWN = ("keep", "workers")  # inputs of Long Take that say nothing of its windows
VARIATIONS = "LongtakeVariations"
SEEDS_AHEAD = 8  # takes that are begun while an earlier one is finished
LOOK = 0.1  # seconds between two looks at Cancel
TELL = 1.0


def ray_crowd(address: str) -> Crowd:
    from .ray_workers import RayWorkers  # Ray is imported nowhere else

    return RayWorkers(address)


class Crew:
    """Has the clips of a take sampled by the workers of a cluster.

    Args:
        address: of the cluster.
        graph, node: of the take, in API form; None where there is no such thing.
        values: what the node was called with.
        connect: gives the workers at an address.

    Attributes:
        notes: see `Helpers`.
    """

    def __init__(
        self,
        address: str,
        graph: ApiGraph | None,
        node: str | None,
        values: Mapping[str, Any],
        connect: Callable[[str], Crowd] | None = None,
    ):
        self.address, self.node, self.values = address, node, values
        self.graph = without_notes(graph) if graph else {}
        self.notes: list[str] = []
        self._connect = connect or ray_crowd
        self._shift: Shift | None = None

    @property
    def names(self) -> list[str]:
        return sorted(self._shift.rota.workers) if self._shift else []

    @contextmanager
    def helping(self, sampler: TakeSampler) -> Iterator[None]:
        """For the time of a block the sampler's windows come from workers, as far as they can.

        Raises ComfyUI's interruption, which reaches the workers as well.
        """
        self._sampler, sampler.helpers = sampler, self
        if sampler.missing:
            if problem := self._why_at_home():
                self.notes.append(f"{problem}: the take is sampled here")
            else:
                self._begin()
        try:
            if self._shift:
                self._wait_until_settled()
            yield
        finally:
            if self._shift:
                self._shift.end()

    def _why_at_home(self) -> str:
        """Why the take cannot go elsewhere."""
        if self.node not in self.graph:
            return "workers need the graph, and this node is not in it as it was queued"
        if self._sampler.keys is None:
            return f"{self._sampler.why_not} in the graph cannot be compared"
        if lists := lists_in(self._travels(self.values)):
            return f"{', '.join(lists)} in the graph makes a list, and a worker one take"
        return ""

    def _travels(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        inputs = values_in_place(self.graph, self.node, values)
        return cut(self.graph, self.node, {k: v for k, v in inputs.items() if k not in DRIVERS_OWN})

    def _begin(self) -> None:
        travels = self._travels(self.values)
        named, files = inputs_by_hash(travels)
        terms = terms_of({k: v for k, v in travels.items() if k != self.node})
        asked = json.dumps({"graph": _without(named, self.node), "files": sorted(terms.files)})
        question = {"1": {"class_type": "LongtakeTerms", "inputs": {"asked": asked}}}
        clips = {(0, n): clip for n, clip in self._clips(self._sampler, named, True)}
        for ahead, seed in enumerate(self._later_seeds(), start=1):
            later = TakeSampler(self._sampler.recipe.with_seed(seed), self._sampler.store)
            graph = {**named, self.node: _with_input(named[self.node], "seed", seed)}
            clips |= {(ahead, n): clip for n, clip in self._clips(later, graph, False)}
        connect = partial(self._connect, self.address)
        self._shift = Shift(connect, clips, terms, json.dumps(question), files, notes=self.notes)
        self._shift.begin()

    def _later_seeds(self) -> list[int]:
        """The seeds that Variations will ask for after this one, where it gives this node's."""
        source = link_in(self.graph[self.node]["inputs"].get("seed"), self.graph)
        if source is None or self.graph[source]["class_type"] != VARIATIONS:
            return []
        first, count = (self.graph[source]["inputs"].get(name) for name in ("seed", "count"))
        seed = self.values.get("seed")
        if not all(isinstance(number, int) for number in (first, count, seed)):
            return []
        return [s % 2**64 for s in range(seed + 1, first + count)][:SEEDS_AHEAD]

    def _clips(
        self, sampler: TakeSampler, named: ApiGraph, own: bool
    ) -> Iterator[tuple[int, ClipOut]]:
        """The clips of a take of which something is missing."""
        title = "" if own else f" with seed {sampler.recipe.sampling.seed}"
        for number, keys in enumerate(sampler.keys or ()):
            needed = needed_windows(sampler, number)
            missing = sum(not sampler.store.has(keys[window]) for window in needed)
            if not missing:
                continue
            job = {"clip": number, "keys": list(keys.values()), "kind": kind_of_device()}
            job["id"] = digest(job["keys"])
            node = _with_input(named[self.node], "job", json.dumps(job))
            graph = {**named, self.node: {**node, "class_type": "LongtakeClip"}}
            yield (
                number,
                ClipOut(
                    f"clip {number + 1}{title}",
                    job["id"],
                    json.dumps(graph),
                    partial(self._is_there, sampler, number),
                    partial(self._files_of, sampler, number),
                    partial(self._keep, sampler, number),
                    own,
                    missing * sampler.recipe.sampling.steps,
                ),
            )

    def _key(self, sampler: TakeSampler, number: int, window: Window, kind: str) -> str:
        """Of a window made on a kind of device: another's are never taken for our own."""
        key = sampler.keys[number][window]
        return key if kind == kind_of_device() else digest(key, kind)

    def _is_there(self, sampler: TakeSampler, number: int, kind: str) -> bool:
        windows = needed_windows(sampler, number)
        return all(sampler.store.has(self._key(sampler, number, w, kind)) for w in windows)

    def _files_of(self, sampler: TakeSampler, number: int) -> dict[str, bytes]:
        found = {}
        for window in needed_windows(sampler, number):
            key = sampler.keys[number][window]
            with suppress(OSError):
                found[key] = patiently(sampler.store.path(key).read_bytes)
        return found

    def _keep(
        self, sampler: TakeSampler, number: int, place: int, data: bytes, there: str, kind: str
    ) -> None:
        """Put a window that came into the store. Raises FailedCallError if it is damaged."""
        window = needed_windows(sampler, number)[place]
        latents = unpacked(data, there, in_a_row(sampler.shapes(number, window)))
        key, like = self._key(sampler, number, window, kind), sampler.likes[number][window]
        seed = sampler.noise[number][window.new[0]][0]
        sampler.store.save(key, latents, like, seed)

    def _wait_until_settled(self) -> None:
        """Until it is known who takes part, which is told before the first step."""
        at = 0
        while not self._shift.settled.wait(LOOK):
            check_cancelled()
            at += 1
            if at % 10 == 1:
                show_text(f"asking the workers at {self.address}…{self._at_work()}")
        if names := self.names:
            self.notes.insert(0, f"sampled by {', '.join(names)}")
        elif not self.notes:
            self.notes.append(f"no worker is free at {self.address}: the take is sampled here")

    def _at_work(self) -> str:
        return "".join(f"\n{name}: {what}" for name, what in sorted(self._shift.at_work.items())
                       if what != "refused")  # fmt: skip

    def brings(self, number: int, window: Window) -> bool:
        """See `Helpers`."""
        key, sampler, shift = (0, number), self._sampler, self._shift
        if shift is None or key not in shift.clips:
            return False
        clip = shift.clips[key]
        while True:
            try:
                check_cancelled()
            except InterruptProcessingException:
                shift.stop()  # before what there is becomes a video
                raise
            with shift.changed:
                if sampler.store.has(sampler.keys[number][window]):
                    return True
                if key in shift.rota.done:
                    return self._as_made(number, clip)
                if shift.rota.is_home(key):
                    return False
                shift.changed.wait(LOOK)
            steps = sum(c.steps for c in shift.clips.values() if c.own)
            sampler.progress.elsewhere(steps, f"{clip.name} is sampled elsewhere{self._at_work()}")

    def _as_made(self, number: int, clip: ClipOut) -> bool:
        """Have a clip that is done looked up under the keys that it was stored by."""
        sampler, kind = self._sampler, clip.kind
        if not self._is_there(sampler, number, kind):  # the disk is full
            return False
        if kind != kind_of_device():
            keys = sampler.keys[number]
            keys = {window: self._key(sampler, number, window, kind) for window in keys}
            sampler.keys[number] = keys
            sampler.foreign.add(number)
        return True


def needed_windows(sampler: TakeSampler, number: int) -> list[Window]:
    """The windows of a clip in which something is to be sampled."""
    known = sampler.recipe.known[number]
    return [w for w in sampler.recipe.take.clips[number].windows if known.whole(w) is None]


def _with_input(node: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**node, "inputs": {**node["inputs"], name: value}}


def _without(graph: ApiGraph, node: str) -> dict[str, Any]:
    return {key: one for key, one in graph.items() if key != node}
