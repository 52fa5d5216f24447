"""The built-in model on this machine: frames decoded a second, and a prompt made into an mp4.

`--threads 2` is what the goals speak of: decoding faster than 24 frames a second at 128x128, and
49 frames from prompt to mp4 in under 20 seconds once everything is loaded.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import torch
from _measure import DTYPES, medians
from torch import Tensor

from pack import ROOT
from training.pipeline import Pipeline
from training.solvers import Settings
from training.world.sheet import to_frames

PROMPT = "a big red ball rises over the grass at sunset, static camera"
FPS = 8


def write_mp4(path: Path, frames: Tensor) -> None:
    """frames: uint8 (frames, h, w, 3)."""
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames.numpy():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def prompt_to_mp4(pipeline: Pipeline, frames: int, path: Path) -> Tensor:
    clip = pipeline([PROMPT], [2], frames=frames)
    write_mp4(path, to_frames(clip)[0])
    return clip


def measure(pipeline: Pipeline, options) -> dict:
    """Times of decoding, of one evaluation of the transformer pair, and of the whole way."""
    noise = pipeline.noise([0], options.frames, 128, 128)
    z = noise.to(next(pipeline.vae.parameters()).dtype)
    with TemporaryDirectory() as folder:
        calls = {
            "decode": partial(pipeline.vae.decode, z),
            "prompt to mp4": partial(
                prompt_to_mp4, pipeline, options.frames, Path(folder, "a.mp4")
            ),
        }
        times = {
            clock: medians(calls, options.rounds, clock) for clock in ("wall", "cpu")
        }  # fmt: skip
    wall = times["wall"]
    return {
        "decoded_frames_per_s": round(1000 * options.frames / wall["decode"], 1),
        "prompt_to_mp4_s": round(wall["prompt to mp4"] / 1000, 2),
        "ms": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--steps", type=int, nargs="+", default=[24, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    for dtype in options.dtypes:
        pipeline = Pipeline.load(ROOT / "models" / "nano", DTYPES[dtype])
        for steps in options.steps:
            pipeline.settings = Settings(steps=steps)
            begun = time.perf_counter()
            row = {"dtype": dtype, "steps": steps, **measure(pipeline, options)}
            rows.append(row | {"measured_in_s": round(time.perf_counter() - begun, 1)})
            print(
                f"{dtype:>9}, {steps:>2} steps: {row['decoded_frames_per_s']} frames decoded a "
                f"second; {options.frames} frames from prompt to mp4 in {row['prompt_to_mp4_s']} s",
                flush=True,
            )
    facts = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({**facts, "frames": options.frames, "rows": rows}))


if __name__ == "__main__":
    main()
