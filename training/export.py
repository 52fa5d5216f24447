"""Turns checkpoints of training into the files that the pack ships.

python -m training.export vae
python -m training.export dit
"""

import argparse
import json
from pathlib import Path
from random import Random

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .pack import ROOT, register

register()

from longtake.engine.sampling.preview import fit_colours  # noqa: E402
from longtake.models.wan.config import VAE_PRESETS, VAEConfig  # noqa: E402
from longtake.models.wan.vae import WanVAE  # noqa: E402

from . import train_vae  # noqa: E402
from .captions import sample_scene  # noqa: E402
from .optim import load_average  # noqa: E402
from .train_vae import RUNS  # noqa: E402
from .world import render  # noqa: E402

NANO = ROOT / "models" / "nano"


def write(path: Path, kind: str, config: dict, weights: dict[str, Tensor], **notes) -> None:
    """bfloat16 weights (tokenizers stay bytes) with what they are in the file's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = {
        k: (v if v.dtype == torch.uint8 else v.bfloat16()).contiguous() for k, v in weights.items()
    }
    save_file(small, path, {"longtake": json.dumps({"kind": kind, "config": config, **notes})})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


def read_config(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["longtake"])["config"]


def load_vae(path: Path = NANO / "vae.safetensors") -> WanVAE:
    """The VAE in a file that `write` wrote, in float32."""
    vae = WanVAE(VAEConfig.from_json(read_config(path)))
    with safe_open(path, "pt") as file:
        vae.load_state_dict({k: file.get_tensor(k).float() for k in file.keys()})  # noqa: SIM118
    return vae.eval()


def averaged(run: Path) -> Tensor:
    """The running average of a run's weights, flat."""
    with safe_open(run, "pt") as file:
        return file.get_tensor("ema")


@torch.inference_mode()
def fold_statistics(vae: WanVAE, clips: int = 96) -> None:
    """Make latents of the world unit normal, channel by channel, inside the VAE's own ends.

    Both ends are 1x1x1 convolutions, so scaling the latent changes nothing but its units.
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


def export_vae() -> None:
    vae = WanVAE(VAE_PRESETS["nano"])
    load_average(vae, train_vae.ADAM, averaged(RUNS / "vae.safetensors"))
    fold_statistics(vae)
    write(NANO / "vae.safetensors", "vae", vae.config.to_json(), vae.state_dict())


def export_decoder() -> None:
    """The decoder trained on, beside the encoder that the transformer knows."""
    vae = load_vae()
    part = torch.nn.ModuleDict({"conv2": vae.conv2, "decoder": vae.decoder})
    load_average(part, train_vae.ADAM, averaged(RUNS / "decoder.safetensors"))
    write(NANO / "vae.safetensors", "vae", vae.config.to_json(), vae.state_dict())


@torch.inference_mode()
def fit_preview(vae: WanVAE, clips: int = 32) -> dict:
    """Colours of latents, by which the host shows a video while it is sampled."""
    rng, latents, pixels = Random(2), [], []
    for _ in range(clips // 8):
        scenes = [sample_scene(rng) for _ in range(8)]
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        pixels.append(render(scenes, 17, generator, compiled=True).pixels)
        latents.append(vae.encode(pixels[-1]))
    return fit_colours(torch.cat(latents), torch.cat(pixels))._asdict()


def export_dit() -> None:
    from . import train_dit  # which itself needs the VAE that this file wrote

    model = train_dit.build()
    load_average(model, train_dit.ADAM, averaged(RUNS / "dit.safetensors"))
    dit, text = model["dit"], model["text"]
    preview = fit_preview(load_vae())
    write(NANO / "dit.safetensors", "dit", dit.config.to_json(), dit.state_dict(), preview=preview)
    weights = {k: v for k, v in text.t5.state_dict().items() if k != "encoder.embed_tokens.weight"}
    weights["spiece_model"] = torch.frombuffer(bytearray(text.spiece_model), dtype=torch.uint8)
    write(NANO / "text_encoder.safetensors", "text_encoder", text.sizes, weights)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("vae", "decoder", "dit"))
    {"vae": export_vae, "decoder": export_decoder, "dit": export_dit}[parser.parse_args().what]()
