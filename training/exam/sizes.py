"""How the model does at other sizes and lengths.

    python -m training.exam.sizes --clips 20 --threads 1 --dtype bfloat16

The same one-object prompts at each size and length: percent right, by the detectors that
`training.exam.evaluate` uses, and in brackets their own scores on rendered clips of that size.
"""

import argparse
import json
from pathlib import Path

import torch

from ..world.render import render
from ..world.sheet import clip_sheet, to_frames
from .evaluate import ROOT, load_pipeline, questions
from .judge import Scorecard, judge

SIZES = (  # width, height, frames
    (128, 128, 17),
    (192, 192, 17),
    (256, 96, 17),
    (96, 96, 17),
    (128, 128, 49),
    (128, 128, 97),
)
COLUMNS = ("colour", "ground", "time", "coherent", "shape", "no_cut")


def measure_size(pipeline, clips: int, size: tuple[int, int, int], seed: int, sheet: Path) -> dict:
    """Percent right at one size, of the model's clips and of rendered ones."""
    width, height, frames = size
    asked = [q for q in questions(4 * clips, seed) if q.part == 0][:clips]
    own, truth, shown = Scorecard(), Scorecard(), []
    for k, question in enumerate(asked):
        at = {"frames": frames, "height": height, "width": width}
        clip = to_frames(pipeline([question.prompt], [seed + k], **at))[0]
        generator = torch.Generator().manual_seed(seed + k)
        rendered = to_frames(render([question.scene], generator=generator, **at).pixels)[0]
        own.add([judge(question.scene, clip.numpy())])
        truth.add([judge(question.scene, rendered.numpy())])
        shown.append(clip)
    texts = [question.prompt for question in asked[:8]]
    clip_sheet(shown[:8], texts, every=max(4, frames // 8)).save(sheet)
    return {name: (own.percent(name), truth.percent(name)) for name in COLUMNS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "models" / "nano")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "training" / "runs" / "sheets")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    pipeline, rows = load_pipeline(args), {}
    print(f"{'':<16}{''.join(f'{name:>16}' for name in COLUMNS)}")
    for size in SIZES:
        name = "{}x{}, {}".format(*size)
        sheet = args.out / f"{name.replace(', ', '-')}.png"
        rows[name] = measure_size(pipeline, args.clips, size, args.seed, sheet)
        cells = [f"{own:>9.0f} ({truth:.0f})" for own, truth in rows[name].values()]
        print(f"{name:<16}{''.join(f'{cell:>16}' for cell in cells)}", flush=True)
    print(json.dumps({"clips": args.clips, "seed": args.seed, "sizes": rows}))


if __name__ == "__main__":
    main()
