"""What a driver says to its workers, and when: one thread speaks to all of them in turns.

Each worker has a script, a generator that yields a question and is given the answer. So a worker
that is slow, busy or gone holds up nobody else.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...engine.cluster.crowd import (
    Call,
    Crowd,
    FailedCallError,
    LostWorkerError,
    UnreachableError,
)
from ...engine.cluster.rota import FAILURES, Rota
from ...engine.cluster.terms import Terms, what_differs, why_not

TURN = 0.05  # seconds between two rounds
POLL = 0.25  # between two questions how far a clip is
BUSY = 2.0  # until a worker that works for somebody else is asked again
LOOK = 3.0  # between two looks at who is there
SILENCE = 120.0  # after which a worker that does not answer is given up
PARTING = 3.0  # that may be spent on telling workers to stop
PIECE = 64 * 2**20  # bytes of an input file that travel at once
TERMS_NODE = "LongtakeTerms"  # that every worker has

Script = Generator[Call | float, Any, None]
log = logging.getLogger(__name__)


@dataclass
class ClipOut:
    """A clip that somebody else may sample.

    Attributes:
        name: "clip 3", say.
        id: of the piece of work; the same clip asked for again has the same.
        graph: what is to be run, as JSON.
        there: for a kind of device, whether its windows are in the store already.
        have: the windows of it that are in the store, by key.
        keep: puts a window into the store: (its place among the clip's, file, its key there, kind).
        own: whether the take at hand needs it, rather than one that comes later.
        all_steps: of it that were missing.
        steps: of it that are done.
        kind: of the device that it was made on.
    """

    name: str
    id: str
    graph: str
    there: Callable[[str], bool]
    have: Callable[[], dict[str, bytes]]
    keep: Callable[[int, bytes, str, str], None]
    own: bool = True
    all_steps: int = 0
    steps: int = 0
    kind: str = ""


@dataclass
class Shift:
    """The workers of a cluster at work on clips.

    Attributes:
        connect: to the cluster. Raises UnreachableError.
        clips: by what a rota calls them.
        terms: of this machine.
        terms_graph: asks a worker for its own.
        inputs: files that the graphs name, by the names that they have there.
        rota: who samples what.
        notes: what there is to say.
        settled: set once it is known who of those who are there takes part.
        at_work: what each worker does now, in words.
    """

    connect: Callable[[], Crowd]
    clips: Mapping[Any, ClipOut]
    terms: Terms
    terms_graph: str
    inputs: Mapping[str, Path]
    rota: Rota = field(init=False)
    notes: list[str] = field(default_factory=list)
    settled: threading.Event = field(default_factory=threading.Event)
    at_work: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.rota = Rota(self.clips)
        self.changed = threading.Condition()
        self._stop, self._undecided = threading.Event(), set[str]()
        self._kinds: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name="longtake-shift", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Everybody is told to stop."""
        self._stop.set()

    def end(self) -> None:
        """Everybody stops; returns as soon as they have been told, or after a few seconds."""
        self.stop()
        self._thread.join(PARTING + 1)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("longtake: %s", text.encode("ascii", "replace").decode())

    def _work(self) -> None:
        try:
            crowd = self.connect()
        except UnreachableError as error:
            self.note(f"{error}: the take is sampled here")
            self.settled.set()
            return
        try:
            self._rounds(crowd)
        except Exception as error:  # the take goes on without workers
            log.exception("longtake: workers cannot be spoken to any more")
            self.note(f"workers cannot be spoken to any more ({error})")
        finally:
            with self.changed:
                for name in list(self.rota.workers):
                    self.rota.lost(name)
                self.changed.notify_all()
            self.settled.set()
            crowd.close()

    def _rounds(self, crowd: Crowd) -> None:
        speakers: dict[str, Speaker] = {}
        looked, first = 0.0, True
        while not self._stop.is_set():
            if time.monotonic() - looked > LOOK or first:
                for name in self._names(crowd):
                    if name not in speakers:
                        self._undecided |= {name} if first else set()
                        speakers[name] = Speaker(self._serve(crowd, name))
                looked, first = time.monotonic(), False
            with self.changed:
                gone = [name for name, one in speakers.items() if not self._turn(name, one)]
                for name in gone:
                    if speakers.pop(name).lost:
                        self._undecided.discard(name)
                if not speakers and not self.rota.workers:
                    self._undecided.clear()
                if not self._undecided:
                    self.settled.set()
                self.changed.notify_all()
            self._stop.wait(TURN)
        self._part(crowd)

    def _names(self, crowd: Crowd) -> list[str]:
        refused = {name for name, why in self.at_work.items() if why == "refused"}
        return [name for name in crowd.names() if name not in refused]

    def _turn(self, name: str, speaker: "Speaker") -> bool:
        """One step of a worker's script. Returns whether it goes on."""
        try:
            return speaker.step()
        except LostWorkerError:
            speaker.lost = True
            clip = self.rota.lost(name)
            self.at_work.pop(name, None)
            what = f"; {self.clips[clip].name} goes elsewhere" if clip is not None else ""
            self.note(f"{name} was lost{what}")
        except FailedCallError as error:
            self.rota.lost(name)
            self._refuse(name, f"{name}: {error}")
        return False

    def _refuse(self, name: str, why: str) -> None:
        self.at_work[name] = "refused"
        self._undecided.discard(name)
        self.note(why)

    def _part(self, crowd: Crowd) -> None:
        """Whoever works for this take stops, unless the next one will ask for the same."""
        calls = [
            crowd.call(name, "cancel", self.clips[clip].id)
            for name, clip in self.rota.given.items()
            if self.clips[clip].own
        ]
        deadline = time.monotonic() + PARTING
        while not all(call.ready() for call in calls) and time.monotonic() < deadline:
            time.sleep(TURN)

    def _serve(self, crowd: Crowd, name: str) -> Script:
        """All that is said to one worker."""
        theirs = None
        while theirs is None:
            theirs = yield from self._terms_of(crowd, name)
            if theirs is None:
                self.at_work[name] = "busy"
                self._undecided.discard(name)
                yield BUSY
        if problem := why_not(self.terms, theirs, name):
            self._refuse(name, f"{problem}: it does not take part")
            return
        if differs := what_differs(self.terms, theirs, name):
            self.note(differs)
        for key, clip in self.clips.items():
            if key in self.rota.waiting and clip.there(theirs.kind):
                clip.kind = theirs.kind
                self.rota.found(key)
        self.rota.join(name)
        self._undecided.discard(name)
        while not self._stop.is_set():
            key = self.rota.next_for(name)
            if key is None:
                self.at_work[name] = "idle"
                yield POLL
            else:
                yield from self._give(crowd, name, key, theirs.kind)
                if name not in self.rota.workers:
                    self._refuse(name, f"{name} failed {FAILURES} times and gets no more")
                    return

    def _terms_of(self, crowd: Crowd, name: str) -> Generator[Call | float, Any, Terms | None]:
        """What a worker would sample with; None if it is busy. Raises FailedCallError."""
        self.at_work[name] = "compares its files"
        told: dict[str, Any] = {"status": "unknown"}
        while told["status"] == "unknown":  # the worker was started again meanwhile
            job = f"terms {time.monotonic_ns()}"
            try:
                busy = yield crowd.call(name, "begin", job, self.terms_graph, {})
            except FailedCallError as error:
                if TERMS_NODE not in str(error):
                    raise
                raise FailedCallError(f"its ComfyUI has no Longtake like ours: {error}") from None
            if busy:
                return None
            told = {"status": "running"}
            while told["status"] == "running":
                yield POLL
                told = json.loads((yield crowd.call(name, "state", job)))
        if told["status"] != "done":
            raise FailedCallError(told.get("error") or told["status"])
        try:
            return Terms.from_json(told["said"])
        except (KeyError, TypeError, ValueError):
            raise FailedCallError("it speaks another language") from None

    def _give(self, crowd: Crowd, name: str, key: Any, kind: str) -> Script:
        """One clip, from the question to its last window, or until it fails."""
        clip = self.clips[key]
        self.at_work[name] = clip.name
        try:
            busy = yield from self._sample(crowd, name, clip, kind)
        except (FailedCallError, ValueError) as error:  # ValueError: a window came damaged
            clip.steps = 0
            self.note(f"{name} failed on {clip.name}: {error}")
            self.rota.failed(name)
            return
        if busy:
            self.rota.hand_back(name)
            self.at_work[name] = busy
            yield BUSY
            return
        clip.kind, clip.steps = kind, clip.all_steps
        self.rota.finished(name)

    def _sample(
        self, crowd: Crowd, name: str, clip: ClipOut, kind: str
    ) -> Generator[Call | float, Any, str]:
        """Have a clip sampled. Returns why a worker has no time for it, or ""."""
        yield from self._send_inputs(crowd, name)
        have = clip.have() if kind == self.terms.kind else {}
        if busy := (yield crowd.call(name, "begin", clip.id, clip.graph, have)):
            return busy
        fetched: set[str] = set()
        while True:
            told = json.loads((yield crowd.call(name, "state", clip.id)))
            clip.steps = told.get("steps", 0)
            keys: Sequence[str] = told.get("keys", [])
            for place, there in enumerate(keys):
                if there not in fetched and there in told.get("finished", []):
                    clip.keep(place, (yield crowd.call(name, "window", there)), there, kind)
                    fetched.add(there)
            if told["status"] == "done" and keys and len(fetched) == len(keys):
                return ""
            if told["status"] != "running":
                raise FailedCallError(told.get("error") or "it was started again")
            yield POLL

    def _send_inputs(self, crowd: Crowd, name: str) -> Script:
        """The files that a worker does not have yet."""
        if not self.inputs:
            return
        for lacking in (yield crowd.call(name, "lacks", sorted(self.inputs))):
            file = self.inputs[lacking]
            with file.open("rb") as opened:
                at, data = 0, opened.read(PIECE)
                while data:
                    following = opened.read(PIECE)
                    yield crowd.call(name, "put", lacking, at, data, not following)
                    at, data = at + len(data), following


@dataclass
class Speaker:
    """A worker's script, and what it waits for."""

    script: Script
    lost: bool = False
    _call: Call | None = None
    _until: float = 0.0
    _begun: bool = False

    def step(self) -> bool:
        """Go on with the script if it need not wait. Returns whether there is more of it.

        Raises:
            LostWorkerError, FailedCallError: which the script did not catch.
        """
        now, answer = time.monotonic(), None
        if self._call is not None:
            if not self._call.ready():
                if now > self._until:
                    raise LostWorkerError
                return True
            try:
                answer = self._call.result()
            except FailedCallError as error:
                return self._wait_for(partial(self.script.throw, error))
        elif now < self._until:
            return True
        return self._wait_for(partial(self.script.send, answer))

    def _wait_for(self, go_on: Callable[[], Call | float]) -> bool:
        try:
            wanted = go_on()
        except StopIteration:
            return False
        now = time.monotonic()
        is_pause = isinstance(wanted, float)
        self._call = None if is_pause else wanted
        self._until = now + (wanted if is_pause else SILENCE)
        return True
