"""Peak memory of takes of 5, 10 and 60 seconds at 480p: it must not grow with their length.

A take goes the whole way: windows of 81 frames are sampled with a transformer, decoded, encoded by
x264 and saved. Both networks have the built-in one's layout and a fraction of its width, so that a
minute of 832x480 at 16 frames a second can be made on a CPU; latents, frames and what lies between
them have the sizes that they have with any checkpoint of a 16 x 16 VAE. The peaks are those of this
process since the take began, and of the GPU's allocator.
"""

import argparse
import importlib
import json
from dataclasses import replace

import torch
from _measure import machine
from _takes import Studio, clear, measured, start_comfyui

SIZE, FPS, WINDOW = (832, 480), 16, 81
TEXT = "a big red ball rises over the grass at sunset, static camera"
FLAT = 100  # MiB


def reduced(studio: Studio) -> Studio:
    """The studio with narrow networks of random weights."""
    from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS
    from longtake.models.wan.dit import WanDiT
    from longtake.models.wan.vae import WanVAE
    from tests.models.tiny import randomised

    rng = torch.Generator().manual_seed(0)
    host = {name: importlib.import_module(f"longtake.host.networks.{name}")
            for name in ("latent_format", "transformer", "vae")}  # fmt: skip
    nano = DIT_PRESETS["nano"]
    config = replace(nano, width=64, depth=2, heads=1, mlp_width=128)
    weights = randomised(WanDiT(config), rng).state_dict()
    latents = host["latent_format"].format_for(config, built_in=True)
    studio.model = host["transformer"].build_model(
        config, weights, latents, torch.float32, "narrow"
    )
    sizes = replace(VAE_PRESETS["nano"], width=8, decoder_width=8)
    weights = randomised(WanVAE(sizes), rng).state_dict()
    studio.vae = host["vae"].build_vae(sizes, weights, torch.float32, "narrow")
    return studio


def measure(studio: Studio, seconds: int) -> dict:
    clear(studio)
    recipe = studio.recipe(studio.board(TEXT, seconds, FPS), SIZE, window=WINDOW)
    made = measured(lambda: studio.film(recipe))
    row = {"what": f"take of {seconds} s at 480p", "dtype": "float32", "frames": recipe.take.frames}
    row |= {kind: peak for kind, peak in made.items() if kind.endswith("_mib")}
    row |= {"ours_ms": round(1000 * made["seconds"])}
    row |= {"core_ms": None, "diffusers_ms": None, "error": None}
    made["result"].unlink()
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 10, 60])
    parser.add_argument("--steps", type=int, default=1)
    options = parser.parse_args()
    studio = reduced(Studio(start_comfyui(), options.steps))
    rows = [measure(studio, seconds) for seconds in options.seconds]
    grows = {
        kind: round(rows[-1][kind] - rows[0][kind], 1) for kind in rows[0] if kind.endswith("_mib")
    }
    flat = all(growth <= FLAT for growth in grows.values())
    print(json.dumps({**machine(), "rows": rows, "grows": grows, "flat": flat}))


if __name__ == "__main__":
    main()
