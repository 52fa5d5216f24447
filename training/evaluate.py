"""Measures the built-in model on prompts it was never trained on.

    python -m training.evaluate --clips 60 --out training/runs/report

Prints each score with the number of clips it counts and, beside it, how often the detector itself
is right on rendered clips, as they are and after the VAE. Writes report.json and contact sheets;
the last line printed is the report as JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from .captions import WHOLE_WORLD, Mix, Scene, caption, held_out_scenes
from .judge import SCORES, Tally, Verdicts, judge
from .pack import ROOT
from .sheet import contact_sheet, to_frames
from .world import render

GOALS = {"colour": 95, "ground": 95, "time": 95, "coherent": 80, "motion": 65, "left_right": 80}
EXAM = (  # of ten prompts
    (7, Mix(two=0, cut=0, camera=0)),
    (1, Mix(two=0, cut=0, camera=1)),
    (1, Mix(two=1, cut=0, camera=0)),
    (1, Mix(two=0, cut=1, camera=0)),
)
MakeClips = Callable[[list[str], list[int]], Tensor]  # prompts, seeds -> (b, 3, f, h, w)


class Answer(NamedTuple):
    """One prompt and what became of it. clip: uint8 (frames, h, w, 3)."""

    scene: Scene
    prompt: str
    clip: Tensor
    verdicts: Verdicts

    @property
    def summary(self) -> str:
        """The prompt and what is wrong with the clip."""
        wrong = [name for name, right in self.verdicts.items() if not right]
        return f"{self.prompt} [{'wrong: ' + ', '.join(wrong) if wrong else 'right'}]"


def exam(count: int, seed: int) -> list[Scene]:
    """Held-out scenes: of ten, seven show one object under a camera at rest, and one each has a
    moving camera, two objects, a cut. Motions take turns."""
    groups = [iter(held_out_scenes(count, 1000 * seed + i, mix)) for i, (_, mix) in enumerate(EXAM)]
    order = [i for i, (share, _) in enumerate(EXAM) for _ in range(share)]
    return [next(groups[order[k % len(order)]]) for k in range(count)]


def questions(count: int, seed: int) -> list[tuple[Scene, str]]:
    """Scenes and prompts; every other prompt has an order of words that training never used."""
    rng = Random(seed)
    return [
        (scene, caption(scene, rng, WHOLE_WORLD, unseen_order=k % 2 == 1))
        for k, scene in enumerate(exam(count, seed))
    ]


def evaluate(
    make_clips: MakeClips, asked: list[tuple[Scene, str]], seed: int, batch: int = 6
) -> Iterator[Answer]:
    """Make a clip for each prompt and judge it; a few clips are enough to watch a training run."""
    for at in range(0, len(asked), batch):
        part = asked[at : at + batch]
        seeds = [seed + at + k for k in range(len(part))]
        frames = to_frames(make_clips([prompt for _, prompt in part], seeds))
        for (scene, prompt), clip in zip(part, frames, strict=True):
            yield Answer(scene, prompt, clip, judge(scene, clip.numpy()))


def calibrate(scenes: list[Scene], seed: int, through: Callable[[Tensor], Tensor] | None = None):
    """How often the detectors are right on rendered clips, sent `through` a codec if given."""
    generator, tally = torch.Generator().manual_seed(seed), Tally()
    for at in range(0, len(scenes), 6):
        part = scenes[at : at + 6]
        pixels = render(part, 17, generator).pixels
        frames = to_frames(through(pixels) if through else pixels).numpy()
        tally.add(judge(scene, clip) for scene, clip in zip(part, frames, strict=True))
    return tally


def grid(pixels: Tensor, period: int) -> float:
    """How much steeper the picture is across the borders of `period`-pixel blocks than elsewhere.

    pixels: (..., h, w). About 1 where no block grid shows.
    """
    ratios = []
    for axis in (-1, -2):
        steps = pixels.diff(dim=axis).abs().movedim(axis, 0).flatten(1).mean(1)
        border = (torch.arange(len(steps)) + 1) % period == 0
        ratios.append(steps[border].mean() / steps[~border].mean())
    return float(sum(ratios) / 2)


@torch.inference_mode()
def round_trip(vae, pixels: Tensor) -> Tensor:
    """What is left of pixels after encoding and decoding."""
    dtype = next(vae.parameters()).dtype
    return vae.decode(vae.encode(pixels.to(dtype))).float().clamp(-1, 1)


def measure_vae(vae, scenes: list[Scene], seed: int) -> dict[str, float]:
    """PSNR in dB, and block grids of reconstructions divided by those of the originals."""
    generator, errors, grids = torch.Generator().manual_seed(seed), [], []
    for scene in scenes:
        pixels = render([scene], 17, generator).pixels
        back = round_trip(vae, pixels)
        errors.append((back - pixels).square().mean())
        grids.append([grid(back, p) / grid(pixels, p) for p in (4, 16)])
    psnr = 10 * torch.log10(4 / torch.stack(errors))
    grid_4, grid_16 = torch.tensor(grids).mean(0).tolist()
    return {
        "psnr_db": round(psnr.mean().item(), 2),
        "worst_psnr_db": round(psnr.min().item(), 2),
        "grid_4": round(grid_4, 3),
        "grid_16": round(grid_16, 3),
        "clips": len(scenes),
    }


def table(scores: Tally, rendered: Tally, decoded: Tally) -> dict[str, dict]:
    """Every score that was asked for, with the detectors' own scores."""
    return {
        name: {
            "percent": scores.percent(name),
            "n": scores.asked[name],
            "detector": rendered.percent(name),
            "detector_after_vae": decoded.percent(name),
        }
        for name in SCORES
        if scores.asked[name]
    }


