"""Measures what stays the same over time: `python -m training.exam.evaluate --continuity`.

The network is given frames of rendered clips and continues them; the result is compared with what
the world would have done. Every question is also asked of the rendered clip itself, of the same
clip after the VAE, of the trivial answer (the last known frame repeated, or a cross-fade), and of
what the network made for another clip.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..world.paint import DEPTH, HORIZON
from ..world.sheet import clip_sheet, to_frames
from . import follow, trials
from .detect import read
from .judge import Scorecard, Verdicts, way_of
from .report import markdown_table, write_report
from .takes import answers, decode_latents, encode_pixels, known_pixels, psnr, through_vae, trivial
from .trials import Trial, first_frames, make, one_object, pixel_frame

Numbers = dict[str, float]
AFTER = pixel_frame(trials.LEAD + trials.GIVEN)  # first new frame of a window from the middle


class Question(NamedTuple):
    """What is asked of the network in one situation.

    Attributes:
        trials: (count, seed) -> that many. judge: verdicts on a clip, uint8 (frames, h, w, 3).
        numbers: of a clip's pixels (3, frames, h, w). share: of the clips asked for that are made.
    """

    trials: Callable[[int, int], list[Trial]]
    judge: Callable[[Trial, np.ndarray], Verdicts]
    numbers: Callable[[Trial, Tensor], Numbers] = lambda trial, pixels: {}
    share: float = 1.0


def _image(trial: Trial, clip: np.ndarray) -> Verdicts:
    truth = trial.frames.numpy()
    verdicts = {f"{k} kept": v for k, v in _end(trial, clip).items()} if trial.true else {}
    return verdicts | {
        "ground and time kept": follow.place_kept(clip[-8:], truth[:9]),
        "motion followed": follow.moves(trial.thing, clip),
    }


def _end(trial: Trial, clip: np.ndarray) -> Verdicts:
    """Colour, shape and size in the last second."""
    return follow.kept(trial.thing, clip[-8:], trial.frames.numpy()[-8:])


def _steered(trial: Trial, clip: np.ndarray) -> Verdicts:
    track = follow.track_of(read(clip), trial.thing.colour)
    return {"left or right as asked": track is not None and way_of(track) == trial.thing.motion}


def _extended(trial: Trial, clip: np.ndarray) -> Verdicts:
    verdicts = {f"{k} kept": v for k, v in _end(trial, clip).items()}
    verdicts["ground and time kept"] = follow.place_kept(clip[AFTER:], trial.frames.numpy()[AFTER:])
    verdicts["motion goes on"] = follow.moves(trial.thing, clip[AFTER - 4 :])
    if trial.thing.motion in ("left", "right", "rises", "falls"):
        verdicts["shadow agrees"] = follow.shadow_agrees(trial.thing, clip[AFTER - 4 :])
    return verdicts


def _filled(trial: Trial, clip: np.ndarray) -> Verdicts:
    middle = slice(3, 11)
    kept = follow.kept(trial.thing, clip[middle], trial.frames.numpy()[middle])
    return {f"{k} kept": v for k, v in kept.items()}


def _bounced(trial: Trial, clip: np.ndarray) -> Verdicts:
    period = follow.period_of(follow.track_of(read(clip[AFTER:]), trial.thing.colour))
    return {"period of one second kept": abs(period - 1) <= 0.1}


def _returned(trial: Trial, clip: np.ndarray) -> Verdicts:
    gone = trial.paths.outside()[:, 0].numpy()
    back = np.arange(len(gone)) > np.flatnonzero(gone)[-1]
    back &= trial.paths.inside()[:, 0].numpy()
    verdicts = follow.kept(trial.thing, clip[back], trial.frames.numpy()[back])
    verdicts = {f"{k} the same when back": v for k, v in verdicts.items()}
    verdicts["out of sight in between"] = follow.unseen(trial.thing, clip, gone)
    return verdicts | {"all of these": all(verdicts.values())}


def _emerged(trial: Trial, clip: np.ndarray) -> Verdicts:
    end, truth = clip[-4:], trial.frames.numpy()[-4:]
    verdicts = follow.kept(trial.thing, end, truth)
    verdicts = {f"{k} the same beyond the post": v for k, v in verdicts.items()}
    verdicts["on the other side"] = follow.where(trial.thing, end, truth)
    return verdicts | {"all of these": all(verdicts.values())}


def _passed(trial: Trial, clip: np.ndarray) -> Verdicts:
    end, truth = clip[-4:], trial.frames.numpy()[-4:]
    things = trial.scene.shots[0].things
    each = [follow.kept(thing, end, truth) for thing in things]
    both = {f"{k} of both the same after": all(e[k] for e in each) for k in each[0]}
    both["both on the other side"] = all(follow.where(thing, end, truth) for thing in things)
    return both | {"all of these": all(both.values())}


def _panned(trial: Trial, clip: np.ndarray) -> Verdicts:
    depth = (float(trial.paths.base[0, 0]) - HORIZON) / DEPTH
    return follow.parallax(trial.scene.shots[0], depth, clip[AFTER:])


def _drifted(trial: Trial, clip: np.ndarray) -> Verdicts:
    """Window by window of twelve frames; an object that is not there cannot be judged."""
    truth, verdicts = trial.frames.numpy()[:17], {}
    begin = read(truth)
    for window in (1, 3, 6, 9, 12):
        at = 17 + 12 * (window - 1)
        seen = read(clip[at : at + 12])
        verdicts[f"ground, window {window}"] = seen.ground == begin.ground
        verdicts[f"time, window {window}"] = seen.time == begin.time
        if trial.paths.inside()[at : at + 12, 0].sum() >= 6:
            colour = bool(seen.tracks) and seen.tracks[0].colour == trial.thing.colour
            verdicts[f"colour, window {window}"] = colour
    return verdicts


def _against_truth(trial: Trial, pixels: Tensor) -> Numbers:
    new = ~known_pixels(trial.known)
    return {"PSNR of new frames, dB": psnr(pixels, trial.pixels, new)} | _seam(trial, pixels)


def _seam(trial: Trial, pixels: Tensor) -> Numbers:
    """How much more changes where known and new frames meet than in the frames around."""
    at, levels = trial.first_new, (pixels + 1) * 127.5
    steps = levels.diff(dim=1).abs().mean((0, 2, 3))  # between frame k and k + 1
    around = torch.cat((steps[max(0, at - 4) : at - 1], steps[at : at + 3]))
    colour = levels.mean((2, 3))
    jump = colour[:, at : at + 3].mean(1) - colour[:, max(0, at - 3) : at].mean(1)
    return {
        "step at the seam / steps around it": float(steps[at - 1] / around.median().clamp(min=0.1)),
        "change of mean colour over the seam, of 255": float(jump.abs().max()),
    }


def _colour_drift(trial: Trial, pixels: Tensor) -> Numbers:
    """Sky and ground in the last window against the first, and how much detail is left."""
    levels, half = (pixels + 1) * 127.5, pixels.shape[2] // 2
    parts = [levels[:, :, : half - 16], levels[:, :, half + 30 :]]
    colour = torch.stack([part.flatten(2).median(2).values for part in parts])  # (2, 3, frames)
    gap = (colour[..., -12:].median(2).values - colour[..., :17].median(2).values).abs()
    detail = levels.diff(dim=3).abs().mean((0, 2, 3))
    return {
        "drift of sky and ground over 12 windows, of 255": float(gap.mean()),
        "detail at the end / at the start": float(detail[-12:].mean() / detail[:17].mean()),
    }


def _trials(scenes, known: Tensor, fits, **kw) -> Callable[[int, int], list[Trial]]:
    return lambda count, seed: make(scenes(seed, **kw), count, known, fits, seed)


ENDS = torch.tensor([True, False, False, False, True])
MOVING = ("left", "right", "rises", "falls")
LASTING = ("still", *trials.STAYING)
WINDOW, LONGER = first_frames(7, 4), first_frames(13, 4)

QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "image to video": Question(
            _trials(one_object, first_frames(5, 1), trials.starts_inside), _image
        ),
        "left and right from one image": Question(trials.steered, _steered),
        "extension": Question(
            _trials(one_object, WINDOW, trials.stays, motions=trials.STAYING),
            _extended,
            _against_truth,
        ),
        "infill": Question(
            _trials(one_object, ENDS, trials.stays_all, motions=trials.STAYING),
            _filled,
            _against_truth,
        ),
        "bounce": Question(
            _trials(one_object, LONGER, trials.anywhere, motions=("bounces",)), _bounced, share=0.4
        ),
        "out of the picture and back": Question(
            _trials(one_object, LONGER, trials.returns, motions=MOVING), _returned, share=0.6
        ),
        "behind a post": Question(
            _trials(trials.hidden, first_frames(5, 1), trials.stays_all), _emerged
        ),
        "one passes before the other": Question(
            _trials(trials.crossing, first_frames(8, 4), trials.passes), _passed, share=0.6
        ),
        "parallax": Question(_trials(trials.panned, WINDOW, trials.stays), _panned, share=0.6),
        "twelve windows": Question(
            _trials(one_object, first_frames(41, 5), trials.anywhere, motions=LASTING),
            _drifted,
            _colour_drift,
            share=0.24,
        ),
    }
)
SOURCES = ("nano", "rendered", "after VAE", "trivial", "other clips")


def ask(pipeline, question: Question, count: int, seed: int, sheet: Path) -> dict:
    """Tallies and numbers of one question, by source; a contact sheet of the first clips."""
    asked = question.trials(count, seed)
    made, decoded = answers(pipeline, asked), through_vae(pipeline, asked)
    tallies, numbers = {s: Scorecard() for s in SOURCES}, {s: [] for s in SOURCES[:4]}
    for k, trial in enumerate(asked):
        shown = dict(
            zip(SOURCES, (made[k], trial.pixels, decoded[k], trivial(trial)), strict=False)
        )
        for source, pixels in shown.items():
            if trial.true or source in ("nano", "trivial"):
                tallies[source].add([question.judge(trial, _frames(pixels))])
            numbers[source].append(question.numbers(trial, pixels))
        if k:
            tallies["other clips"].add([question.judge(asked[k - 1], _frames(made[k]))])
    pairs = [_beside(trial, pixels) for trial, pixels in zip(asked[:12], made, strict=False)]
    clip_sheet(pairs, [trial.prompt for trial in asked[:12]], columns=1).save(sheet)
    rows = {name: row(tallies, name) for name in tallies["nano"].asked}
    return {"n": len(asked), "verdicts": rows, "numbers": summarized(numbers)}


def _frames(pixels: Tensor) -> np.ndarray:
    return to_frames(pixels[None])[0].numpy()


def _beside(trial: Trial, pixels: Tensor) -> Tensor:
    """What the world does above what the network makes of it; long clips at wider steps."""
    both = torch.cat((trial.pixels, pixels), dim=2)
    return to_frames(both[None, :, :: max(1, both.shape[1] // 40)])[0]


def row(tallies: dict[str, Scorecard], name: str) -> dict:
    own = tallies["nano"]
    percents = {source: tally.percent(name) for source, tally in tallies.items()}
    return {"n": own.asked[name], "interval": own.interval(name)} | percents


def summarized(numbers: dict[str, list[Numbers]]) -> dict:
    """Medians by source, and in how many of the clips nano's is above the trivial answer's."""
    summarized = {}
    for name in numbers["nano"][0]:
        values = {source: [n[name] for n in of] for source, of in numbers.items()}
        above = [a > b for a, b in zip(values["nano"], values["trivial"], strict=True)]
        summarized[name] = {source: round(median(v), 2) for source, v in values.items()}
        if summarized[name]["rendered"] == float("inf"):
            summarized[name]["rendered"] = ""  # the truth against itself
        summarized[name]["mean"] = round(float(np.mean(values["nano"])), 2)
        summarized[name]["mean trivial"] = round(float(np.mean(values["trivial"])), 2)
        summarized[name]["above trivial %"] = round(100 * float(np.mean(above)))
    return summarized


def pinned(pipeline, count: int, seed: int) -> Numbers:
    """The pinned first frame of image-to-video, against the image's own round trip, in dB."""
    asked = QUESTIONS["image to video"].trials(count, seed)
    made = answers(pipeline, asked)[:, :, 0]
    images = torch.stack([trial.pixels[:, 0] for trial in asked])
    alone = decode_latents(pipeline, encode_pixels(pipeline, images[:, :, None]))[:, :, 0]
    error = (made - images).square().mean()
    return {
        "worst difference to the round trip, of 255": float((made - alone).abs().max() * 127.5),
        "PSNR to the image, dB": round(float(10 * torch.log10(4 / error)), 2),
    }


