"""How well a VAE reconstructs clips that it was not trained on.

    python -m training.reconstruction                       the shipped VAE
    python -m training.reconstruction path/to/vae.safetensors

Prints one JSON object: mean PSNR in dB of whole clips and of their objects' pixels.
"""

import argparse
import json
from math import log10
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from longtake.models.wan.vae import WanVAE

from .shipped import WEIGHTS, shipped_vae
from .world.captions import sample_scene
from .world.render import Clips, render

HARD = ("spins", "bounces")  # reconstructed worst


class Psnr(NamedTuple):
    """In dB, of signals with a range of 2.

    Attributes:
        whole: of all pixels, the mean over clips. objects: of the pixels on objects.
    """

    whole: float
    objects: float


def hard_clips(count: int = 12, seed: int = 77) -> Clips:
    """Clips of which at least half have an object that spins or bounces."""
    rng, scenes = Random(seed), []
    while len(scenes) < count:
        scene = sample_scene(rng)
        if len(scenes) < count // 2 or any(thing.motion in HARD for thing in scene.things):
            scenes.append(scene)
    return render(scenes, 17, torch.Generator().manual_seed(seed))


@torch.inference_mode()
def reconstruction(vae: WanVAE, clips: Clips) -> Psnr:
    """PSNR after a round trip through the VAE, in its own dtype, clip by clip."""
    dtype = next(vae.parameters()).dtype
    whole, objects = [], []
    for pixels, mask in zip(clips.pixels, clips.masks, strict=True):
        back = vae.decode(vae.encode(pixels[None].to(dtype)))[0].float().clamp(-1, 1)
        error = (back - pixels).square()
        whole.append(decibels(error.mean()))
        objects.append(decibels((error * mask).sum() / (3 * mask.sum()).clamp(min=1)))
    return Psnr(*(round(sum(row) / len(row), 3) for row in (whole, objects)))


def decibels(error: Tensor | float) -> float:
    """Mean square error, of a signal with a range of 2 -> PSNR in dB."""
    return 10 * log10(4 / max(float(error), 1e-9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vae", nargs="?", type=Path, default=WEIGHTS / "vae.safetensors")
    vae = shipped_vae(parser.parse_args().vae).bfloat16()
    print(json.dumps(reconstruction(vae, hard_clips())._asdict()))


if __name__ == "__main__":
    main()
