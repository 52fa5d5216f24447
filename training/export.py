"""Turns a run's checkpoint into the files that the pack ships.

python -m training.export vae
python -m training.export dit --run elsewhere/dit.safetensors
"""

import argparse
import json
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import Tensor

from longtake.engine.sampling.preview import fit_colours
from longtake.models.errors import LongtakeError
from longtake.models.wan.vae import WanVAE
from pack import ROOT

from .learning.run import read_checkpoint
from .pipeline import averaged_networks
from .shipped import RUNS, WEIGHTS, shipped_vae
from .train_vae import VAERecipe, averaged_vae
from .world.captions import sample_scene
from .world.render import render


def write_weights(path: Path, kind: str, config: dict, weights: dict[str, Tensor], **notes) -> None:
    """Write weights in bfloat16 (a tokenizer as bytes), with their config in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = {
        k: (v if v.dtype == torch.uint8 else v.bfloat16()).contiguous() for k, v in weights.items()
    }
    save_file(small, path, {"longtake": json.dumps({"kind": kind, "config": config, **notes})})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


@torch.inference_mode()
def fold_statistics(vae: WanVAE, clips: int = 96) -> None:
    """Give latents zero mean and unit variance, channel by channel, inside the VAE's own ends.

    Both ends are 1x1x1 convolutions, so only the latents' units change.
    """
    rng, sums = Random(1), []
    for _ in range(clips // 8):
        scenes = [sample_scene(rng) for _ in range(8)]
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        z = vae.encode(render(scenes, 17, generator, compiled=True).pixels)
        sums.append(torch.stack((z.mean((0, 2, 3, 4)), z.square().mean((0, 2, 3, 4)))))
    mean, square = torch.stack(sums).mean(0).float()
    std = (square - mean.square()).sqrt()
    z = len(mean)
    vae.conv1.weight[:z] /= std.view(-1, 1, 1, 1, 1)
    vae.conv1.bias[:z] = (vae.conv1.bias[:z] - mean) / std
    vae.conv2.bias += vae.conv2.weight.flatten(1) @ mean
    vae.conv2.weight *= std.view(1, -1, 1, 1, 1)


def export_vae(run: Path) -> None:
    """Export the averaged weights of a VAE's run, with latents of unit variance."""
    vae = read_vae(run)
    fold_statistics(vae)
    write_weights(WEIGHTS / "vae.safetensors", "vae", vae.config.to_json(), vae.state_dict())


def export_decoder(run: Path) -> None:
    """Export a decoder's run, with the encoder that the transformer knows."""
    vae = read_vae(run)
    write_weights(WEIGHTS / "vae.safetensors", "vae", vae.config.to_json(), vae.state_dict())


def read_vae(run: Path) -> WanVAE:
    """The averaged weights of a VAE's checkpoint, in float32."""
    state, recipe = read_checkpoint(run)
    return averaged_vae(VAERecipe.from_json(recipe), state["ema"])


@torch.inference_mode()
def fit_preview(vae: WanVAE, clips: int = 32) -> dict:
    """The colours of latents, for the preview while a video is sampled."""
    rng, latents, pixels = Random(2), [], []
    for _ in range(clips // 8):
        scenes = [sample_scene(rng) for _ in range(8)]
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        pixels.append(render(scenes, 17, generator, compiled=True).pixels)
        latents.append(vae.encode(pixels[-1]))
    return fit_colours(torch.cat(latents), torch.cat(pixels))._asdict()


def export_dit(run: Path) -> None:
    """Export the averaged weights of a transformer's run: two files."""
    model = averaged_networks(run)
    dit, text = model["dit"], model["text"]
    preview = fit_preview(shipped_vae())
    write_weights(
        WEIGHTS / "dit.safetensors", "dit", dit.config.to_json(), dit.state_dict(), preview=preview
    )
    weights = {k: v for k, v in text.t5.state_dict().items() if k != "encoder.embed_tokens.weight"}
    weights["spiece_model"] = torch.frombuffer(bytearray(text.spiece_model), dtype=torch.uint8)
    write_weights(WEIGHTS / "text_encoder.safetensors", "text_encoder", text.sizes, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    exporters = {"vae": export_vae, "decoder": export_decoder, "dit": export_dit}
    parser.add_argument("what", choices=tuple(exporters))
    parser.add_argument("--run", type=Path, help="a checkpoint outside training/runs")
    args = parser.parse_args()
    try:
        exporters[args.what](args.run or RUNS / f"{args.what}.safetensors")
    except LongtakeError as error:
        raise SystemExit(f"export: {error}") from None


if __name__ == "__main__":
    main()
