"""Was it made here: how well the ledger of fingerprints tells known videos from others.

    python dev.py bench recognise                       1,000 clips, 200 tunes: about eight minutes
    python dev.py bench recognise --clips 100 --tunes 20

Half of the clips of the built-in model's little world are put into a ledger. Then each of them, and
each of the others, is looked up after one change after another. The clips resemble each other (a
thing or two on the same few grounds), which is harder than telling apart what people film.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from random import Random

import av
import numpy as np
import torch
import torch.nn.functional as F
from _measure import machine
from torch import Tensor

from tests.engine.clips import reencoded

FPS, FRAMES, SIDE = 8, 32, 128
encoded = partial(reencoded, fps=FPS)
RATE = 44_100
FALSE_ALARMS = 0.001  # of clips, at which the share that is found is told


def clip(seed: int) -> Tensor:
    """A clip of the little world: uint8 (FRAMES, SIDE, SIDE, 3)."""
    from training.world.captions import sample_scene
    from training.world.render import render
    from training.world.sheet import to_frames

    scene = sample_scene(Random(f"recognise {seed}"))
    generator = torch.Generator().manual_seed(seed)
    return to_frames(render([scene], FRAMES, generator, height=SIDE, width=SIDE).pixels)[0]


def scaled(frames: Tensor, height: int, width: int) -> Tensor:
    planes = frames.movedim(3, 1).float()
    new = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    return new.round().clamp(0, 255).to(torch.uint8).movedim(1, 3).contiguous()


def cropped(frames: Tensor, share: float, at: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """Without `share` of each side; `at`: which part of it above and on the left."""
    height, width = frames.shape[1:3]
    high, wide = (int(side * (1 - share)) // 2 * 2 for side in (height, width))
    top, left = (int((side - s) * a) for side, s, a in
                 ((height, high, at[0]), (width, wide, at[1])))  # fmt: skip
    return frames[:, top : top + high, left : left + wide].contiguous()


def at_rate(frames: Tensor, fps: float) -> Tensor:
    count = int(len(frames) * fps / FPS)
    return frames[(torch.arange(count) * FPS / fps).long()]


# name -> (frames, frames per second) of what becomes of a clip
CHANGES: dict[str, Callable[[Tensor], tuple[Tensor, float]]] = {
    "none": lambda v: (v, FPS),
    "crf 28": lambda v: (encoded(v, 28), FPS),
    "crf 36": lambda v: (encoded(v, 36), FPS),
    "half the size": lambda v: (encoded(scaled(v, SIDE // 2, SIDE // 2), 23), FPS),
    "double size": lambda v: (encoded(scaled(v, 2 * SIDE, 2 * SIDE), 28), FPS),
    "another shape": lambda v: (encoded(scaled(v, SIDE, 3 * SIDE // 2), 23), FPS),
    "10 % cropped": lambda v: (encoded(cropped(v, 0.1), 23), FPS),
    "10 % off one corner": lambda v: (encoded(cropped(v, 0.1, (0, 1)), 23), FPS),
    "20 % cropped": lambda v: (encoded(cropped(v, 0.2), 23), FPS),
    "30 fps": lambda v: (encoded(at_rate(v, 30), 23), 30),
    "5 fps": lambda v: (encoded(at_rate(v, 5), 23), 5),
    "first 1.4 s cut off": lambda v: (encoded(v[11:], 23), FPS),
    "mirrored": lambda v: (encoded(v.flip(2), 23), FPS),
    "darker": lambda v: (encoded((v * 0.7).to(torch.uint8), 23), FPS),
    "all at once": lambda v: (
        encoded(at_rate(scaled(cropped(v[5:], 0.1), 96, 96), 24), 28), 24
    ),
}  # fmt: skip


def pictures(clips: int) -> dict:
    """The distance of each clip from the nearest in the ledger, after each change."""
    from longtake.engine.recognition.ledger import (
        FINE,
        LedgerLine,
        Prints,
        Search,
        frame_numbers,
        moments,
    )  # fmt: skip
    from longtake.engine.recognition.picture_hash import WHOLE, hash_frames

    silent = np.zeros((0, 4), np.uint8)

    def prints(video: Tensor, fps: float, fine: bool) -> Prints:
        seconds = len(video) / fps
        times = np.arange(int(seconds * FINE)) / FINE if fine else moments(seconds)
        numbers = frame_numbers(times, fps, len(video))
        hashes = list(hash_frames([video], numbers, *([(WHOLE,)] if fine else [])))
        return Prints(np.stack(hashes), silent, seconds)

    half = clips // 2
    ledger = [LedgerLine(str(n), "", "", prints(clip(n), FPS, False)) for n in range(half)]
    names, found = list(CHANGES), {name: {"known": [], "other": []} for name in CHANGES}
    right, spent = 0, 0.0
    for n in range(clips):
        video = clip(n)
        for name in {names[(n + k) % len(names)] for k in (0, 7)}:
            search = Search(prints(*CHANGES[name](video), True))
            start = time.process_time()
            best = min((search.compare(e) for e in ledger), key=lambda k: k.pictures.distance)
            spent += time.process_time() - start
            found[name]["known" if n < half else "other"].append(best.pictures.distance)
            right += n < half and best.entry.name == str(n)
    took = round(spent * 1e3 / half / clips / 2, 3)
    return {"clips": clips, "nearest_is_it": right, "ms_an_entry": took, **roc(found)}


def roc(found: dict[str, dict[str, list[float]]]) -> dict:
    """What is found at which threshold, over all changes and for each."""
    from longtake.engine.recognition.ledger import ALIKE

    known = np.concatenate([row["known"] for row in found.values()])
    other = np.concatenate([row["other"] for row in found.values()])
    below = float(np.quantile(other, FALSE_ALARMS))
    curve = [
        {"distance": at, "found": share(known, at), "false": share(other, at)}
        for at in (0.12, 0.14, 0.15, 0.16, 0.17, 0.18, 0.2, 0.22, 0.25, 0.3)
    ]
    ranks = np.searchsorted(np.sort(other), known)
    return {
        "lookups": len(known) + len(other),
        "auc": round(1 - float(ranks.mean()) / len(other), 5),
        "nearest_other": round(float(other.min()), 4),
        "false_alarms_1_in_1000_at": round(below, 4),
        "curve": curve,
        "threshold": ALIKE,
        "found": {name: share(np.array(row["known"]), ALIKE) for name, row in found.items()},
        "false": {name: share(np.array(row["other"]), ALIKE) for name, row in found.items()},
    }


def share(distances: np.ndarray, below: float) -> float:
    return round(float((distances < below).mean()), 4)


def tune(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Random notes with overtones over a drum: (n,) at RATE."""
    random, total = np.random.default_rng(seed), int(seconds * RATE)
    sound, beat = np.zeros(total, np.float32), int(RATE * random.uniform(0.2, 0.5))
    for at in range(0, total, beat):
        t = np.arange(min(2 * beat, total - at)) / RATE
        pitch = 110 * 2 ** (random.integers(0, 36) / 12)
        note = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 8))
        sound[at : at + len(t)] += 0.15 * note * np.exp(-3 * t)
        sound[at : at + len(t)] += 0.1 * random.standard_normal(len(t)) * np.exp(-30 * t)
    return sound


