"""Trains the built-in VAE on crops of rendered clips.

    python -m training.train_vae --steps 2200
    python -m training.train_vae --steps 1300 --part decoder    after the VAE was exported

It writes a checkpoint to training/runs every few minutes, and resumes from it when run again
(`training.learning.run`). A log beside the checkpoint records the PSNR on held-out clips.
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

# Parts of the names of matrices that Adam trains; all others are Muon's.
ADAM = ("encoder.conv1", "decoder.head", "conv1.", "conv2.")
LOG_VARIANCE = -5.0  # of latents at the start: close to where training ends, and hardly any noise
FRAMES, LONG = 9, 17  # of a crop; in the last fifth of a run crops are long, and half as many
CROPS, SIDE = 6, 64  # crops per shard and step; their height and width
OBJECT_WEIGHT = 3  # what a pixel on an object weighs in addition to 1
EDGE_WEIGHT = 0.5  # the decoder's last layer draws blocks of 4 x 4 pixels, which must not show
LATENT_NOISE = 0.05  # the decoder must not depend on the last digits of a sampled latent
KL_WEIGHT = 2e-5  # keeps latents near unit size, at a tenth of what would cost detail
# How much it costs to leave the shipped latents: at a distance of 0.3 a twentieth of today's error.
# The transformer then has little to learn anew.
DRIFT_WEIGHT = 0.005


@dataclass(frozen=True)
class VAERecipe:
    """Everything that determines a VAE's weights.

    Attributes:
        config: its sizes.
        part: "whole", or "decoder" to train only the decoder of the shipped VAE.
        steps: length of the run; the learning rate falls over the last 60 %.
        seed: of weights, clips, crops and noise.
        rate: factor on both learning rates; below 1 to polish.
        clips: that each shard's pool holds.
        further: start from the shipped weights, and stay near their latents.
    """

    config: VAEConfig = VAE_PRESETS["nano"]
    part: str = "whole"
    steps: int = 2200
    seed: int = 0
    rate: float = 1.0
    clips: int = 480
    further: bool = False

    def to_json(self) -> dict:
        """As a checkpoint stores it."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, numbers: dict) -> "VAERecipe":
        """The recipe that `to_json` wrote."""
        return cls(**numbers | {"config": VAEConfig.from_json(numbers["config"])})


def build_vae(config: VAEConfig) -> WanVAE:
    """A VAE with random weights, in float32, whose latents start out nearly free of noise."""
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
    """A run's VAE, in float32, with the running average of its weights.

    Args:
        ema: the average, flat, as a checkpoint has it. Of a decoder's run it has no encoder; that
            is the shipped one.
    """
    whole = recipe.part == "whole"
    vae = WanVAE(recipe.config) if whole else shipped_vae()
    load_average(vae if whole else decoder_of(vae), ADAM, ema)
    return vae.eval()


class CropShard:
    """One part of every batch of crops.

    Args:
        index: of this shard. compiled: render with torch.compile.
    """

    def __init__(self, recipe: VAERecipe, index: int, *, compiled: bool):
        self.recipe = recipe
        self.seed = f"{recipe.seed} {recipe.part} {index}"
        self.pool = ClipPool(self.seed, recipe.clips, compiled=compiled)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What this shard sees in a step; every other step renders a clip.

        Returns:
            pixels (b, 3, frames, h, w) in [-1, 1]; the weight of each in the loss (b, 1, frames,
            h, w), because objects are small but matter most; noise in the latents' shape.
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


def vae_loss(
    vae: WanVAE, pixels: Tensor, weight: Tensor, noise: Tensor, shipped: WanVAE | None = None
) -> tuple[Tensor, Tensor]:
    """The loss, and the plain mean square error. Shapes are those of `CropShard.batch`.

    Args:
        shipped: whose latents it costs to leave.
    """
    mean, log_variance = vae.encode_distribution(pixels)
    mean, log_variance = mean.float(), log_variance.float().clamp(-20, 5)
    latents = mean + noise * (log_variance / 2).exp()
    error, plain = pixel_error(vae.decode(latents.to(pixels.dtype)), pixels, weight)
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    loss = error + KL_WEIGHT * kl
    if shipped is not None:
        with torch.no_grad():
            known = shipped.encode_distribution(pixels)[0].float()
        loss = loss + DRIFT_WEIGHT * (mean - known).square().mean()
    return loss, plain


