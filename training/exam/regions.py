"""Measures regions: `python -m training.exam.regions`. The last line printed is JSON.

Of rendered clips a part is sampled anew, the rest being known: an object is replaced by another
one, or by nothing, or the picture goes on past its right edge. Each is asked of both roads by which
the built-in network can be told what is known: a noise level for each token, or replacement along
the noise. The detectors' own rates stand beside: on clips rendered with the other object, and on
clips that are left as they are.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.engine.sampling.presets import NANO_FAST

from ..pipeline import Pipeline
from ..shipped import WEIGHTS
from ..solvers import PRESET, Settings
from ..world.captions import COLOURS, SHAPES, Scene, Thing, caption
from ..world.render import render
from ..world.sheet import clip_sheet, to_frames
from .detect import labels_of, read, shape_of
from .judge import interval
from .trials import Paths, one_object, paths_of

ROADS = ("tokens", "noise line")
FRAMES, SIDE, CELL, TOKEN = 17, 128, 16, 32  # of clips and latent cells; pixels
GROW = 6  # pixels around an object, for its rim and what the VAE smears
REMOVING = 2.0  # cfg; the network has never seen a picture without an object
EDGE = 96  # the first column that is sampled where the picture is expanded


class Task(NamedTuple):
    """A clip of which a part is sampled anew.

    Attributes:
        pixels: (3, f, h, w) in [-1, 1]. area: (h, w) bool, what is sampled.
        prompt: of the whole. scene: what shall be seen. seed: of the noise, and of the rendering.
        negative: what shall not be seen.
    """

    pixels: Tensor
    area: Tensor
    prompt: str
    scene: Scene
    seed: int
    negative: str = ""


def objects(count: int, seed: int) -> list[Task]:
    """Clips of one object that stays wholly in the picture, and where it is."""
    tasks, rng = [], Random(seed)
    for scene in one_object(seed, ("still", "spins", "bounces")):
        layout = rng.randrange(2**31)
        paths = paths_of(scene, layout, 0, FRAMES)
        if not bool(paths.inside(0.02)[:, 0].all()):
            continue
        pixels = rendered(scene, layout)
        tasks.append(Task(pixels, area_of(paths), caption(scene, rng), scene, layout))
        if len(tasks) == count:
            return tasks
    raise ValueError("too few scenes")


def rendered(scene: Scene, seed: int) -> Tensor:
    return render([scene], FRAMES, torch.Generator().manual_seed(seed)).pixels[0]


def area_of(paths: Paths) -> Tensor:
    """(h, w): the box of all places of the first object, and its shadow below."""
    x, y, r = paths.x[:, 0], paths.y[:, 0], paths.radius[:, 0] * 1.15
    edges = (
        (x - r).min(),
        (x + r).max(),
        (y - r).min(),
        torch.maximum(y + r, paths.base[:, 0]).max(),
    )
    left, right, top, bottom = (round((float(e) + 0.5) * SIDE) for e in edges)
    area = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    area[max(0, top - GROW) : bottom + GROW, max(0, left - GROW) : right + GROW] = True
    return area


def replaced(task: Task, rng: Random) -> Task:
    """The task of another object, of another colour and shape, that stands still there."""
    shot = task.scene.shots[0]
    old = shot.things[0]
    colour = rng.choice([c for c in COLOURS if c != old.colour])
    shape = rng.choice([s for s in SHAPES if s != old.shape])
    scene = Scene((replace(shot, things=(Thing(colour, shape, old.size, "still"),)),))
    return task._replace(scene=scene, prompt=caption(scene, rng))


def removed(task: Task) -> Task:
    """The task of the ground alone, its object being what shall not be seen."""
    shot = task.scene.shots[0]
    thing = shot.things[0]
    prompt = f"{shot.ground} at {shot.time}, static camera"
    return task._replace(prompt=prompt, negative=f"a {thing.size} {thing.colour} {thing.shape}")


def expanded(task: Task) -> Task:
    """The task of the picture's right edge, all else being known."""
    return task._replace(area=(torch.arange(SIDE) >= EDGE).expand(SIDE, -1))


