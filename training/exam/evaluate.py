"""Measures the built-in model on prompts it was never trained on.

    python -m training.exam.evaluate                       # 200 clips: training/results/report.md
    python -m training.exam.evaluate --continuity          # what stays the same over time
    python -m training.exam.evaluate --threads 1 --weights training/runs/dit.safetensors

Prints each score with its 95 % interval and number of clips. Beside it: what clips made for other
prompts of the same kind would score, and how often the detector itself is right on rendered clips,
as they are and after the VAE. Writes the report as Markdown and JSON, and contact sheets; the last
line printed is the report as JSON.
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

from pack import ROOT

from ..solvers import Settings
from ..world.captions import WHOLE_WORLD, Mix, Scene, caption, held_out_scenes
from ..world.render import render
from ..world.sheet import clip_sheet, to_frames
from .continuity import examine_continuity
from .judge import SCORES, Scorecard, Verdicts, View, judge, without
from .report import scores_page, show, write_report


class Part(NamedTuple):
    """A kind of prompt.

    Attributes:
        share: how many of twenty prompts are of it. mix: what may happen in them.
        apart: scores that do not count them.
    """

    share: int
    mix: Mix
    apart: frozenset[str] = frozenset()


ONE = Mix(two=0, cut=0, camera=0)
EXAM = (
    Part(8, ONE),
    # More of left and right, which would weigh too much among nine motions.
    Part(3, Mix(two=0, cut=0, camera=0, motions=("left", "right")), frozenset({"motion"})),
    Part(3, Mix(two=0, cut=0, camera=1)),
    Part(3, Mix(two=1, cut=0, camera=0)),
    Part(3, Mix(two=0, cut=1, camera=0)),
)
# By turns, so that the first ten or twenty prompts are a small exam already.
TURNS = [i for _, i in sorted(((k + 0.5) / p.share, i) for i, p in enumerate(EXAM)
                              for k in range(p.share))]  # fmt: skip
MakeClips = Callable[[list[str], list[int]], Tensor]  # prompts, seeds -> (b, 3, f, h, w)


class ExamPrompt(NamedTuple):
    """A scene and its prompt.

    Attributes:
        part: of EXAM, the index.
    """

    scene: Scene
    prompt: str
    part: int = 0


class Answer(NamedTuple):
    """One prompt and what became of it.

    Attributes:
        scene, prompt: what was asked for. clip: uint8 (frames, h, w, 3). verdicts: on it.
        chance: verdicts by the prompt before, of the same part: what a model scores that does not
            listen.
    """

    scene: Scene
    prompt: str
    clip: Tensor
    verdicts: Verdicts
    chance: Verdicts

    @property
    def summary(self) -> str:
        """The prompt and what is wrong with the clip."""
        wrong = [name for name, right in self.verdicts.items() if not right]
        return f"{self.prompt} [{'wrong: ' + ', '.join(wrong) if wrong else 'right'}]"


def questions(count: int, seed: int) -> list[ExamPrompt]:
    """Held-out scenes and prompts, by turns of TURNS; motions take turns within each part.

    Every other prompt of a part has an order of words that training never used.
    """
    rng, asked = Random(seed), []
    scenes = [held_out_scenes(count, 1000 * seed + i, part.mix) for i, part in enumerate(EXAM)]
    place = [0] * len(EXAM)
    for k in range(count):
        i = TURNS[k % len(TURNS)]
        scene = scenes[i][place[i]]
        prompt = caption(scene, rng, WHOLE_WORLD, unseen_order=place[i] % 2 == 1)
        asked.append(ExamPrompt(scene, prompt, i))
        place[i] += 1
    return asked


def evaluate_clips(
    make_clips: MakeClips, asked: list[ExamPrompt], seed: int, batch: int = 6
) -> Iterator[Answer]:
    """Make a clip for each prompt and judge it."""
    others: dict[int, Scene] = {}
    for at in range(0, len(asked), batch):
        part = asked[at : at + batch]
        seeds = [seed + at + k for k in range(len(part))]
        frames = to_frames(make_clips([question.prompt for question in part], seeds))
        for (scene, prompt, i), clip in zip(part, frames, strict=True):
            view, apart = View(clip.numpy()), EXAM[i].apart
            other, others[i] = others.get(i), scene
            chance = without(judge(other, view), apart) if other else {}
            yield Answer(scene, prompt, clip, without(judge(scene, view), apart), chance)


def calibrate(
    asked: list[ExamPrompt], seed: int, through: Callable[[Tensor], Tensor] | None = None
) -> Scorecard:
    """How often the detectors are right on rendered clips, sent `through` a VAE if given."""
    generator, tally = torch.Generator().manual_seed(seed), Scorecard()
    for at in range(0, len(asked), 6):
        part = asked[at : at + 6]
        pixels = render([question.scene for question in part], 17, generator).pixels
        frames = to_frames(through(pixels) if through else pixels).numpy()
        for question, clip in zip(part, frames, strict=True):
            tally.add([without(judge(question.scene, clip), EXAM[question.part].apart)])
    return tally


def block_grid(pixels: Tensor, period: int) -> float:
    """How much steeper pictures are across the borders of blocks of `period` pixels than elsewhere.

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
    """Pixels after encoding and decoding."""
    dtype = next(vae.parameters()).dtype
    return vae.decode(vae.encode(pixels.to(dtype))).float().clamp(-1, 1)