def decoder_loss(
    vae: WanVAE, pixels: Tensor, weight: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The same for the decoder alone: latents stay as the transformer knows them."""
    with torch.no_grad():
        latents = vae.encode_distribution(pixels)[0] + LATENT_NOISE * noise
    return pixel_error(vae.decode(latents.to(pixels.dtype)), pixels, weight)


def pixel_error(back: Tensor, pixels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels' part of the loss, and the plain mean square error. back, pixels: (b, 3, ...)."""
    off = back.float() - pixels.float()
    error = (off.square() * weight).mean() + 0.05 * (off.abs() * weight).mean()
    return error + EDGE_WEIGHT * edge_error(off), off.square().mean().detach()


def edge_error(off: Tensor) -> Tensor:
    """How abruptly the error changes from pixel to pixel: most of all at block borders."""
    return off.diff(dim=-1).square().mean() + off.diff(dim=-2).square().mean()


def vae_training(recipe: VAERecipe, *, compiled: bool = True) -> Training:
    """This recipe's run, at step 0.

    Args:
        compiled: use torch.compile on loss and renderer: a quarter faster, after a minute or two.
    """
    torch.manual_seed(recipe.seed)
    whole, further = recipe.part == "whole", recipe.further
    new = whole and not further
    vae = (build_vae(recipe.config) if new else shipped_vae().train()).bfloat16()
    trained: nn.Module = vae if whole else decoder_of(vae)
    optimizer = FlatOptimizer(trained, 0.01 * recipe.rate, 2e-3 * recipe.rate, ADAM)
    shipped = shipped_vae().bfloat16().requires_grad_(False) if further else None
    function = partial(vae_loss, shipped=shipped) if whole else decoder_loss
    function = torch.compile(function, dynamic=False) if compiled else function

    def loss_of(shard: CropShard, step: int) -> tuple[Tensor, Tensor]:
        pixels, weight, noise = shard.batch(step)
        return function(vae, pixels.bfloat16(), weight, noise)

    rank, world = place()
    shards = [CropShard(recipe, i, compiled=compiled) for i in range(rank, SHARDS, world)]
    return Training(recipe.to_json(), optimizer, [partial(loss_of, shard) for shard in shards])


def train_autoencoder(recipe: VAERecipe, path: Path, every: int) -> None:
    """Train to the end, as one of the processes."""
    clips = hard_clips()

    def scores(training: Training) -> dict:
        vae = averaged_vae(recipe, training.optimizer.ema).bfloat16()
        whole, objects = reconstruction(vae, clips)
        seen = round(decibels(training.average), 3)
        return {"whole_db": whole, "objects_db": objects, "training_db": seen}

    vae_training(recipe).finish(path, scores, every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2200, help="length of the run")
    parser.add_argument("--part", choices=("whole", "decoder"), default="whole")
    parser.add_argument("--further", action="store_true", help="start from the shipped weights")
    parser.add_argument("--rate", type=float, default=1.0, help="below 1 to polish")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=480, help="held per shard")
    parser.add_argument("--width", type=int, help="channels of the encoder's first stage")
    parser.add_argument("--decoder-width", type=int, help="channels of the decoder's last stage")
    parser.add_argument("--multipliers", type=int, nargs=3, help="of either width, stage by stage")
    parser.add_argument("--latent-channels", type=int)
    parser.add_argument("--processes", type=int, choices=range(1, SHARDS + 1), default=2)
    parser.add_argument("--folder", type=Path, default=RUNS, help="for checkpoints and logs")
    parser.add_argument("--run", help="name of the checkpoint; by default vae or decoder")
    parser.add_argument("--evaluate-every", type=int, default=250, help="how many steps")
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
    """The recipe that the command line asks for; sizes not given are the shipped ones."""
    names = ("width", "decoder_width", "multipliers", "latent_channels")
    given = {k: v for k in names if (v := getattr(args, k)) is not None}
    if "multipliers" in given:
        given["multipliers"] = tuple(given["multipliers"])
    new = args.part == "whole" and not args.further
    config = replace(VAE_PRESETS["nano"], **given) if new else shipped_vae().config
    return VAERecipe(config, args.part, args.steps, args.seed, args.rate, args.clips, args.further)


if __name__ == "__main__":
    main()
