"""A training run: its steps, its log, the checkpoints it resumes from, and its processes.

Everything that a step sees is a function of the recipe and the step's number, so a run that was
killed resumes to the same weights, bit for bit, whether in one process or two. Its length is given
in steps, so neither a pause nor a busy machine changes anything.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from longtake.models.errors import CheckpointError

from .optim import FlatOptimizer, place

SHARDS = 2  # parts of every batch, for up to as many processes
SAVE_EVERY = 180.0  # seconds
Loss = Callable[[int], tuple[Tensor, Tensor]]  # step -> a shard's loss, and a number to log


class Training:
    """A run, at some step.

    Args:
        recipe: everything that determines its weights, for JSON; `steps` is its length.
        optimizer: of the network being trained.
        losses: one for each of this process's shards.
    """

    def __init__(self, recipe: dict, optimizer: FlatOptimizer, losses: Sequence[Loss]):
        self.recipe, self.optimizer, self.losses = recipe, optimizer, losses
        self.average: float | None = None  # running mean of the numbers to log
        self.gradient = 0.0  # its norm in the last step

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self.optimizer.step_count >= self.recipe["steps"]

    def step(self) -> None:
        """One step of the optimizer. Raises NotFiniteError if the gradient is not finite."""
        step = self.optimizer.step_count
        for loss_of in self.losses:
            loss, shown = loss_of(step)
            loss.backward()
            self.optimizer.gather()
            new = shown.item()
            self.average = new if self.average is None else 0.98 * self.average + 0.02 * new
        self.gradient = self.optimizer.step(rate_scale(step / self.recipe["steps"], step))

    def save(self, path: Path) -> None:
        """Write a checkpoint, from the first process only."""
        if place()[0] == 0:
            write_checkpoint(path, self.optimizer.state(), self.recipe)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint, if there is one."""
        if path.exists():
            self.optimizer.load(read_checkpoint(path)[0])

    def finish(self, path: Path, scores: Callable[["Training"], dict], every: int) -> None:
        """Train to the end, saving checkpoints; every `every` steps a line goes to the log."""
        self.resume(path)
        saved = time.monotonic()
        while not self.done:
            self.step()
            if self.done or self.optimizer.step_count % every == 0:
                self.log(path.with_suffix(".jsonl"), scores)
            if time.monotonic() - saved > SAVE_EVERY:
                self.save(path)
                saved = time.monotonic()
        self.save(path)

    def log(self, path: Path, scores: Callable[["Training"], dict]) -> None:
        """Append a line of JSON to a file, and print it.

        A step repeated after a kill is there twice, with the same numbers. `core_minutes` is the
        work of this process so far; while suspended, it does none.
        """
        if place()[0]:
            return
        line = {"step": self.optimizer.step_count, **scores(self)}
        line |= {
            "gradient": round(self.gradient, 4),
            "core_minutes": round(time.process_time() / 60, 1),
            "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        with path.open("a") as file:
            print(json.dumps(line), file=file)
        print(json.dumps(line), flush=True)


def rate_scale(progress: float, step: int, decay: float = 0.6, warm_up: int = 40) -> float:
    """Factor on the learning rate: a short rise, a plateau, and a linear fall.

    Args:
        progress: fraction of the run that is done. step: counted from 0.
        decay: fraction of the run over which the rate falls, to a fiftieth of the plateau.
    """
    return min(1.0, (step + 1) / warm_up) * max(0.02, min(1.0, (1 - progress) / decay))


def write_checkpoint(path: Path, state: dict[str, Tensor], recipe: dict) -> None:
    """Write a checkpoint beside the old one, then replace that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    save_file(state, new, {"run": json.dumps({"recipe": recipe, "sha256": state_digest(state)})})
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The optimizer's state and the recipe that `write_checkpoint` was given.

    Raises:
        CheckpointError: if the file is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["run"])
            state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
            recipe, expected = facts["recipe"], facts["sha256"]
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Delete it to start over.") from None
    except (KeyError, ValueError, TypeError):
        raise CheckpointError(f"{path} is not a checkpoint of this trainer.") from None
    if state_digest(state) != expected:
        raise CheckpointError(
            f"{path} is damaged: its checksum does not match. Delete it to start over."
        )
    return state, recipe


def state_digest(state: dict[str, Tensor]) -> str:
    """SHA-256 of tensors and their names."""
    total = sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def check_resumable(path: Path, recipe: dict) -> None:
    """Raises CheckpointError if a run with this recipe cannot resume from `path`.

    Only its length may have changed; until the rate falls, that changes nothing else.
    """
    if not path.exists():
        return
    stored = read_checkpoint(path)[1]
    asked = recipe | {"steps": stored.get("steps")}
    other = [k for k in asked.keys() | stored.keys() if asked.get(k) != stored.get(k)]
    if other:
        name = min(other)
        raise CheckpointError(
            f"{path} is of a run with {name} {stored.get(name)}, not {asked.get(name)}. "
            "Ask for the same, or give the run another name."
        )


def spawn(worker: Callable[..., None], processes: int, *args: object) -> None:
    """Run `worker(*args)` in several single-threaded processes, which average their gradients.

    On a CPU, two processes of one thread each beat one process of two threads: for small
    operations it does not pay to wake a second thread.
    """
    if processes == 1:
        torch.set_num_threads(1)
        worker(*args)
        return
    with TemporaryDirectory() as folder:
        mp.spawn(_enter, (processes, f"file://{folder}/meet", worker, args), nprocs=processes)


def _enter(rank: int, world: int, meet: str, worker: Callable[..., None], args: tuple) -> None:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    # A process may be suspended for a long time without being dead.
    dist.init_process_group(
        "gloo", init_method=meet, rank=rank, world_size=world, timeout=timedelta(days=7)
    )
    worker(*args)
    dist.destroy_process_group()
