"""A driver's side: the parts of a take go to workers, and their windows into its own store."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from comfy.model_management import InterruptProcessingException

from ...engine.canvas.plan import Window
from ...engine.cluster.address import HERE, workers_address
from ...engine.cluster.crowd import Crowd
from ...engine.cluster.cut_graph import ApiGraph, cut, link_in, values_in_place
from ...engine.files import patiently
from ...engine.take.fingerprint import digest
from ...engine.take.window_store import unpacked
from ...models.errors import InputError
from ..comfyui.graph import without_notes
from ..comfyui.node_text import show_text
from ..comfyui.progress import check_cancelled
from ..take.sampler import TakeSampler, in_a_row
from .graph_terms import inputs_by_hash, kind_of_device, lists_in, terms_of
from .shift import TERMS_NODE, ClipOut, Shift

DRIVERS_OWN = ("keep", "workers")  # inputs of Long Take that say nothing of its windows
VARIATIONS = "LongtakeVariations"
SEEDS = 2**64
SEEDS_AHEAD = 8  # takes that are begun while an earlier one is finished
LOOK = 0.1  # seconds between two looks at Cancel

Place = tuple[int, int]  # a clip's number, and that of a part of it


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
        question = {"1": {"class_type": TERMS_NODE, "inputs": {"asked": asked}}}
        clips = {(0, *place): clip for place, clip in self._clips(self._sampler, named, True)}
        for ahead, seed in enumerate(self._later_seeds(), start=1):
            later = TakeSampler(self._sampler.recipe.with_seed(seed), self._sampler.store)
            graph = {**named, self.node: _with_input(named[self.node], "seed", seed)}
            clips |= {(ahead, *place): clip for place, clip in self._clips(later, graph, False)}
        connect = partial(self._connect, self.address)
        self._shift = Shift(connect, clips, terms, json.dumps(question), files, notes=self.notes)
        self._shift.begin()

    def _later_seeds(self) -> list[int]:
        """The seeds that Variations will ask for after this one, where it gives this node's."""
        given = given_by_variations(self.graph, self.node)
        first, count, seed = given.get("seed"), given.get("count"), self.values.get("seed")
        if not all(isinstance(number, int) for number in (first, count, seed)):
            return []
        at = (seed - first) % SEEDS + 1  # after the largest they go on from 0
        return [(first + n) % SEEDS for n in range(at, min(count, at + SEEDS_AHEAD))]

    def _clips(
        self, sampler: TakeSampler, named: ApiGraph, own: bool
    ) -> Iterator[tuple[Place, ClipOut]]:
        """The parts of a take of which something is missing."""
        title = "" if own else f" with seed {sampler.recipe.sampling.seed}"
        for number, keys in enumerate(sampler.keys or ()):
            parts = sampler.parts(number)
            for p, windows in enumerate(parts):
                place, all_keys = (number, p), [keys[window] for window in windows]
                needed = needed_windows(sampler, place)
                missing = sum(not sampler.store.has(keys[window]) for window in needed)
                if not missing:
                    continue
                job = {"clip": number, "part": p, "keys": all_keys, "kind": kind_of_device()}
                job["id"] = digest(all_keys)
                node = _with_input(named[self.node], "job", json.dumps(job))
                graph = {**named, self.node: {**node, "class_type": "LongtakeClip"}}
                part = f", part {p + 1} of {len(parts)}" if len(parts) > 1 else ""
                clip = ClipOut(
                    f"clip {number + 1}{part}{title}",
                    job["id"],
                    json.dumps(graph),
                    partial(self._is_there, sampler, place),
                    partial(self._files_of, sampler, place),
                    partial(self._keep, sampler, place),
                    own,
                    missing * sampler.recipe.sampling.steps,
                )
                yield place, clip

    def _key(self, sampler: TakeSampler, number: int, window: Window, kind: str) -> str:
        """Of a window made on a kind of device: another's are never taken for our own."""
        key = sampler.keys[number][window]
        return key if kind == kind_of_device() else digest(key, kind)

    def _is_there(self, sampler: TakeSampler, place: Place, kind: str) -> bool:
        windows = needed_windows(sampler, place)
        return all(sampler.store.has(self._key(sampler, place[0], w, kind)) for w in windows)

    def _files_of(self, sampler: TakeSampler, place: Place) -> dict[str, bytes]:
        found = {}
        for window in needed_windows(sampler, place):
            key = sampler.keys[place[0]][window]
            with suppress(OSError):
                found[key] = patiently(sampler.store.path(key).read_bytes)
        return found

    def _keep(
        self, sampler: TakeSampler, place: Place, nth: int, data: bytes, there: str, kind: str
    ) -> None:
        """Put a window that came into the store. Raises ValueError if it is damaged."""
        number, window = place[0], needed_windows(sampler, place)[nth]
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
        sampler, shift = self._sampler, self._shift
        parts = sampler.parts(number)
        place = number, next(p for p, windows in enumerate(parts) if window in windows)
        key = (0, *place)
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
                    return self._as_made(place, clip)
                if shift.rota.is_home(key):
                    return False
                shift.changed.wait(LOOK)
            steps = sum(c.steps for c in shift.clips.values() if c.own)
            what = f"{clip.name} is sampled elsewhere"
            sampler.progress.elsewhere(steps, what, self._at_work())

    def _as_made(self, place: Place, clip: ClipOut) -> bool:
        """Have a part that is done looked up under the keys that it was stored by."""
        sampler, kind, (number, _) = self._sampler, clip.kind, place
        if not self._is_there(sampler, place, kind):  # the disk is full
            return False
        if kind != kind_of_device():
            windows = needed_windows(sampler, place)
            sampler.keys[number] |= {w: self._key(sampler, number, w, kind) for w in windows}
            sampler.foreign |= {(number, window) for window in windows}
        return True


def given_by_variations(graph: ApiGraph, node: str) -> Mapping[str, Any]:
    """The inputs of the Variations that gives a node its seed; nothing where none does."""
    source = link_in(graph[node].get("inputs", {}).get("seed"), graph)
    if source is None or graph[source]["class_type"] != VARIATIONS:
        return {}
    return graph[source].get("inputs", {})


def address_with_seeds(graph: ApiGraph | None, node: str | None) -> str | None:
    """Where the workers are that Variations names, if it gives a node its seed; None for home.

    Raises:
        InputError: if that is no address, or not to be read in the graph.
    """
    if not graph or node not in graph:
        return None
    asked = given_by_variations(graph, node).get("workers", HERE)
    if link_in(asked, graph) is not None:
        raise InputError(
            "workers of Variations comes from another node, where Long Take cannot read it: write "
            "it there, or connect it to workers of Long Take."
        )
    return workers_address(asked)


def needed_windows(sampler: TakeSampler, place: Place) -> list[Window]:
    """The windows of a part of a clip in which something is to be sampled."""
    number, part = place
    known = sampler.recipe.known[number]
    return [w for w in sampler.parts(number)[part] if known.whole(w) is None]


def _with_input(node: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**node, "inputs": {**node["inputs"], name: value}}


def _without(graph: ApiGraph, node: str) -> dict[str, Any]:
    return {key: one for key, one in graph.items() if key != node}