def measure_vae(vae, scenes: list[Scene], seed: int) -> dict[str, float]:
    """PSNR in dB, and block grids of reconstructions divided by those of the originals."""
    generator, errors, grids = torch.Generator().manual_seed(seed), [], []
    for scene in scenes:
        pixels = render([scene], 17, generator).pixels
        back = round_trip(vae, pixels)
        errors.append((back - pixels).square().mean())
        grids.append([block_grid(back, p) / block_grid(pixels, p) for p in (4, 16)])
    psnr = 10 * torch.log10(4 / torch.stack(errors))
    grid_4, grid_16 = torch.tensor(grids).mean(0).tolist()
    return {
        "psnr_db": round(psnr.mean().item(), 2),
        "worst_psnr_db": round(psnr.min().item(), 2),
        "grid_4": round(grid_4, 3),
        "grid_16": round(grid_16, 3),
        "clips": len(scenes),
    }


def table(answers: list[Answer], rendered: Scorecard, decoded: Scorecard) -> dict[str, dict]:
    """Every score that was asked for, with the detectors' own scores."""
    scores = Scorecard().add(answer.verdicts for answer in answers)
    chance = Scorecard().add(answer.chance for answer in answers)
    return {
        name: {
            "percent": scores.percent(name),
            "interval": scores.interval(name),
            "n": scores.asked[name],
            "chance": chance.percent(name),
            "detector": rendered.percent(name),
            "detector_after_vae": decoded.percent(name),
            "detector_n": rendered.asked[name],
        }
        for name in SCORES
        if scores.asked[name]
    }


def save_sheets(answers: list[Answer], folder: Path, each: int = 12) -> None:
    """Save contact sheets of `each` clips, in the order they were made: no clip is left out."""
    for at in range(0, len(answers), each):
        part = answers[at : at + each]
        clips = [answer.clip for answer in part]
        texts = [answer.summary for answer in part]
        clip_sheet(clips, texts).save(folder / f"clips-{at // each + 1:02}.png")


def examine_prompts(pipeline, clips: int, calibration: int, seed: int, sheets: Path) -> dict:
    """The whole evaluation; contact sheets go to the folder `sheets`."""
    begun = time.process_time()
    answers = list(evaluate_clips(pipeline, questions(clips, seed), seed))
    seconds = time.process_time() - begun
    save_sheets(answers, sheets)
    asked = questions(calibration, seed + 1)
    rendered = calibrate(asked, seed)
    decoded = calibrate(asked, seed, lambda pixels: round_trip(pipeline.vae, pixels))
    return {
        "scores": table(answers, rendered, decoded),
        "vae": measure_vae(pipeline.vae, [q.scene for q in asked[:30]], seed) if asked else {},
        "clips": clips,
        "calibration_clips": calibration,
        "seed": seed,
        "settings": vars(pipeline.settings),
        "cpu_seconds_per_clip": round(seconds / clips, 2),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument(
        "--weights",
        type=Path,
        default=ROOT / "models" / "nano",
        help="folder of shipped weights, or the checkpoint of a run, such as "
        "training/runs/dit.safetensors",
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cfg", type=float)
    parser.add_argument("--shift", type=float)
    parser.add_argument("--sampler")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibrate", type=int, default=120, help="rendered clips for detectors")
    parser.add_argument("--continuity", action="store_true", help="what stays the same over time")
    parser.add_argument("--only", default="", help="parts of --continuity whose name has this")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, help="1 is best beside a training run")
    parser.add_argument("--out", type=Path, default=ROOT / "training" / "results")
    parser.add_argument(
        "--sheets", type=Path, default=ROOT / "training" / "runs" / "sheets", help="contact sheets"
    )
    return parser.parse_args()


def load_pipeline(args: argparse.Namespace):
    """The networks and settings that the command line names."""
    from ..pipeline import Pipeline  # slow to import, and the detectors do without

    if args.threads:
        torch.set_num_threads(args.threads)
    named = ("steps", "cfg", "shift", "sampler")
    settings = Settings(**{k: v for k in named if (v := getattr(args, k, None)) is not None})
    make = Pipeline.load if args.weights.is_dir() else Pipeline.watch
    return make(args.weights, getattr(torch, args.dtype), settings)


def main() -> None:
    args = arguments()
    for folder in (args.out, args.sheets):
        folder.mkdir(parents=True, exist_ok=True)
    pipeline = load_pipeline(args)
    if args.continuity:
        clips = 50 if args.clips == 200 else args.clips
        examine_continuity(pipeline, clips, args.seed, args.only, args.out, args.sheets)
        return
    report = examine_prompts(pipeline, args.clips, args.calibrate, args.seed, args.sheets)
    show(report)
    write_report(args.out / "report", scores_page(report), report)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
