"""Trains the built-in VAE on crops of rendered clips.

    python -m training.train_vae --minutes 35

Checkpoints once a minute into training/runs/vae.safetensors and goes on from there when it is
called again.
"""

import argparse
import time
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from .pack import ROOT, register

register()

from longtake.models.wan.config import VAE_PRESETS  # noqa: E402
from longtake.models.wan.vae import Past, WanVAE  # noqa: E402

from .captions import sample_scene  # noqa: E402
from .optim import FlatOptimizer, place  # noqa: E402
from .run import Clock, rate_scale, resume, save, spawn  # noqa: E402
from .world import render  # noqa: E402

RUN = ROOT / "training" / "runs" / "vae.safetensors"
ADAM = ("encoder.conv1", "decoder.head", "conv1.", "conv2.")  # trained by Adam, not by Muon
KL_WEIGHT = 2e-5  # keeps latents near unit size; an order below what the decoder could use


def crops(rng: Random, clips: int, per_clip: int, frames: int, size: int) -> Tensor:
    """(clips·per_clip, 3, frames, size, size) in [-1, 1], cut from fresh clips at random."""
    scenes = [sample_scene(rng) for _ in range(clips)]
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    pixels = render(scenes, 17, generator, compiled=True).pixels
    cut = []
    for clip in pixels:
        for _ in range(per_clip):
            t = rng.randrange(17 - frames + 1)
            y, x = rng.randrange(128 - size + 1), rng.randrange(128 - size + 1)
            cut.append(clip[:, t : t + frames, y : y + size, x : x + size])
    return torch.stack(cut)


def loss_of(vae: WanVAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The training loss, and the mean square error in it. pixels: (b, 3, f, h, w)."""
    p = vae.config.patch
    folded = pixels.unflatten(3, (-1, p)).unflatten(5, (-1, p))
    folded = folded.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)  # b (c r q) t h w
    mean, log_variance = vae.conv1(vae.encoder(folded, Past(None))).float().chunk(2, dim=1)
    log_variance = log_variance.clamp(-20, 5)
    noisy = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    back = vae.decode(noisy.to(pixels.dtype)).float()
    error = F.mse_loss(back, pixels.float())
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    return error + 0.05 * F.l1_loss(back, pixels.float()) + KL_WEIGHT * kl, error


def train(minutes: float, seed: int) -> None:
    rank, _ = place()
    torch.manual_seed(seed)
    vae = WanVAE(VAE_PRESETS["nano"]).bfloat16()
    optimizer = FlatOptimizer(vae, 0.01, 2e-3, ADAM)
    clock = Clock(minutes)
    seen = resume(RUN, optimizer, clock)
    rng = Random(f"{seed} {rank} {optimizer.step_count}")
    torch.manual_seed(rng.randrange(2**31))
    saved, average = time.monotonic(), 0.0
    while (progress := clock.tick()) < 1:
        frames = 17 if progress > 0.8 else 9
        batch = crops(rng, clips=2, per_clip=3 if frames == 9 else 2, frames=frames, size=64)
        loss, error = loss_of(vae, batch.bfloat16())
        loss.backward()
        norm = optimizer.step(rate_scale(progress, optimizer.step_count))
        seen += 2 * len(batch)
        average = 0.98 * average + 0.02 * error.item() if average else error.item()
        if optimizer.step_count % 20 == 0 and rank == 0:
            psnr = 10 * torch.log10(4 / torch.tensor(average)).item()
            print(
                f"{clock.spent:6.1f} min  step {optimizer.step_count}  crops {seen}  "
                f"psnr {psnr:.2f} dB  gradient {norm:.3f}",
                flush=True,
            )
        if time.monotonic() - saved > 60:
            save(RUN, optimizer, clock, seen)
            saved = time.monotonic()
    save(RUN, optimizer, clock, seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=35, help="of this run, all told")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    Path(RUN).parent.mkdir(parents=True, exist_ok=True)
    spawn(train, args.processes, args.minutes, args.seed)


if __name__ == "__main__":
    main()
