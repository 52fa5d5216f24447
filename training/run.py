"""Runs a trainer in several processes, by the clock, with checkpoints that it resumes from."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors import safe_open
from safetensors.torch import save_file

from .optim import FlatOptimizer, place

LONGEST = 30.0  # seconds of a step; what takes longer was suspended


def spawn(worker: Callable[..., None], processes: int, *args: object) -> None:
    """`worker(*args)` in each of several single-threaded processes that average gradients.

    On a CPU two processes of one thread each beat one process of two threads: small operations
    do not pay for waking a second thread.
    """
    with TemporaryDirectory() as folder:
        mp.spawn(_enter, (processes, f"file://{folder}/meet", worker, args), nprocs=processes)


def _enter(rank: int, world: int, meet: str, worker: Callable[..., None], args: tuple) -> None:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
    worker(*args)
    dist.destroy_process_group()


class Clock:
    """How far a run of so many minutes has come; stopped while nothing runs, suspended or ended."""

    def __init__(self, minutes: float):
        self.minutes, self.spent, self._since = minutes, 0.0, time.monotonic()

    def tick(self) -> float:
        """Fraction of the run that is over, the same in every process."""
        now = time.monotonic()
        self.spent += min(now - self._since, LONGEST) / 60
        self._since = now
        shared = torch.tensor([self.spent])
        if place()[1] > 1:
            dist.broadcast(shared, 0)
        return min(1.0, shared.item() / self.minutes)


def rate_scale(progress: float, steps: int, decay: float = 0.6, warm_up: int = 40) -> float:
    """Learning-rate factor: a short rise, a plateau, a straight fall over the last part."""
    return min(1.0, (steps + 1) / warm_up) * min(1.0, max(0.02, (1 - progress) / decay))


def save(path: Path, optimizer: FlatOptimizer, clock: Clock, seen: int) -> None:
    """Write a checkpoint beside the old one, then put it in its place."""
    if place()[0]:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"spent": clock.spent, "seen": seen}
    save_file(optimizer.state(), path.with_suffix(".new"), {"run": json.dumps(facts)})
    path.with_suffix(".new").replace(path)


def resume(path: Path, optimizer: FlatOptimizer, clock: Clock) -> int:
    """Take up the run in `path`, if there is one. Returns the samples seen so far."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["run"])
        optimizer.load({k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118 - no mapping
    clock.spent = facts["spent"]
    return facts["seen"]
