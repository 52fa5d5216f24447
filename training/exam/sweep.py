"""Which settings serve a set of weights best: the same prompts and seeds under each of them.

    python -m training.exam.sweep --group steps --clips 40 --threads 1 --dtype bfloat16
    python -m training.exam.sweep --set "steps=8 sampler=lms_2 shift=5" --set "steps=12 cfg=3"

Prints a line for each, the default settings first: percent right, evaluations of the transformer
and seconds of CPU for a clip, decoding included. The last line is the same as JSON.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch

from ..solvers import Settings
from .evaluate import ROOT, evaluate_clips, load_pipeline, questions
from .judge import Scorecard

COLUMNS = ("colour", "ground", "time", "coherent", "shape", "motion", "left_right", "camera_moves",
           "cut", "no_cut", "after_cut", "two_colours", "one_all", "two_all")  # fmt: skip
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cfg": tuple(f"cfg={cfg}" for cfg in (1, 2, 3, 5, 6, 8)),
        "shift": tuple(f"shift={shift}" for shift in (1, 2, 4, 5, 7)),
        "steps": tuple(f"steps={steps}" for steps in (4, 6, 8, 12, 16)),
        "sampler": (
            *(f"steps=12 sampler={sampler}" for sampler in ("lms_2", "lms_3", "dpm_2m")),
            "steps=6 sampler=heun",
        ),
        "few": tuple(
            f"steps=8 sampler={sampler} shift={shift}"
            for sampler in ("euler", "lms_2", "dpm_2m")
            for shift in (3, 5)
        ),
        "guide": ("guide=0.2:1", "guide=0.5:1", "guide=0:0.9", "rescale=0.5", "cfg=6 rescale=0.7"),
    }
)


def parse_settings(text: str, base: Settings) -> Settings:
    """The base settings with some replaced: "steps=8 sampler=lms_2 guide=0.2:1"."""
    values = {}
    for part in text.split():
        name, value = part.split("=")
        kind = type(getattr(base, name))
        values[name] = (
            tuple(map(float, value.split(":"))) if kind is tuple else kind(value)
        )  # fmt: skip
    return replace(base, **values)


def measure_settings(pipeline, settings: Settings, clips: int, seed: int) -> dict:
    """Scores and costs of one clip under these settings."""
    asked, seconds = questions(clips, seed), 0.0
    pipeline.settings, pipeline.evaluations = settings, 0

    def make(prompts: list[str], seeds: list[int]) -> torch.Tensor:
        nonlocal seconds
        begun = time.process_time()
        made = pipeline(prompts, seeds)
        seconds += time.process_time() - begun
        return made

    tally = Scorecard().add(answer.verdicts for answer in evaluate_clips(make, asked, seed))
    return {
        "scores": {name: tally.percent(name) for name in COLUMNS},
        "n": {name: tally.asked[name] for name in COLUMNS},
        "evaluations": pipeline.evaluations / clips,
        "seconds": round(seconds / clips, 2),
    }


def line(title: str, row: dict) -> str:
    """One line of the table."""
    cells = [f"{'' if v is None else round(v):>6}" for v in row["scores"].values()]
    return f"{title:<34}{''.join(cells)}{row['evaluations']:>7.0f}{row['seconds']:>7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "models" / "nano")
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=[])
    parser.add_argument("--set", action="append", default=[], help='"steps=8 cfg=3": one line')
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    pipeline, base, rows = load_pipeline(args), Settings(), {}
    wanted = ["", *(text for group in args.group for text in GROUPS[group]), *args.set]
    heads = "".join(f"{name[:5]:>6}" for name in COLUMNS)
    print(f"{'':<34}{heads}{'evals':>7}{'CPU s':>7}")
    for text in wanted:
        rows[text or "defaults"] = measure_settings(
            pipeline, parse_settings(text, base), args.clips, args.seed
        )
        print(line(text or "defaults", rows[text or "defaults"]), flush=True)
    print(json.dumps({"clips": args.clips, "seed": args.seed, "rows": rows}))


if __name__ == "__main__":
    main()
