"""Measures what Expand Prompt does for the built-in model, on prompts in other people's words.

    python -m training.exam.words               # the text alone: a second
    python -m training.exam.words --clips 200   # what the model makes of it, before and after

Of each prompt it is known what it means. Counted is how often colour, shape, motion, place, time of
day and camera are those, first as the text says them in words that the model was trained on, then,
with --clips, as the exam's detectors see them in what it samples. The last line is JSON.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from longtake.engine.words.little_world import WORD, read_scenes, recaption, trained_words
from pack import ROOT

from ..solvers import Settings
from ..world.captions import Scene
from ..world.sheet import clip_sheet, to_frames
from .judge import Scorecard, Verdicts, judge
from .paraphrase import paraphrased

TOLD = ("colour", "shape", "size", "motion", "ground", "time", "camera")
SEEN = ("colour", "ground", "time", "shape", "motion", "camera_moves", "no_cut", "one_all")


def told(scene: Scene, prompt: str) -> Verdicts:
    """What a prompt says rightly, by what is left of it for a model that knows its captions."""
    known = " ".join(
        word if word in trained_words() else "," for word in WORD.findall(prompt.lower())
    )
    asked, read = scene.shots[0], read_scenes(known)[0]
    thing = read.things[0] if read.things else None
    verdicts = {
        name: thing is not None and (getattr(thing, name) or "medium") == getattr(meant, name)
        for meant in asked.things[:1]
        for name in ("colour", "shape", "size", "motion")
    }
    verdicts |= {
        "ground": read.ground == asked.ground,
        "time": (read.time or "day") == asked.time,
        "camera": (read.camera or "static") == asked.camera,
    }
    return verdicts | {"all": all(verdicts.values())}


def percentages(names: Iterable[str], card: Scorecard) -> dict[str, float]:
    return {name: card.percent(name) for name in names if card.asked[name]}


def measure_text(asked: Sequence[tuple[Scene, str]], after: Sequence[str]) -> dict:
    """Attributes that are said in the model's words, in percent."""
    cards = {
        "before": Scorecard().add(told(scene, prompt) for scene, prompt in asked),
        "after": Scorecard().add(
            told(scene, prompt) for (scene, _), prompt in zip(asked, after, strict=True)
        ),
    }
    return {when: percentages((*TOLD, "all"), card) for when, card in cards.items()}


def measure_clips(
    asked: Sequence[tuple[Scene, str]], after: Sequence[str], args: argparse.Namespace
) -> dict:
    """Attributes that the exam's detectors see in sampled clips, in percent."""
    import torch

    from ..pipeline import Pipeline

    torch.set_num_threads(args.threads)
    weights = ROOT / "models" / "nano"
    pipeline = Pipeline.load(weights, torch.float32, Settings(steps=args.steps, shift=args.shift))
    rows = {"before": [prompt for _, prompt in asked], "after": list(after)}
    cards = {when: Scorecard() for when in rows}
    for when, prompts in rows.items():
        clips, shown = [], []
        for at in range(0, len(prompts), 4):
            part = prompts[at : at + 4]
            seeds = [args.seed + at + k for k in range(len(part))]
            for k, clip in enumerate(to_frames(pipeline(part, seeds))):
                verdicts = judge(asked[at + k][0], clip.numpy())
                cards[when].add([verdicts])
                clips.append(clip)
                shown.append(f"{part[k]} [{', '.join(n for n, ok in verdicts.items() if not ok)}]")
            print(f"{when}: {at + len(part)} of {len(prompts)}", flush=True)
        if args.sheets:
            clip_sheet(clips[:12], shown[:12]).save(args.sheets / f"words_{when}.png")
    return {when: percentages(SEEN, card) for when, card in cards.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=200, help="for the text alone")
    parser.add_argument("--clips", type=int, default=0, help="to sample, before and after")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--shift", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    args = parser.parse_args()
    asked = paraphrased(max(args.prompts, args.clips), args.seed)
    after = [recaption(prompt, args.seed).text for _, prompt in asked]
    report = {"seed": args.seed, "prompts": len(asked), "text": measure_text(asked, after)}
    if args.clips:
        sampled = asked[: args.clips], after[: args.clips]
        report |= {"clips": args.clips, "steps": args.steps, "seen": measure_clips(*sampled, args)}
    for part in ("text", "seen"):
        for when, row in report.get(part, {}).items():
            print(f"{part:>5} {when:<7}", *(f"{name} {value:g}" for name, value in row.items()))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
