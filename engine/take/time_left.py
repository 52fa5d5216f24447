"""How long a take will take, and how much room: said before its first step, better after each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

SMALL = 512  # width of a small network's matrices, which keep a CPU busy
GROWS = 1.1  # times as fast as half as large ones: even larger ones may be faster still
BUSY = 0.4  # of a device's rate at one large product, what a whole network reaches


def step_operations(parameters: int, tokens: int, width: int, depth: int, prompts: int) -> float:
    """Floating point operations of one step of a video transformer.

    Args:
        parameters: of the network, each of which multiplies every token once.
        tokens: of the video.
        width, depth: channels and blocks; self-attention's two products grow with tokens squared.
        prompts: 2 with a negative prompt, 1 without.
    """
    return prompts * (2.0 * parameters * tokens + 4.0 * tokens**2 * width * depth)


def operations_a_second(seconds: Callable[[int], float], largest: int) -> float:
    """A device's rate at products large enough to keep it busy.

    A card takes longer to be told of a small one than to compute it.

    Args:
        seconds: that one product of two n × n matrices takes.
        largest: n beyond which it is not asked.
    """
    n, best = SMALL, 0.0
    while n <= largest:
        rate = 2 * n**3 / max(seconds(n), 1e-9)
        if rate < GROWS * best:
            return max(rate, best)
        n, best = 2 * n, rate
    return best


class Clock:
    """Time left of work that is counted in steps, and in pieces that are decoded between them.

    Args:
        steps: of all the work.
        guess: seconds a step, for before the first one.
        pieces: to be decoded; what one takes is known after the first.
        now: seconds, as `time.monotonic`.
    """

    def __init__(
        self, steps: int, guess: float, pieces: int = 0, now: Callable[[], float] = monotonic
    ):
        self.steps, self.guess, self.pieces, self._now = steps, guess, pieces, now
        self._begun, self._done = now(), 0
        self._decoded, self._decoding = 0, 0.0  # pieces, and the seconds that they took
        self._stepping = 0.0  # seconds until the latest step, but those of decoding

    @property
    def has_decoded(self) -> bool:
        return self._decoded > 0

    def tick(self, done: int) -> None:
        """So many steps are done."""
        self._done = max(self._done, done)
        self._stepping = self._now() - self._begun - self._decoding

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """While a piece is decoded."""
        begun = self._now()
        yield
        self._decoded, self._decoding = self._decoded + 1, self._decoding + self._now() - begun

    @property
    def left(self) -> float:
        """Seconds until the end, by what the steps and pieces so far took."""
        step = self._stepping / self._done if self._done else self.guess
        piece = self._decoding / self._decoded if self._decoded else 0.0
        return max(0, self.steps - self._done) * step + max(0, self.pieces - self._decoded) * piece


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s", as people say it."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bytes_of(count: float) -> str:
    """3_000_000 -> "2.9 MiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 100 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"
