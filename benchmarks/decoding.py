"""Memory in which videos of other models are decoded and encoded: a minute of 1344 x 768, say.

Each VAE is core's own class, tiny and of random weights, its latents those of a real one; hosts
that have no MiniMax H3 get what stands in for it. Counted is what the process holds above what is
there before, the latents: at most, and while a chunk of frames is handed on. On a CPU that has
core's own numbers in it. HunyuanVideo's network, which takes half a minute for a tile even when it
is tiny, is not run: its latents are drawn as pixels, in whole pictures and, as memory would have
it, in tiles. H3's is run, and drawn as well: that is what remains where its numbers lie on a card.
LTX's network splits its work into pieces of so many bytes; a tiny one, with a 16th of its channels,
would have 16 times as many frames in each, so it is given a 16th of the bytes. Both are run.
Each way runs in a process of its own.

    python dev.py bench decoding --comfyui v0.33.0 --models minimax_h3 --frames 1443

ours   decoded a few frames at a time and encoded by x264 on the way
core   core's VAE Decode, which gives all frames as one IMAGE; of --core frames, and not encoded
bytes  an IMAGE of all frames, by arithmetic
"""

import argparse
import json
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import torch
from _measure import machine
from _takes import apart, start_comfyui
from torch import Tensor

MODELS = (
    *("minimax_h3", "ltxv", "hunyuan_video", "hunyuan_video in tiles", "minimax_h3 drawn"),
    "ltxv in long pieces",
)
LTX_WIDTH = 128  # base channels of LTX's decoder


def resident() -> float:
    """MiB of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def ours(vae, latents: Tensor, encode: bool) -> dict:
    from longtake.engine.frames.prefetch import prefetch
    from longtake.engine.media.writer import write_video
    from longtake.host.comfyui.films import temporary_file
    from longtake.host.video.decoder import VideoDecoder

    decoder, count, held = VideoDecoder(vae), 0, 0.0

    def chunks() -> Iterator[Tensor]:
        nonlocal count, held
        for chunk in prefetch(decoder.frames([latents], latents.shape[2])):
            count, held = count + len(chunk), max(held, resident())
            yield chunk

    if encode:
        write_video(temporary_file("bench"), chunks(), Fraction(24))
    else:
        for _ in chunks():
            pass
    return {"frames": count, "held": held, "note": decoder.note}


def core(vae, latents: Tensor) -> dict:
    with torch.inference_mode():
        image = vae.decode(latents)
    return {"frames": image.shape[1], "held": resident(), "note": ""}


def vae_of(name: str):
    from longtake.host.networks.vae import grid_of
    from tests import host_models

    vae = getattr(host_models, name.split()[0])().vae
    if name == "minimax_h3 drawn":
        vae.first_stage_model.decode = poured
    if name == "ltxv":
        as_if_wide()
    if name.startswith("hunyuan"):
        grid = grid_of(vae)

        def drawn(z: Tensor) -> Tensor:
            size = grid.frames(z.shape[2]), *(side * grid.stride_hw for side in z.shape[3:])
            return torch.nn.functional.interpolate(z[:, :3].contiguous(), size=size)

        vae.first_stage_model.decode = drawn
        if "tiles" not in name:
            vae.memory_used_decode = lambda shape, dtype: 0
    return vae


def as_if_wide() -> None:
    """Give LTX's tiny network as many frames at a time as one of its own width has."""
    from comfy.ldm.lightricks.vae import causal_video_autoencoder as network

    from tests.host_models.ltx import VAE_WIDTH

    of = getattr(network, "get_max_chunk_size", None)  # no pieces on older hosts
    if of is not None:
        share = LTX_WIDTH // VAE_WIDTH["base_channels"]
        network.get_max_chunk_size = lambda device: of(device) // share


def poured(z: Tensor, output_buffer) -> Tensor:
    """As MiniMax H3's network hands on its pixels, of tensors that take no memory."""
    total, (height, width) = output_buffer.shape[2], output_buffer.shape[3:]
    for first in range(0, total, 17):
        some = min(17, total - first)
        level = torch.linspace(0, 1, width).expand(1, 3, some, height, width)
        output_buffer[:, :, first : first + some].copy_(level)
    return output_buffer


def row(name: str, frames: int, size: tuple[int, int], way: str, encode: bool) -> dict:
    from longtake.host.networks.vae import grid_of

    vae = vae_of(name)
    grid = grid_of(vae)
    sides = [side // grid.stride_hw for side in reversed(size)]
    rng = torch.Generator().manual_seed(0)
    shape = (1, grid.channels, grid.as_clip(grid.enough(frames)), *sides)
    latents = torch.randn(shape, generator=rng)

    def work() -> dict:
        before, begun = resident(), time.monotonic()
        made = core(vae, latents) if way == "core" else ours(vae, latents, encode)
        return {**made, "before": before, "seconds": round(time.monotonic() - begun, 1)}

    measured = apart(work)
    made = measured["result"]
    whole = made["frames"] * 3 * 4 * size[0] * size[1] / 2**20
    return {
        "what": f"{name}, {made['frames']} frames of {size[0]}x{size[1]}, {way}",
        "dtype": "float32",
        "peak_mib": round(measured["ram_mib"] - made["before"]),
        "held_mib": round(made["held"] - made["before"]),
        "latents_mib": round(latents.numel() * 4 / 2**20),
        "image_mib": round(whole),
        "seconds": made["seconds"],
        "note": made["note"] or "exact",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--frames", type=int, default=141)
    parser.add_argument("--size", type=int, nargs=2, default=(1344, 768), help="width and height")
    parser.add_argument("--core", type=int, default=0, help="frames that core decodes, too")
    parser.add_argument("--no-encoding", action="store_true")
    options = parser.parse_args()
    start_comfyui()
    rows = []
    for name in options.models:
        ways = [("ours", options.frames)]
        if options.core:
            ways += [("ours", options.core), ("core", options.core)]
        for way, frames in ways:
            rows.append(row(name, frames, tuple(options.size), way, not options.no_encoding))
            print(rows[-1], flush=True)
    print(json.dumps({**machine(), "rows": rows}))


if __name__ == "__main__":
    main()
