"""Trains the built-in transformer and its text encoder together, on the exported VAE's latents.

    python -m training.train_dit --steps 17000 --fresh 2

It writes a checkpoint to training/runs/dit.safetensors every few minutes, and resumes from it when
run again (`training.learning.run`).
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from longtake.models.errors import LongtakeError
from longtake.models.wan.dit import Segment

from .learning.optim import FlatOptimizer, place
from .learning.run import SHARDS, Training, check_resumable, spawn
from .learning.windows import FORMS, FURTHER, Batch, Form, WindowPool, world_at
from .networks import ADAM, build_networks
from .pipeline import shipped_networks
from .shipped import RUNS, shipped_vae
from .world.captions import Mix

SHIFT = 2.5  # noise levels lean towards 1, where the text decides what goes where
# Objects weigh more only below this noise level. Above it their place is still undecided, and to
# weigh them more there teaches the network to expect one everywhere: two lumps for one object.
SETTLED = 0.6
HEAD_START = 300  # steps' worth of windows that a pool starts with


@dataclass(frozen=True)
class DiTRecipe:
    """Everything that determines the weights of a transformer and its text encoder.

    Attributes:
        steps: length of the run; the learning rate falls over the last 60 %.
        windows: per shard and step. fresh: how many of them are newly rendered.
        pool: windows that a shard's pool holds.
        seed: of weights, windows, captions and noise.
        further: start from the shipped weights, and see what they know least.
        regions: share of windows in which only a part of the picture is unknown.
        rate: factor on both learning rates.
    """

    steps: int = 17_000
    windows: int = 24
    fresh: int = 1
    pool: int = 6000
    seed: int = 0
    further: bool = False
    regions: float = 0.0
    rate: float = 1.0

    def world(self, progress: float) -> Mix:
        """What may happen after this part of the run."""
        return FURTHER if self.further else world_at(progress)


class WindowShard:
    """One part of every batch of windows. All parts of a batch have the same form.

    Args:
        index: of this shard. encode: pixels (b, 3, f, h, w) in [-1, 1] -> latents.
        compiled: render with torch.compile.
    """

    def __init__(
        self,
        recipe: DiTRecipe,
        index: int,
        encode: Callable[[Tensor], Tensor],
        *,
        compiled: bool,
    ):
        self.recipe, self.seed = recipe, f"{recipe.seed} {index}"
        self.uses = [0] * len(FORMS)  # steps of each form among the first `counted`
        self.counted = 0
        self.pools = [
            WindowPool(
                form,
                encode,
                recipe.pool,
                f"{self.seed} form {i}",
                partial(self._world, form),
                compiled=compiled,
                regions=recipe.regions,
            )
            for i, form in enumerate(FORMS)
        ]

    def batch(self, step: int) -> Batch:
        """What this shard sees in a step."""
        while self.counted <= step:
            self.uses[self._form(self.counted)] += 1
            self.counted += 1
        pool = self.pools[self._form(step)]
        uses = self.uses[self._form(step)]
        pool.advance(self._head_start(pool.form) + self.recipe.fresh * uses)
        rng = Random(f"{self.seed} step {step}")
        count = pool.form.fewer(self.recipe.windows)
        return pool.batch(rng, count, self.recipe.world(step / self.recipe.steps))

    def _form(self, step: int) -> int:
        rng = Random(f"{self.recipe.seed} form of step {step}")
        return rng.choices(range(len(FORMS)), [form.share for form in FORMS])[0]

    def _head_start(self, form: Form) -> int:
        least = 4 * form.fewer(self.recipe.windows)
        return max(least, round(HEAD_START * self.recipe.fresh * form.share))

    def _world(self, form: Form, n: int) -> Mix:
        """What may happen in window n of a form, from roughly when it is rendered."""
        rendered = self.recipe.fresh * form.share * self.recipe.steps
        return self.recipe.world(max(0.0, (n - self._head_start(form)) / rendered))


def draw_levels(known: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """known: (b, t, ...) -> noise levels of its shape: one for each window, 0 where it is given.

    A level is a uniform u in [0, 1), pushed towards 1 by the flow schedule's shift.
    """
    u = torch.rand(len(known), 1, generator=generator).view(-1, *(1,) * (known.ndim - 1))
    return torch.where(known, 0.0, SHIFT * u / (1 + (SHIFT - 1) * u))


def read_prompts(model: nn.ModuleDict, batch: Batch) -> list[Segment]:
    """The text that each latent frame attends to: before the batch's cut, and after it."""
    dtype = model["dit"].patch_embedding.weight.dtype
    double = [i for i, shots in enumerate(batch.prompts) if len(shots) == 2]
    prompts = [shots[0] for shots in batch.prompts]
    context = model["text"](prompts + [batch.prompts[i][1] for i in double]).to(dtype)
    before, seconds = context.split((len(prompts), len(double)))
    after = before.index_copy(0, torch.tensor(double, dtype=torch.long), seconds)
    end = batch.latents.shape[2]
    shots = [Segment(0, batch.cut, model["dit"].read_text(before))]
    if batch.cut < end:
        shots.append(Segment(batch.cut, end, model["dit"].read_text(after)))
    return shots


