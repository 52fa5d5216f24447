"""Trains the built-in VAE on crops of rendered clips.

    python -m training.train_vae --steps 2200
    python -m training.train_vae --steps 1300 --part decoder    after the VAE was exported

It writes a checkpoint every few minutes into training/runs, and goes on from there when it is
called again (`training.learning.run`). Beside the checkpoint a log grows, with the PSNR of clips
that it was not trained on.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import torch
from einops import EinopsError
from torch import Tensor, nn

from longtake.models.errors import ConfigError, LongtakeError
from longtake.models.wan.config import VAE_PRESETS, VAEConfig
from longtake.models.wan.vae import WanVAE

from .learning.clips import ClipPool
from .learning.optim import FlatOptimizer, load_average, place
from .learning.run import SHARDS, Training, check_resumable, spawn
from .reconstruction import decibels, hard_clips, reconstruction
from .shipped import RUNS, shipped_vae

# Parts of names that Adam trains although they are matrices, which else are Muon's.
ADAM = ("encoder.conv1", "decoder.head", "conv1.", "conv2.")
LOG_VARIANCE = -5.0  # of a latent at first: near what training finds, and noise drowns nothing
FRAMES, LONG = 9, 17  # of a crop; long ones for the last fifth of a run, half as many
CROPS, SIDE = 6, 64  # crops of a shard in a step, and their rows and columns
OBJECT_WEIGHT = 3  # of a pixel on an object, over one elsewhere
EDGE_WEIGHT = 0.5  # the decoder's last layer draws blocks of 4 pixels, which should not show
LATENT_NOISE = 0.05  # the decoder should not depend on the last digit of a sampled latent
KL_WEIGHT = 2e-5  # keeps latents near unit size; an order below what the decoder could use


@dataclass(frozen=True)
class VAERecipe:
    """All that decides on a VAE's weights.

    Attributes:
        config: its sizes.
        part: "whole", or "decoder" to train the shipped VAE's decoder on its own.
        steps: of the whole run; the learning rate falls over the last 60 % of them.
        seed: of weights, clips, crops and noise.
        rate: factor of both learning rates; below 1 to polish what is good.
        clips: held by each shard's pool.
    """

    config: VAEConfig = VAE_PRESETS["nano"]
    part: str = "whole"
    steps: int = 2200
    seed: int = 0
    rate: float = 1.0
    clips: int = 480

    def to_json(self) -> dict:
        """As a checkpoint stores it."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, numbers: dict) -> "VAERecipe":
        """The recipe that `to_json` wrote."""
        return cls(**numbers | {"config": VAEConfig.from_json(numbers["config"])})


def build_vae(config: VAEConfig) -> WanVAE:
    """A VAE with random weights, in float32, whose latents are nearly free of noise at first."""
    vae = WanVAE(config)
    with torch.no_grad():
        vae.conv1.bias[config.latent_channels :] += LOG_VARIANCE
    return vae


def check_sizes(config: VAEConfig) -> None:
    """Raises ConfigError if the parameter-free shortcuts do not fit the stages around them."""
    vae, side = WanVAE(config, device="meta"), config.stride_hw
    pixels = torch.empty(1, 3, 1 + config.stride_t, side, side, device="meta")
    try:
        vae.decode(vae.encode_distribution(pixels)[0])
    except (EinopsError, RuntimeError):
        raise ConfigError(
            f"a VAE of {config.width} and {config.decoder_width} channels times "
            f"{config.multipliers} has stages that its shortcuts cannot join: the channels of "
            "each must divide 8 times those of the one before, of the last those themselves."
        ) from None


def decoder_of(vae: WanVAE) -> nn.ModuleDict:
    """The part of a VAE that can be trained without moving its latents."""
    return nn.ModuleDict({"conv2": vae.conv2, "decoder": vae.decoder})


def averaged_vae(recipe: VAERecipe, ema: Tensor) -> WanVAE:
    """The VAE of a run, in float32, with the running average of its weights, flat as it is in a
    checkpoint; the encoder of a decoder's run is the shipped one."""
    whole = recipe.part == "whole"
    vae = WanVAE(recipe.config) if whole else shipped_vae()
    load_average(vae if whole else decoder_of(vae), ADAM, ema)
    return vae.eval()


class CropShard:
    """A part of every batch of crops.

    Args:
        index: of this part; compiled: render with torch.compile.
    """

    def __init__(self, recipe: VAERecipe, index: int, *, compiled: bool):
        self.recipe = recipe
        self.seed = f"{recipe.seed} {recipe.part} {index}"
        self.pool = ClipPool(self.seed, recipe.clips, compiled=compiled)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What this shard sees in a step; every other step renders a clip.

        Returns:
            pixels (b, 3, frames, h, w) in [-1, 1]; the weight of each in the loss (b, 1, frames,
            h, w), for objects are small, but what moves; noise of the latents' shape.
        """
        recipe, config = self.recipe, self.recipe.config
        self.pool.advance(recipe.clips + step // 2)
        late = step >= 0.8 * recipe.steps
        count, frames = (CROPS // 2, LONG) if late else (CROPS, FRAMES)
        rng = Random(f"{self.seed} step {step}")
        pixels, masks = self.pool.crops(rng, count, frames, SIDE)
        cells = SIDE // config.stride_hw
        shape = (count, config.latent_channels, 1 + (frames - 1) // config.stride_t, cells, cells)
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        return pixels, 1 + OBJECT_WEIGHT * masks, torch.randn(shape, generator=generator)


def vae_loss(vae: WanVAE, pixels: Tensor, weight: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the plain mean square error. Shapes are those of `CropShard.batch`."""
    mean, log_variance = vae.encode_distribution(pixels)
    mean, log_variance = mean.float(), log_variance.float().clamp(-20, 5)
    latents = mean + noise * (log_variance / 2).exp()
    error, plain = pixel_error(vae.decode(latents.to(pixels.dtype)), pixels, weight)
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    return error + KL_WEIGHT * kl, plain