def show(rows: dict[str, dict]) -> None:
    print(f"{'score':<44}{'right':>7}{'n':>5}{'goal':>6}{'detector':>10}{'after VAE':>10}")
    for name, row in rows.items():
        cells = (row["percent"], row["n"], GOALS.get(name, ""))
        own = (row["detector"] or "", row["detector_after_vae"] or "")
        print("{:<44}{:>7}{:>5}{:>6}{:>10}{:>10}".format(SCORES[name], *cells, *own))


def save_sheets(answers: list[Answer], folder: Path, each: int = 12) -> None:
    """Contact sheets of `each` clips, worst clips not hidden: in the order they were made."""
    for at in range(0, len(answers), each):
        part = answers[at : at + each]
        clips = [answer.clip for answer in part]
        texts = [answer.summary for answer in part]
        contact_sheet(clips, texts).save(folder / f"clips-{at // each + 1:02}.png")


def examine(pipeline, clips: int, calibration: int, seed: int, folder: Path) -> dict:
    """The whole evaluation: what is printed, report.json and contact sheets in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    answers = list(evaluate(pipeline, questions(clips, seed), seed))
    seconds = time.monotonic() - begun
    save_sheets(answers, folder)
    scenes = exam(calibration, seed + 1)
    rendered = calibrate(scenes, seed)
    decoded = calibrate(scenes, seed, lambda pixels: round_trip(pipeline.vae, pixels))
    rows = table(Tally().add(answer.verdicts for answer in answers), rendered, decoded)
    show(rows)
    report = {
        "scores": rows,
        "vae": measure_vae(pipeline.vae, scenes[:30], seed) if scenes else {},
        "clips": clips,
        "calibration_clips": calibration,
        "seed": seed,
        "steps": pipeline.steps,
        "cfg": pipeline.cfg,
        "shift": pipeline.shift,
        "seconds_per_clip": round(seconds / clips, 2),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument(
        "--weights",
        type=Path,
        default=ROOT / "models" / "nano",
        help="folder of shipped weights, or the checkpoint of a run, such as "
        "training/runs/dit.safetensors",
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cfg", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibrate", type=int, default=60, help="rendered clips for detectors")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, help="1 is best beside a training run")
    parser.add_argument("--out", type=Path, default=ROOT / "training" / "runs" / "report")
    args = parser.parse_args()

    from .pipeline import Pipeline  # renders and detectors do not need the networks

    if args.threads:
        torch.set_num_threads(args.threads)
    load = Pipeline.load if args.weights.is_dir() else Pipeline.watch
    settings = {k: v for k in ("steps", "cfg") if (v := getattr(args, k)) is not None}
    pipeline = load(args.weights, getattr(torch, args.dtype), **settings)
    report = examine(pipeline, args.clips, args.calibrate, args.seed, args.out)
    if report["vae"]:
        line = "VAE: {psnr_db} dB, block grid {grid_4} at 4 px, {grid_16} at 16 px"
        print(line.format(**report["vae"]))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
