"""Long takes on the built-in model: flat memory, cuts, crashes, and a music video.

ComfyUI is started once in this process; every take is made in a process forked from it, so that its
peak memory is its own and it can be killed. On a GPU, which forked processes cannot use, all takes
are made in this one, and none is killed: `card` does that there. Proofs of structure take few steps
(--steps), because what is proved does not depend on how good the picture is; pictures that are
judged take all 24.

memory   a take of 60 s at 24 frames a second against one of 10 s: growth of the peak, frames, times
regions  the same, of a VIDEO of which a region is sampled anew and the rest stays as it is
shots    storyboards of two shots, a clip each and both in one window: cuts and what is seen; the
         latter for every --meet, see Storyboard's input of that name
anchors  takes of 8 windows for each way against drift: how far colours, contrast and detail drift
kills    SIGKILL at random moments, resumed: latents and frames to the bit, files that are torn
music    8:3, more than two minutes, cuts on beats, one mp4 with sound
"""

import argparse
import hashlib
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch
from _measure import machine, on_best_device
from _takes import Studio, apart, clear, frames_of, start_comfyui, timing


def memory(studio: Studio, options) -> dict:
    text = "a big red ball rises over the grass at sunset, static camera"
    rows = {}
    for seconds in (10, options.seconds):
        clear(studio)
        recipe = studio.recipe(studio.board(text, seconds, 24), window=17)
        made = apart(lambda recipe=recipe: studio.film(recipe))
        rows[seconds] = {
            **timing(Path(made["result"])),
            "windows": recipe.take.windows,
            "took_s": made["seconds"],
            **{kind: made[kind] for kind in PEAKS if kind in made},
        }
        print(f"{seconds} s: {rows[seconds]}", flush=True)
    short, long = rows[10], rows[options.seconds]
    return {
        "short": short,
        "long": long,
        "growth_mib": {kind: round(long[kind] - short[kind], 1) for kind in PEAKS if kind in long},
        "goal_mib": 100,
    }


def drawn_film(seconds: int, fps: int) -> Path:
    """A video of 128 × 128 in which colours move."""
    from fractions import Fraction

    from longtake.engine.media.writer import write_video
    from longtake.host.comfyui.films import temporary_file

    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")

    def frames():
        for k in range(seconds * fps + 1):
            yield torch.stack((2 * x + k, 2 * y - k, x + y), -1).remainder(256).byte()[None]

    path = temporary_file("drawn")
    write_video(path, frames(), Fraction(fps))
    return path


def regions(studio: Studio, options) -> dict:
    from comfy_api.latest import InputImpl

    from longtake.host.comfyui.latent import to_latent
    from longtake.host.video.regions import clip_of, with_region

    text, rows = "a big red ball stands on the grass at sunset, static camera", {}
    mask = torch.zeros(1, 128, 128)
    mask[:, 40:90, 40:90] = 1
    for seconds in (10, options.seconds):
        clear(studio)
        path, board = drawn_film(seconds, 24), studio.board(text, seconds, 24)

        def work(path=path, board=board) -> list:
            with torch.inference_mode():
                clip = clip_of(InputImpl.VideoFromFile(str(path)), studio.vae)
                canvas = to_latent(with_region(clip, studio.vae, mask, feather=4))
                recipe = studio.recipe(board, window=17, canvas=canvas)
                return [str(studio.film(recipe)), recipe.take.windows]

        made = apart(work)
        file, windows = made["result"]
        rows[seconds] = {
            **timing(Path(file)),
            "windows": windows,
            "took_s": made["seconds"],
            **{kind: made[kind] for kind in PEAKS if kind in made},
            "outside_differs_by": differs(Path(file), path, mask[0] == 0),
        }
        print(f"{seconds} s: {rows[seconds]}", flush=True)
    short, long = rows[10], rows[options.seconds]
    growth = {kind: round(long[kind] - short[kind], 1) for kind in PEAKS if kind in long}
    return {"short": short, "long": long, "growth_mib": growth, "goal_mib": 100}


def differs(made: Path, source: Path, outside: torch.Tensor) -> float:
    """Mean difference of two files' pixels outside of a region, in levels of 255: two encoders'."""
    away = torch.nn.functional.max_pool2d((~outside)[None].float(), 25, 1, 12)[0] == 0
    with av.open(made) as one, av.open(source) as two:
        pairs = zip(one.decode(video=0), two.decode(video=0), strict=False)
        gaps = [
            np.abs(a.to_ndarray(format="rgb24").astype(int) - b.to_ndarray(format="rgb24"))[away]
            for a, b in pairs
        ]
    return round(float(np.mean(gaps)), 3)


def two_shots(count: int, seed: int) -> list[tuple]:
    """(scene, prompts of its shots, latent frame of the cut in a window of 5)."""
    from training.world.captions import Mix, Scene, caption, sample_scene

    rng, mix = random.Random(seed), Mix(two=0, cut=1, camera=0, synonyms=0)
    made = []
    for _ in range(count):
        scene = sample_scene(rng, mix)
        prompts = [caption(Scene((shot,)), rng, mix) for shot in scene.shots]
        made.append((scene, prompts, rng.choice((2, 3))))
    return made


