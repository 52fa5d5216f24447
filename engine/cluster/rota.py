"""Which worker samples which clip, what becomes of a clip whose worker fails."""

from collections import Counter
from collections.abc import Hashable, Iterable

FAILURES = 3  # of a clip, until it is sampled at home; of a worker in a row, until it gets no more


class Rota:
    """The clips of takes, given out in order to whoever is free.

    A clip that failed goes elsewhere, first of all those that wait. Pure bookkeeping: who calls
    it says when a worker is free, done, or gone.

    Args:
        clips: what is to be sampled, in the order in which it is needed.
    """

    def __init__(self, clips: Iterable[Hashable]):
        self.waiting = list(clips)
        self.workers: set[str] = set()  # that may be given something
        self.given: dict[str, Hashable] = {}
        self.done: set[Hashable] = set()
        self.home: set[Hashable] = set()  # that nobody else gets any more
        self._failed: Counter[Hashable] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._failed_on: set[tuple[Hashable, str]] = set()

    def join(self, worker: str) -> None:
        self.workers.add(worker)

    def next_for(self, worker: str) -> Hashable | None:
        """What a free worker is to sample now; None for nothing."""
        if worker not in self.workers:
            return None
        others = self.workers - {worker}
        for clip in self.waiting:
            elsewhere = any((clip, other) not in self._failed_on for other in others)
            if (clip, worker) in self._failed_on and elsewhere:
                continue
            self.waiting.remove(clip)
            self.given[worker] = clip
            return clip
        return None

    def found(self, clip: Hashable) -> None:
        """It is there already."""
        if clip in self.waiting:
            self.waiting.remove(clip)
        self.done.add(clip)

    def finished(self, worker: str) -> None:
        self.done.add(self.given.pop(worker))
        self._in_a_row[worker] = 0

    def hand_back(self, worker: str) -> None:
        """A worker had no time for it, which is nobody's fault."""
        self._again(self.given.pop(worker))

    def failed(self, worker: str) -> bool:
        """A worker's clip failed. Returns whether that worker may be given another."""
        clip = self.given.pop(worker)
        self._failed[clip] += 1
        self._failed_on.add((clip, worker))
        self._again(clip)
        self._in_a_row[worker] += 1
        if self._in_a_row[worker] < FAILURES:
            return True
        self.workers.discard(worker)
        return False

    def lost(self, worker: str) -> Hashable | None:
        """A worker is gone. Returns the clip that it had."""
        self.workers.discard(worker)
        clip = self.given.pop(worker, None)
        if clip is not None:
            self._failed[clip] += 1
            self._again(clip)
        return clip

    def _again(self, clip: Hashable) -> None:
        if self._failed[clip] < FAILURES:
            self.waiting.insert(0, clip)
        else:
            self.home.add(clip)

    def is_home(self, clip: Hashable) -> bool:
        """Whether a clip that is needed now has to be sampled at home; if so, nobody else gets it.

        So it is if it failed too often, or if there is nobody to sample it.
        """
        if clip in self.home:
            return True
        if clip in self.waiting and not self.workers:
            self.waiting.remove(clip)
            self.home.add(clip)
        return clip in self.home