def continuity_page(report: dict) -> str:
    """The report as a page."""
    heads = ("", "right %", "95 % interval", "n", *SOURCES[1:])
    command = f"--continuity --clips {report['clips']} --seed {report['seed']}"
    about = __doc__.split("\n", 2)[2]
    call = f"`python -m training.exam.evaluate {command}`."
    parts = [f"# Continuity of the built-in model\n\n{call}\n{about}"]
    for title, found in report["questions"].items():
        cells = [
            (name, _text(row["nano"]), "{:.0f} to {:.0f}".format(*row["interval"]), str(row["n"]),
             *(_text(row[source]) for source in SOURCES[1:]))
            for name, row in found["verdicts"].items()
        ]  # fmt: skip
        parts.append(f"## {title.capitalize()}\n\n{markdown_table(heads, cells)}")
        if found["numbers"]:
            names = (*SOURCES[:4], "above trivial %")
            lines = [
                (name, *(str(row[k]) for k in names)) for name, row in found["numbers"].items()
            ]
            parts.append(markdown_table(("medians", *names), lines))
    parts.append(f"Pinned first frame: {json.dumps(report['pinned'])}\n")
    return "\n".join(parts)


def _text(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.0f}"


def examine_continuity(pipeline, clips: int, seed: int, only: str, out: Path, sheets: Path) -> dict:
    """Ask all questions, or those whose name contains `only`; writes continuity.md and .json."""
    found, begun = {}, time.process_time()
    for title, question in QUESTIONS.items():
        if only not in title:
            continue
        count = max(2, round(clips * question.share))
        sheet = sheets / f"{title.replace(' ', '-')}.png"
        found[title] = ask(pipeline, question, count, seed, sheet)
        print(f"{title}: {time.process_time() - begun:.0f} s of CPU so far", flush=True)
        for name, row in found[title]["verdicts"].items():
            print(f"    {name:<44}", {k: v for k, v in row.items() if k != "interval"}, flush=True)
        for name, row in found[title]["numbers"].items():
            print(f"    {name:<44}", row, flush=True)
    report = {
        "questions": found,
        "pinned": pinned(pipeline, 5, seed),
        "clips": clips,
        "seed": seed,
        "settings": vars(pipeline.settings),
        "cpu_seconds": round(time.process_time() - begun),
    }
    write_report(out / "continuity", continuity_page(report), report)
    print(json.dumps(report))
    return report
