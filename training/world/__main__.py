"""Draws a contact sheet of the little world, to look at.

python -m training.world --sheet world.png
"""

import argparse
from random import Random

import torch

from .captions import caption, sample_scene
from .render import render
from .sheet import clip_sheet, to_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", required=True, help="PNG to write")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, generator = Random(args.seed), torch.Generator().manual_seed(args.seed)
    scenes = [sample_scene(rng) for _ in range(args.clips)]
    clips = render(scenes, args.frames, generator, width=args.width).pixels
    texts = [caption(scene, rng) for scene in scenes]
    clip_sheet(list(to_frames(clips)), texts).save(args.sheet)


if __name__ == "__main__":
    main()