def verdicts(scene, clip: np.ndarray, cut: int, reach: int) -> dict[str, bool]:
    """What is right about a clip of two shots whose cut should be on frame `cut`."""
    from training.exam.camera import find_cut
    from training.exam.detect import read
    from training.exam.judge import colour_verdicts, place_verdicts

    found = find_cut(clip)
    right = {"cut": found is not None and abs(found - cut) <= reach}
    for name, shot, part in (("first", scene.shots[0], clip[:cut]),
                             ("second", scene.shots[1], clip[cut:])):  # fmt: skip
        seen = read(part)
        right[name] = all((place_verdicts(shot, seen) | colour_verdicts(shot, seen)).values())
    return right | {"both_and_cut": all(right.values())}


def shots(studio: Studio, options) -> dict:
    kinds = {"a clip each": None, **{f"one window, meet {meet:g}": meet for meet in options.meet}}
    out = {kind: storyboards(studio, options, kind, meet) for kind, meet in kinds.items()}
    return {**out, "storyboards": options.count, "steps": 24, "goal_percent": 80}


def storyboards(studio: Studio, options, kind: str, meet: float | None) -> dict[str, float]:
    """How often which of two shots is as asked, in percent; of one window where meet is given."""
    tally = Counter()
    for number, (scene, prompts, at) in enumerate(two_shots(options.count, 5)):
        clear(studio)
        together = meet is not None
        # Alone on any frame, not only on latent ones.
        cut, seconds = (1 + 4 * (at - 1), 17 / 8) if together else (13 + number % 4, 29 / 8)
        board = studio.board(f"[0s] {prompts[0]}\n[{cut / 8}s cut] {prompts[1]}", seconds, 8)
        board = replace(board, meet=meet or 0.0)
        recipe = studio.recipe(board, steps=24, seed=number, together=together)
        assert (recipe.take.windows == 1) == together
        path = apart(lambda recipe=recipe: studio.film(recipe))["result"]
        seen = verdicts(scene, frames_of(Path(path)), cut, 4)
        tally.update({k: int(v) for k, v in seen.items()})
        print(kind, number + 1, dict(tally), flush=True)
    return {k: round(100 * v / options.count, 1) for k, v in tally.items()}


def anchors(studio: Studio, options) -> dict:
    from longtake.engine.take.anchor import ANCHORS
    from training.world.captions import EASY_WORLD, caption, sample_scene

    rows = {anchor: [] for anchor in ANCHORS}
    for number in range(options.takes):
        rng = random.Random(f"anchors {number}")
        text = caption(sample_scene(rng, EASY_WORLD), rng, EASY_WORLD)
        for anchor, drifts in rows.items():
            clear(studio)
            board = studio.board(text, (17 + 7 * 12) / 8, 8)
            recipe = studio.recipe(board, steps=24, seed=number, anchor=anchor)
            assert recipe.take.windows == 8
            path = apart(lambda recipe=recipe: studio.film(recipe))["result"]
            drifts.append(drift(frames_of(Path(path))))
            print(anchor, number + 1, drifts[-1], flush=True)
    return {"takes": options.takes, **{anchor: medians(drifts) for anchor, drifts in rows.items()}}


def drift(frames: np.ndarray) -> dict[str, float | bool]:
    """What the last window of a take differs in from its first.

    colour: mean difference of the channels' means, in levels of 255; contrast, detail: ratio of
    their deviations, and of the mean step between neighbouring pixels; kept: colour, ground, time.
    """
    from training.exam.detect import read

    first, last = frames[:17], frames[-17:]
    a, b = (part.astype(np.float32) for part in (first, last))
    seen = [read(part) for part in (first, last)]
    looks = [(s.tracks[0].colour if s.tracks else None, s.ground, s.time) for s in seen]
    return {
        "colour": float(np.abs(a.mean((0, 1, 2)) - b.mean((0, 1, 2))).mean()),
        "contrast": float(b.std() / a.std()),
        "detail": float(np.abs(np.diff(b, axis=2)).mean() / np.abs(np.diff(a, axis=2)).mean()),
        "kept": looks[0] == looks[1],
    }


def medians(rows: list[dict]) -> dict[str, float | str]:
    out = {k: round(float(np.median([row[k] for row in rows])), 3) for k in rows[0] if k != "kept"}
    return {**out, "kept": f"{sum(row['kept'] for row in rows)} of {len(rows)}"}


def state_of(studio: Studio) -> dict[str, str]:
    """A hash of every window on disk."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(studio.windows().glob("*.safetensors"))
    }


def torn(studio: Studio) -> int:
    """Windows on disk that are not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    bad = 0
    for path in studio.windows().glob("*.safetensors"):
        try:
            load(path.read_bytes())
        except SafetensorError:  # noqa: PERF203
            bad += 1
    videos = [*(studio.base / "temp").rglob("*.mp4"), *(studio.base / "output").rglob("*.mp4")]
    for path in videos:
        if not path.name.startswith("."):
            try:
                frames_of(path)
            except av.FFmpegError:
                bad += 1
    return bad


