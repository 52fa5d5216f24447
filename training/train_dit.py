"""Trains the built-in transformer together with its text encoder, in the exported VAE's latents.

    python -m training.train_dit --minutes 100

Checkpoints every two minutes into training/runs/dit.safetensors and goes on from there when it
is called again.
"""

import argparse
import time
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from .pack import register

register()

from longtake.models.attention import exact  # noqa: E402
from longtake.models.wan.config import DIT_PRESETS  # noqa: E402
from longtake.models.wan.dit import Segment, WanDiT  # noqa: E402

from .data import FORMS, Batch, Pool  # noqa: E402
from .export import NANO, RUNS, load_vae  # noqa: E402
from .optim import FlatOptimizer, place  # noqa: E402
from .run import Clock, rate_scale, resume, save, spawn  # noqa: E402
from .text import TextEncoder, train_tokenizer  # noqa: E402

RUN = RUNS / "dit.safetensors"
TOKENIZER = RUNS / "tokenizer.model"
ADAM = ("patch_embedding", "head.head", "shared", "relative_attention_bias", "time_embedding.0")
SHIFT = 2.5  # noise levels lean towards 1, where text decides what goes where
# Objects weigh more only below this noise level. Above it their place is still open, and a loss
# that weighs them more there is least when one is expected everywhere: two lumps for one object.
SETTLED = 0.6


def build() -> nn.ModuleDict:
    """The networks to train, in float32; the tokenizer is made on first use."""
    if not TOKENIZER.exists():
        TOKENIZER.parent.mkdir(parents=True, exist_ok=True)
        TOKENIZER.write_bytes(train_tokenizer())
    dit = WanDiT(DIT_PRESETS["nano"], attention=exact)
    nn.init.zeros_(dit.head.head.weight)
    nn.init.zeros_(dit.head.head.bias)
    return nn.ModuleDict({"dit": dit, "text": TextEncoder(TOKENIZER.read_bytes())})


def shipped() -> nn.ModuleDict:
    """The weights that the pack ships, to train them further when no checkpoint is left."""
    from .pipeline import Pipeline

    made = Pipeline.load(NANO)
    made.dit.attention = exact
    return nn.ModuleDict({"dit": made.dit, "text": made.text}).requires_grad_().train()


def draw_levels(known: Tensor) -> Tensor:
    """known: (b, t) -> (b, t) noise levels: one for each window, 0 where frames are given."""
    u = torch.rand(len(known), 1)
    return torch.where(known, 0.0, SHIFT * u / (1 + (SHIFT - 1) * u))


def read(model: nn.ModuleDict, batch: Batch) -> list[Segment]:
    """What the transformer listens to before and after the batch's cuts."""
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


def loss_of(model: nn.ModuleDict, batch: Batch) -> Tensor:
    """Weighted mean square error of the velocity, over what is not given."""
    clean = batch.latents.float()
    sigma = draw_levels(batch.known)
    level = sigma[:, None, :, None, None]
    noise = torch.randn_like(clean)
    noisy = clean + level * (noise - clean)
    dtype = model["dit"].patch_embedding.weight.dtype
    velocity = model["dit"](noisy.to(dtype), sigma * 1000, read(model, batch)).float()
    weight = torch.where(level < SETTLED, batch.weight, 1) * ~batch.known[:, None, :, None, None]
    error = (velocity - (noise - clean)).square() * weight
    return error.sum() / (weight.sum() * clean.shape[1])


def train(
    minutes: float, per_process: int, fresh: int, pool_size: int, seed: int, further: bool
) -> None:
    rank, _ = place()
    torch.manual_seed(seed)
    model = (shipped() if further else build()).bfloat16()
    optimizer = FlatOptimizer(model, 0.012, 1.5e-3, ADAM)
    for block in model["dit"].blocks:
        block.compile(dynamic=False)  # one compilation serves all; forward is a third faster
    clock = Clock(minutes)
    seen = resume(RUN, optimizer, clock)
    rng = Random(f"{seed} {rank} {optimizer.step_count}")
    torch.manual_seed(rng.randrange(2**31))
    turn = Random(seed + optimizer.step_count)  # the same in every process: all take one form
    encode = encoder()
    pools = [Pool(form, encode, pool_size, rng) for form in FORMS]
    while len(pools[0].windows) < min(pool_size, 300 * fresh):
        pools[0].add(fresh, clock.tick())
    saved, average = time.monotonic(), 0.0
    while (progress := clock.tick()) < 1:
        pool = turn.choices(pools, [form.share for form in FORMS])[0]
        count = pool.form.fewer(per_process)
        while len(pool.windows) < 4 * count:
            pool.add(fresh, progress)
        pool.add(fresh, progress)
        loss = loss_of(model, pool.batch(count, progress))
        loss.backward()
        norm = optimizer.step(rate_scale(progress, optimizer.step_count))
        seen += count * place()[1]
        average = 0.98 * average + 0.02 * loss.item() if average else loss.item()
        if optimizer.step_count % 50 == 0 and rank == 0:
            print(
                f"{clock.spent:6.1f} min  step {optimizer.step_count}  windows {seen}  "
                f"loss {average:.4f}  gradient {norm:.3f}  pool {len(pools[0].windows)}",
                flush=True,
            )
        if time.monotonic() - saved > 120:
            save(RUN, optimizer, clock, seen)
            saved = time.monotonic()
    save(RUN, optimizer, clock, seen)


def encoder():
    """The shipped VAE's encoder in bfloat16, for pixels on the CPU."""
    vae = load_vae().bfloat16()

    @torch.inference_mode()
    def encode(pixels: Tensor) -> Tensor:
        return vae.encode(pixels.bfloat16()).clone()

    return encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=100, help="of this run, all told")
    parser.add_argument("--batch", type=int, default=24, help="windows a step in each process")
    parser.add_argument("--fresh", type=int, default=1, help="windows rendered each step")
    parser.add_argument("--pool", type=int, default=6000, help="windows each process holds")
    parser.add_argument("--further", action="store_true", help="begin from the shipped weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    Path(RUN).parent.mkdir(parents=True, exist_ok=True)
    build()  # the tokenizer, before two processes want to make it
    sizes = (args.batch, args.fresh, args.pool)
    spawn(train, args.processes, args.minutes, *sizes, args.seed, args.further)


if __name__ == "__main__":
    main()