def through(codec: str, bits: int, sound: np.ndarray) -> np.ndarray:
    """Encoded and decoded again, at RATE."""
    file, form = io.BytesIO(), {"aac": "mp4", "libopus": "ogg", "libmp3lame": "mp3"}[codec]
    rate = 48_000 if codec == "libopus" else RATE
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bits
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        fit = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or None)
        for piece in [*fit.resample(frame), *fit.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode())
    file.seek(0)
    back = av.AudioResampler("flt", "mono", RATE)
    with av.open(file) as container:
        pieces = [p.to_ndarray()[0] for f in container.decode(audio=0) for p in back.resample(f)]
    return np.concatenate(pieces)


SOUND_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda s: s,
    "aac 48k": lambda s: through("aac", 48_000, s),
    "mp3 64k": lambda s: through("libmp3lame", 64_000, s),
    "opus 24k": lambda s: through("libopus", 24_000, s),
    "quieter": lambda s: 0.1 * s,
    "noise at 20 dB": lambda s: (
        s + 0.1 * s.std() * np.random.default_rng(1).standard_normal(len(s)).astype(np.float32)
    ),
    "first 2.3 s cut off": lambda s: s[int(2.3 * RATE) :],
}


def sounds(tunes: int) -> dict:
    """The same of sound."""
    from longtake.engine.recognition import ledger as known_sound
    from longtake.engine.recognition.ledger import LedgerLine, Prints, Search
    from longtake.engine.recognition.sound_print import KEPT, SOUGHT, sound_print
    from longtake.engine.recognition.sound_print import RATE as LOW

    blind = np.zeros((0, 9, 32), np.uint8)

    def prints(sound: np.ndarray, hop: int) -> Prints:
        low = av.AudioResampler("flt", "mono", LOW)
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), "flt", "mono")
        frame.sample_rate = RATE
        pieces = [p.to_ndarray()[0] for p in (*low.resample(frame), *low.resample(None))]
        return Prints(blind, sound_print(pieces, hop), len(sound) / RATE)

    half = tunes // 2
    ledger = [LedgerLine(str(n), "", "", prints(tune(n), KEPT)) for n in range(half)]
    known: dict[str, list[float]] = {name: [] for name in SOUND_CHANGES}
    other: dict[str, list[float]] = {name: [] for name in SOUND_CHANGES}
    for n in range(tunes):
        for name, change in SOUND_CHANGES.items():
            search = Search(prints(change(tune(n)), SOUGHT))
            best = min(search.compare(e).sound.distance for e in ledger)
            (known if n < half else other)[name].append(best)
    at = known_sound.SOUND_ALIKE
    every = np.concatenate(list(other.values()))
    return {
        "tunes": tunes,
        "threshold": at,
        "found": {name: share(np.array(row), at) for name, row in known.items()},
        "false": share(every, at),
        "nearest_other": round(float(every.min()), 3),
        "furthest_known": round(max(max(row) for row in known.values()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--tunes", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        found = {"pictures": pictures(options.clips), "sound": sounds(options.tunes)}
    for name, rows in found["pictures"]["found"].items():
        print(f"{name:22}{rows:8.1%} found{found['pictures']['false'][name]:8.1%} false")
    for name, rows in found["sound"]["found"].items():
        print(f"sound, {name:22}{rows:8.1%} found")
    print(json.dumps({**machine(), **found}))


if __name__ == "__main__":
    main()