def kills(studio: Studio, options) -> dict:
    text = "[0s] a big red ball rises over the grass at sunset\n[4s dissolve 1s] a blue cube spins"
    recipe = studio.recipe(studio.board(text, 8, 8))

    def work() -> list[str]:
        """A hash of the frames as they are handed to the encoder, and one of the file."""
        from longtake.host.take import long_take

        frames, real = hashlib.sha256(), long_take.write_video

        def write_video(path, chunks, *rest, **more):
            def seen():
                for chunk in chunks:
                    frames.update(chunk.numpy().tobytes())
                    yield chunk

            return real(path, seen(), *rest, **more)

        long_take.write_video = write_video
        path = studio.film(recipe)
        return [frames.hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()]

    clear(studio)
    whole = apart(work)
    expected, rng = state_of(studio), random.Random(3)
    names = "kills", "identical", "same_file", "torn", "resumed_windows", "finished_before_kill"
    tally = Counter(dict.fromkeys(names, 0))
    while tally["kills"] < options.count:
        clear(studio)
        ended = apart(work, kill_after=rng.uniform(0.05, 0.95) * whole["seconds"])
        tally["finished_before_kill"] += ended is not None
        if ended is not None:
            continue
        tally["kills"] += 1
        tally["torn"] += torn(studio)
        tally["resumed_windows"] += len(state_of(studio))
        again = apart(work)
        same = again["result"][0] == whole["result"][0] and state_of(studio) == expected
        tally["identical"] += same
        tally["same_file"] += again["result"][1] == whole["result"][1]
        print("kill", tally["kills"], dict(tally), flush=True)
    return {**tally, "windows": recipe.take.windows, "uninterrupted_s": whole["seconds"]}


def drums(seconds: float, tempo: float, offset: float) -> tuple[dict, np.ndarray]:
    """AUDIO with a drum beat, and when its beats are."""
    from longtake.engine.take.drums import drum_beat

    beats = np.arange(offset, seconds, 60 / tempo)
    samples = drum_beat(tempo, seconds, offset)
    return {"waveform": torch.from_numpy(samples)[None], "sample_rate": 44_100}, beats


def music(studio: Studio, options) -> dict:
    from longtake.host.video.save import save_video

    seconds, every = 125.0, 4.0
    sound, beats = drums(seconds, 96, 0.31)
    rng, lines = random.Random(1), []
    for number in range(int(seconds / every)):
        _, prompts, _ = two_shots(1, rng.randrange(10**6))[0]
        kind = "" if not number else " cut" if number % 5 else " dissolve 0.5s"
        lines.append(f"[{number * every}s{kind}] {prompts[0]}")
    board = studio.board("\n".join(lines), seconds, 8, sound)
    recipe = studio.recipe(board, (256, 96))
    clear(studio)

    def work() -> str:
        from comfy_api.latest import InputImpl

        video = InputImpl.VideoFromFile(str(studio.film(recipe)))
        return str(save_video(video, "music", {}).path)

    made = apart(work)
    path = Path(made["result"])
    starts = [float(shot.start) for shot in board.shots[1:]]
    off = [float(np.abs(beats - start).min()) for start in starts]
    with av.open(path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        heard = float(audio.duration * audio.time_base)
        size = f"{video.width}x{video.height}"
    return {
        **timing(path),
        "size": size,
        "shots": len(board.shots),
        "windows": recipe.take.windows,
        "furthest_cut_from_a_beat_s": round(max(off), 4),
        "sound_s": round(heard, 3),
        "took_s": made["seconds"],
        **{kind: made[kind] for kind in PEAKS if kind in made},
        "mib": round(path.stat().st_size / 2**20, 2),
    }


PEAKS = "ram_mib", "vram_mib"
PARTS = {
    "memory": memory, "regions": regions, "shots": shots, "anchors": anchors, "kills": kills,
    "music": music,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--steps", type=int, default=4, help="of each window, where unjudged")
    parser.add_argument("--seconds", type=int, default=60, help="of the long take")
    parser.add_argument("--count", type=int, default=20, help="storyboards, and kills")
    parser.add_argument("--takes", type=int, default=5, help="for each anchor")
    parser.add_argument("--meet", type=float, nargs="+", default=[0.35, 1.0], help="of one window")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    parts = options.only or [name for name in PARTS if name != "kills" or on_best_device()]
    if "kills" in parts and not on_best_device():
        raise SystemExit("kills: no process can be forked on a GPU; python dev.py card kills one.")
    studio = Studio(start_comfyui(), options.steps)
    results = {name: PARTS[name](studio, options) for name in parts}
    for name, result in results.items():
        print(name, result)
    print(json.dumps({**machine(), "steps": options.steps, **results}))


if __name__ == "__main__":
    main()