def decoder_loss(
    vae: WanVAE, pixels: Tensor, weight: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The same for the decoder alone; latents stay what a transformer has learned."""
    with torch.no_grad():
        latents = vae.encode_distribution(pixels)[0] + LATENT_NOISE * noise
    return pixel_error(vae.decode(latents.to(pixels.dtype)), pixels, weight)


def pixel_error(back: Tensor, pixels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels' part of the loss, and the plain mean square error. back, pixels: (b, 3, ...)."""
    off = back.float() - pixels.float()
    error = (off.square() * weight).mean() + 0.05 * (off.abs() * weight).mean()
    return error + EDGE_WEIGHT * edge_error(off), off.square().mean().detach()


def edge_error(off: Tensor) -> Tensor:
    """How unevenly the error runs from pixel to pixel, which is worst at the borders of blocks."""
    return off.diff(dim=-1).square().mean() + off.diff(dim=-2).square().mean()


def vae_training(recipe: VAERecipe, *, compiled: bool = True) -> Training:
    """The run of this recipe, at its first step.

    Args:
        compiled: compile loss and renderer, which takes a minute or two at first and then makes a
            step a quarter shorter.
    """
    torch.manual_seed(recipe.seed)
    whole = recipe.part == "whole"
    vae = (build_vae(recipe.config) if whole else shipped_vae().train()).bfloat16()
    trained: nn.Module = vae if whole else decoder_of(vae)
    optimizer = FlatOptimizer(trained, 0.01 * recipe.rate, 2e-3 * recipe.rate, ADAM)
    function = vae_loss if whole else decoder_loss
    function = torch.compile(function, dynamic=False) if compiled else function

    def loss_of(shard: CropShard, step: int) -> tuple[Tensor, Tensor]:
        pixels, weight, noise = shard.batch(step)
        return function(vae, pixels.bfloat16(), weight, noise)

    rank, world = place()
    shards = [CropShard(recipe, i, compiled=compiled) for i in range(rank, SHARDS, world)]
    return Training(recipe.to_json(), optimizer, [partial(loss_of, shard) for shard in shards])


def train_autoencoder(recipe: VAERecipe, path: Path, every: int) -> None:
    """Train to the end in this process."""
    clips = hard_clips()

    def scores(training: Training) -> dict:
        vae = averaged_vae(recipe, training.optimizer.ema).bfloat16()
        whole, objects = reconstruction(vae, clips)
        seen = round(decibels(training.average), 3)
        return {"whole_db": whole, "objects_db": objects, "training_db": seen}

    vae_training(recipe).finish(path, scores, every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2200, help="of the whole run")
    parser.add_argument("--part", choices=("whole", "decoder"), default="whole")
    parser.add_argument("--rate", type=float, default=1.0, help="below 1 to polish what is good")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=480, help="held by each of two pools")
    parser.add_argument("--width", type=int, help="channels of the encoder's first stage")
    parser.add_argument("--decoder-width", type=int, help="channels of the decoder's last stage")
    parser.add_argument("--multipliers", type=int, nargs=3, help="of both widths, by stage")
    parser.add_argument("--latent-channels", type=int)
    parser.add_argument("--processes", type=int, choices=range(1, SHARDS + 1), default=2)
    parser.add_argument("--folder", type=Path, default=RUNS, help="for checkpoints and logs")
    parser.add_argument("--run", help="name of the checkpoint; vae or decoder if not given")
    parser.add_argument("--evaluate-every", type=int, default=250, help="steps")
    args = parser.parse_args()
    recipe = recipe_of(args)
    name = args.run or ("vae" if args.part == "whole" else "decoder")
    path = args.folder / f"{name}.safetensors"
    try:
        check_sizes(recipe.config)
        args.folder.mkdir(parents=True, exist_ok=True)
        check_resumable(path, recipe.to_json())
        spawn(train_autoencoder, args.processes, recipe, path, args.evaluate_every)
    except LongtakeError as error:
        raise SystemExit(f"train_vae: {error}") from None


def recipe_of(args: argparse.Namespace) -> VAERecipe:
    """The recipe that the command line asks for: the shipped sizes, but for those given."""
    names = ("width", "decoder_width", "multipliers", "latent_channels")
    given = {k: v for k in names if (v := getattr(args, k)) is not None}
    if "multipliers" in given:
        given["multipliers"] = tuple(given["multipliers"])
    whole = args.part == "whole"
    config = replace(VAE_PRESETS["nano"], **given) if whole else shipped_vae().config
    return VAERecipe(config, args.part, args.steps, args.seed, args.rate, args.clips)


if __name__ == "__main__":
    main()