def velocity_loss(model: nn.ModuleDict, batch: Batch, generator: torch.Generator) -> Tensor:
    """Weighted mean square error of the velocity, noise - clean, over the unknown frames."""
    clean = batch.latents.float()
    sigma = draw_levels(batch.known, generator)
    level = in_cells(sigma, clean.shape)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = clean + level * (noise - clean)
    dtype = model["dit"].patch_embedding.weight.dtype
    velocity = model["dit"](noisy.to(dtype), sigma * 1000, read_prompts(model, batch)).float()
    weight = torch.where(level < SETTLED, batch.weight, 1) * ~in_cells(batch.known, clean.shape)
    error = (velocity - (noise - clean)).square() * weight
    return error.sum() / (weight.sum() * clean.shape[1])


def in_cells(values: Tensor, shape: torch.Size) -> Tensor:
    """Of latent frames (b, t) or tokens (b, t, y, x): (b, 1, t, h or 1, w or 1) of latent cells."""
    if values.ndim == 2:
        return values[:, None, :, None, None]
    patch = shape[3] // values.shape[2]
    return values.repeat_interleave(patch, 2).repeat_interleave(patch, 3)[:, None]


def shipped_encoder() -> Callable[[Tensor], Tensor]:
    """The shipped VAE's encoder in bfloat16: pixels -> latents."""
    vae = shipped_vae().bfloat16()

    @torch.inference_mode()
    def encode(pixels: Tensor) -> Tensor:
        return vae.encode(pixels.bfloat16()).clone()

    return encode


def dit_training(
    recipe: DiTRecipe,
    model: nn.ModuleDict,
    encode: Callable[[Tensor], Tensor],
    *,
    compiled: bool = True,
) -> Training:
    """This recipe's run, at step 0.

    Args:
        model: "dit" and "text", to train in bfloat16.
        encode: pixels (b, 3, f, h, w) in [-1, 1] -> latents.
        compiled: use torch.compile on blocks and renderer: a third faster, after a few minutes.
    """
    model = model.bfloat16()
    optimizer = FlatOptimizer(model, 0.012 * recipe.rate, 1.5e-3 * recipe.rate, ADAM)
    if compiled:
        for block in model["dit"].blocks:
            block.compile(dynamic=False)  # one compilation serves all

    def loss_of(shard: WindowShard, step: int) -> tuple[Tensor, Tensor]:
        seed = Random(f"{shard.seed} noise {step}").randrange(2**31)
        generator = torch.Generator().manual_seed(seed)
        loss = velocity_loss(model, shard.batch(step), generator)
        return loss, loss.detach()

    rank, world = place()
    shards = [WindowShard(recipe, i, encode, compiled=compiled) for i in range(rank, SHARDS, world)]
    return Training(asdict(recipe), optimizer, [partial(loss_of, shard) for shard in shards])


def train_transformer(recipe: DiTRecipe, path: Path) -> None:
    """Train to the end, as one of the processes."""
    torch.manual_seed(recipe.seed)
    training = dit_training(
        recipe, shipped_networks() if recipe.further else build_networks(), shipped_encoder()
    )
    training.finish(path, lambda run: {"loss": round(run.average, 4)}, every=50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=17_000, help="length of the run")
    parser.add_argument("--batch", type=int, default=24, help="windows per shard and step")
    parser.add_argument("--fresh", type=int, default=1, help="of them newly rendered")
    parser.add_argument("--pool", type=int, default=6000, help="windows held per shard")
    parser.add_argument("--further", action="store_true", help="start from the shipped weights")
    parser.add_argument("--regions", type=float, default=0.0, help="share of windows with one")
    parser.add_argument("--rate", type=float, default=1.0, help="below 1 to go on gently")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=RUNS, help="for checkpoints and logs")
    parser.add_argument("--run", default="dit", help="name of the checkpoint")
    parser.add_argument("--processes", type=int, choices=range(1, SHARDS + 1), default=2)
    args = parser.parse_args()
    sizes = (args.steps, args.batch, args.fresh, args.pool)
    recipe = DiTRecipe(*sizes, args.seed, args.further, args.regions, args.rate)
    path = args.folder / f"{args.run}.safetensors"
    build_networks()  # trains the tokenizer, before two processes try to
    try:
        check_resumable(path, asdict(recipe))
        spawn(train_transformer, args.processes, recipe, path)
    except LongtakeError as error:
        raise SystemExit(f"train_dit: {error}") from None


if __name__ == "__main__":
    main()