def cells_of(area: Tensor, of: int) -> Tensor:
    """(h, w) bool -> those cells of so many pixels that it touches, of latent resolution."""
    touched = F.max_pool2d(area[None].float(), of)
    return touched.repeat_interleave(of // CELL, 1).repeat_interleave(of // CELL, 2)[0] > 0


@torch.inference_mode()
def sampled(pipeline: Pipeline, tasks: Sequence[Task], road: str) -> list[np.ndarray]:
    """The clips, uint8 (f, h, w, 3), their pixels outside of the areas put back."""
    out = []
    for at in range(0, len(tasks), 16):
        batch = tasks[at : at + 16]
        pixels = torch.stack([task.pixels for task in batch])
        given = pipeline.vae.encode(pixels.to(next(pipeline.vae.parameters())))
        snap = TOKEN if road == "tokens" else CELL
        cells = torch.stack([cells_of(task.area, snap) for task in batch])
        noise = pipeline.noise([task.seed for task in batch], FRAMES, SIDE, SIDE)
        area = cells[:, None, None].expand(-1, 1, noise.shape[2], -1, -1)
        prompts = [task.prompt for task in batch]
        without = [task.negative for task in batch]
        latents = pipeline.sample_area(
            prompts, noise, given, area, by_token=road == "tokens", negatives=without
        )
        made = to_frames(pipeline.vae.decode(latents).float())
        kept = to_frames(pixels)
        for task, clip, old in zip(batch, made, kept, strict=True):
            out.append(torch.where(task.area[None, :, :, None], clip, old).numpy())
    return out


def share(right: Sequence[bool]) -> dict:
    low, high = interval(sum(right), len(right))
    return {"percent": round(100 * mean(right), 1), "interval": [low, high], "n": len(right)}


def shows(clip: np.ndarray, thing: Thing) -> dict[str, bool]:
    tracks = read(clip).tracks
    colour = bool(tracks) and tracks[0].colour == thing.colour
    shape = bool(tracks) and shape_of(tracks[0]) == thing.shape
    return {"colour": colour, "shape": shape, "both": colour and shape}


def gone(clip: np.ndarray, task: Task) -> bool:
    """Whether the area shows no object: less than a twentieth of it has an object's colour."""
    labels = labels_of(clip.astype(np.float32) / 255)
    return float((labels[:, task.area.numpy()] >= 0).mean()) < 0.05


def seam(clip: np.ndarray) -> float:
    """How steep the seam is: its mean step over the 95th percentile of all columns' mean steps."""
    steps = np.abs(np.diff(clip.astype(np.float32), axis=2)).mean((0, 1, 3))
    others = np.delete(steps, EDGE - 1)
    return float(steps[EDGE - 1] / max(np.percentile(others, 95), 1e-6))


def verdicts(clips: Sequence[np.ndarray], tasks: Sequence[Task]) -> dict:
    each = [shows(c, t.scene.shots[0].things[0]) for c, t in zip(clips, tasks, strict=True)]
    return {name: share([one[name] for one in each]) for name in each[0]}


def outside(clips: Sequence[np.ndarray], tasks: Sequence[Task]) -> float:
    """Percent of pixels outside the areas that are as they were."""
    same = []
    for clip, task in zip(clips, tasks, strict=True):
        old, out = to_frames(task.pixels[None])[0].numpy(), ~task.area.numpy()
        same.append(float((clip[:, out] == old[:, out]).mean()))
    return round(100 * mean(same), 3)


def examine(
    pipeline: Pipeline, count: int, seed: int, sheets: Path | None, roads: Sequence[str] = ROADS
) -> dict:
    rng = Random(seed)
    there = objects(count, seed)
    other, wider = [replaced(task, rng) for task in there], [expanded(task) for task in there]
    empty = [task._replace(prompt="") for task in there]
    bare = [removed(task) for task in there]
    truth = [rendered(task.scene, task.seed) for task in other]
    as_rendered = [to_frames(pixels[None])[0].numpy() for pixels in truth]
    before = [to_frames(task.pixels[None])[0].numpy() for task in there]
    report: dict = {
        "clips": count,
        "detector": verdicts(as_rendered, other),
        "left as they are": {
            "replace": verdicts(before, other),
            "gone": share([gone(c, t) for c, t in zip(before, there, strict=True)]),
            "seam": round(mean(map(seam, before)), 3),
        },
    }
    for road in roads:
        new, none, more = (sampled(pipeline, part, road) for part in (other, empty, wider))
        usual = pipeline.settings
        pipeline.settings = replace(usual, cfg=REMOVING)
        less = sampled(pipeline, bare, road)
        pipeline.settings = usual
        report[road] = {
            "outside equal": outside(new, other),
            "replace": verdicts(new, other),
            "gone, without words": share([gone(c, t) for c, t in zip(none, there, strict=True)]),
            "gone, named as negative": share(
                [gone(c, t) for c, t in zip(less, there, strict=True)]
            ),
            "seam": round(mean(map(seam, more)), 3),
            "seam not steeper": share([seam(c) <= 1 for c in more]),
        }
        if sheets is not None:
            save_sheets(sheets, road, before, new, less, more, other)
    return report


def save_sheets(folder: Path, road: str, before, new, none, more, tasks) -> None:
    """Contact sheets of the first clips, before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = [task.prompt for task in tasks]
    for name, clips, words in (
        ("replace", new, asked),
        ("remove", none, ["nothing"] * len(none)),
        ("expand", more, ["more to the right"] * len(more)),
    ):
        pairs = [torch.from_numpy(c) for two in zip(before, clips, strict=True) for c in two]
        texts = [text for word in words for text in ("before", word)]
        sheet = clip_sheet(pairs[:16], texts[:16])
        sheet.save(folder / f"{road.replace(' ', '_')}_{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=PRESET.steps)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--run", type=Path, help="a run's checkpoint instead of the shipped weights"
    )
    parser.add_argument("--roads", nargs="+", choices=ROADS, help="some of them")
    parser.add_argument("--sheets", type=Path, help="a folder for contact sheets")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    pipeline = Pipeline.watch(asked.run) if asked.run else Pipeline.load(WEIGHTS)
    if asked.steps != PRESET.steps:
        pipeline.settings = Settings(steps=asked.steps, shift=NANO_FAST.shift)
    report = examine(pipeline, asked.clips, asked.seed, asked.sheets, asked.roads or ROADS)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
