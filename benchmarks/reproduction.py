"""Did a video come out of this VAE: clips of the built-in model against rendered ones.

    python dev.py bench reproduction                       12 of each: two minutes of a core
    python dev.py bench reproduction --clips 40 --changed all

Rendered clips are what the built-in VAE was trained on, and have the same words: nothing else is as
hard to tell from what it decodes. Each is looked at as it is and encoded; if asked, scaled,
cropped and cut, too.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import torch
from _measure import machine
from recognise import cropped, encoded, scaled
from torch import Tensor

FRAMES = 17
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda v: v,
    "crf 18": lambda v: encoded(v, 18),
    "crf 23": lambda v: encoded(v, 23),
    "crf 28": lambda v: encoded(v, 28),
    "first 2 frames cut off": lambda v: v[2:],
    "10 % cropped": lambda v: cropped(v, 0.1),
    "half the size": lambda v: scaled(v, 64, 64),
}
USUAL = ("none", "crf 18", "crf 23", "crf 28")


def clips(count: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """Clips that the built-in model made, and rendered ones of the same words."""
    from training.pipeline import Pipeline
    from training.shipped import WEIGHTS
    from training.world.captions import caption, sample_scene
    from training.world.render import render
    from training.world.sheet import to_frames

    pipeline, made, rendered = Pipeline.load(WEIGHTS), [], []
    pipeline.settings = replace(pipeline.settings, steps=steps)
    for seed in range(count):
        random = Random(f"vae {seed}")
        scene = sample_scene(random)
        generator = torch.Generator().manual_seed(seed)
        rendered.append(to_frames(render([scene], FRAMES, generator).pixels)[0])
        made.append(to_frames(pipeline([caption(scene, random)], [seed], frames=FRAMES))[0])
    return made, rendered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=12, help="of each kind")
    parser.add_argument("--steps", type=int, default=8, help="that the model samples in")
    parser.add_argument("--changed", choices=("usual", "all"), default="usual", help="how")
    options = parser.parse_args()
    torch.set_num_threads(1)
    from longtake.engine.recognition.reproduction import OWN, middle_part, reproduction, starts
    from training.shipped import shipped_vae

    vae = shipped_vae()

    def by(frames: Tensor) -> Tensor:
        pixels = (frames.float() / 127.5 - 1).movedim(3, 0)[None]
        back = vae.decode(vae.encode(pixels))[0].movedim(0, 3)
        return ((back + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def ratio(video: Tensor) -> float:
        video = middle_part(video, 16)
        places = starts(len(video), 9, 4)
        return reproduction(lambda at: video[at : at + 9], places, by).ratio

    found = {}
    with torch.inference_mode():
        groups = clips(options.clips, options.steps)
        for name in USUAL if options.changed == "usual" else CHANGES:
            change = CHANGES[name]
            own, other = (np.array([ratio(change(v)) for v in group]) for group in groups)
            found[name] = {
                "own": [round(float(v), 2) for v in np.quantile(own, (0, 0.5, 1))],
                "other": [round(float(v), 2) for v in np.quantile(other, (0, 0.5, 1))],
                "auc": round(float((own[:, None] < other).mean()), 4),
                "found": round(float((own < OWN).mean()), 3),
                "false": round(float((other < OWN).mean()), 3),
            }
            print(f"{name:24}", json.dumps(found[name]), flush=True)
    print(json.dumps({**machine(), "clips": options.clips, "threshold": OWN, "changes": found}))


if __name__ == "__main__":
    main()
