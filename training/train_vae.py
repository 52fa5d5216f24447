"""Trains the built-in VAE on crops of rendered clips.

    python -m training.train_vae --minutes 43
    python -m training.train_vae --minutes 10 --part decoder    after the VAE was exported

Checkpoints once a minute into training/runs and goes on from there when it is called again.
"""

import argparse
import time
from math import log10
from random import Random

import torch
from torch import Tensor, nn

from .pack import ROOT, register

register()

from longtake.models.wan.config import VAE_PRESETS  # noqa: E402
from longtake.models.wan.vae import WanVAE  # noqa: E402

from .captions import sample_scene  # noqa: E402
from .optim import FlatOptimizer, place  # noqa: E402
from .run import Clock, rate_scale, resume, save, spawn  # noqa: E402
from .world import render  # noqa: E402

RUNS = ROOT / "training" / "runs"
ADAM = ("encoder.conv1", "decoder.head", "conv1.", "conv2.")  # trained by Adam, not by Muon
OBJECT_WEIGHT = 3  # of a pixel on an object, over one elsewhere
EDGE_WEIGHT = 0.5  # the decoder's last layer paints blocks of 4 pixels, which shall not show
LATENT_NOISE = 0.05  # the decoder shall not hang on the last digit of a painted latent
KL_WEIGHT = 2e-5  # keeps latents near unit size; an order below what the decoder could use


def crops(rng: Random, clips: int, per_clip: int, frames: int, size: int) -> tuple[Tensor, Tensor]:
    """Pieces of fresh clips, most of them with an object inside.

    Returns:
        pixels (clips·per_clip, 3, frames, size, size) in [-1, 1], and the weight of every pixel
        in the loss (clips·per_clip, 1, frames, size, size): objects are small, but what moves.
    """
    scenes = [sample_scene(rng) for _ in range(clips)]
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    clip = render(scenes, 17, generator, compiled=True)
    pixels, weights = [], []
    for rgb, mask in zip(clip.pixels, clip.masks, strict=True):
        for _ in range(per_clip):
            t = rng.randrange(17 - frames + 1)
            y, x = corner(rng, mask[t + frames // 2], size)
            span = (slice(None), slice(t, t + frames), slice(y, y + size), slice(x, x + size))
            pixels.append(rgb[span])
            weights.append(1 + OBJECT_WEIGHT * mask[None][span])
    return torch.stack(pixels), torch.stack(weights)


def corner(rng: Random, mask: Tensor, size: int) -> tuple[int, int]:
    """Top left of a crop: around a random spot of an object, or one time in four anywhere."""
    height, width = mask.shape
    spots = (mask > 0.5).nonzero()
    if len(spots) == 0 or rng.random() < 0.25:
        return rng.randrange(height - size + 1), rng.randrange(width - size + 1)
    y, x = (int(v) - rng.randrange(size) for v in spots[rng.randrange(len(spots))])
    return min(max(y, 0), height - size), min(max(x, 0), width - size)


def loss_of(vae: WanVAE, pixels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The training loss, and the plain mean square error. pixels: (b, 3, f, h, w)."""
    mean, log_variance = vae.encode_distribution(pixels)
    mean, log_variance = mean.float(), log_variance.float().clamp(-20, 5)
    noisy = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    error, plain = pixel_error(vae.decode(noisy.to(pixels.dtype)), pixels, weight)
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    return error + KL_WEIGHT * kl, plain


def decoder_loss(vae: WanVAE, pixels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same for the decoder alone; latents stay what a transformer has learned."""
    with torch.no_grad():
        latents = vae.encode(pixels)
        latents += LATENT_NOISE * torch.randn_like(latents)
    return pixel_error(vae.decode(latents), pixels, weight)


def pixel_error(back: Tensor, pixels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    off = back.float() - pixels.float()
    error = (off.square() * weight).mean() + 0.05 * (off.abs() * weight).mean()
    return error + EDGE_WEIGHT * edge_error(off), off.square().mean().detach()


def edge_error(off: Tensor) -> Tensor:
    """How unevenly the error runs from pixel to pixel, which is worst at the borders of blocks."""
    return off.diff(dim=-1).square().mean() + off.diff(dim=-2).square().mean()


def whole() -> tuple[WanVAE, nn.Module]:
    vae = WanVAE(VAE_PRESETS["nano"]).bfloat16()
    return vae, vae


def decoder_only() -> tuple[WanVAE, nn.Module]:
    """The exported VAE, and the part of it that is trained on."""
    from .export import load_vae

    vae = load_vae().bfloat16().train()
    return vae, nn.ModuleDict({"conv2": vae.conv2, "decoder": vae.decoder})


PARTS = {"whole": (whole, loss_of, "vae"), "decoder": (decoder_only, decoder_loss, "decoder")}


def train(minutes: float, part: str, seed: int, rate: float) -> None:
    rank, _ = place()
    build, loss_function, name = PARTS[part]
    run = RUNS / f"{name}.safetensors"
    torch.manual_seed(seed)
    vae, trained = build()
    optimizer = FlatOptimizer(trained, 0.01 * rate, 2e-3 * rate, ADAM)
    clock = Clock(minutes)
    seen = resume(run, optimizer, clock)
    rng = Random(f"{seed} {rank} {optimizer.step_count}")
    torch.manual_seed(rng.randrange(2**31))
    saved, average = time.monotonic(), 0.0
    while (progress := clock.tick()) < 1:
        frames = 17 if progress > 0.8 else 9
        batch, weight = crops(rng, 2, per_clip=3 if frames == 9 else 2, frames=frames, size=64)
        loss, error = loss_function(vae, batch.bfloat16(), weight)
        loss.backward()
        norm = optimizer.step(rate_scale(progress, optimizer.step_count))
        seen += 2 * len(batch)
        average = 0.98 * average + 0.02 * error.item() if average else error.item()
        if optimizer.step_count % 20 == 0 and rank == 0:
            print(
                f"{clock.spent:6.1f} min  step {optimizer.step_count}  crops {seen}  "
                f"psnr {10 * log10(4 / average):.2f} dB  gradient {norm:.3f}",
                flush=True,
            )
        if time.monotonic() - saved > 60:
            save(run, optimizer, clock, seen)
            saved = time.monotonic()
    save(run, optimizer, clock, seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=35, help="of this run, all told")
    parser.add_argument("--part", choices=tuple(PARTS), default="whole")
    parser.add_argument("--rate", type=float, default=1.0, help="below 1 to polish what is good")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    spawn(train, args.processes, args.minutes, args.part, args.seed, args.rate)


if __name__ == "__main__":
    main()
