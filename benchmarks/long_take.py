"""Long takes on the built-in model: flat memory, cuts, crashes, and a music video.

ComfyUI is started once in this process; every take is made in a process forked from it, so that its
peak memory is its own and it can be killed. Proofs of structure take few steps (--steps), because
what is proved does not depend on how good the picture is; pictures that are judged take all 24.

memory   a take of 60 s at 24 frames a second against one of 10 s: growth of the peak, frames, times
shots    storyboards of two shots, a clip each and both in one window: cuts and what is seen
kills    SIGKILL at random moments, resumed: latents and frames to the bit, files that are torn
music    8:3, more than two minutes, cuts on beats, one mp4 with sound
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
BUILT_IN = "nano (built in)"


def start_comfyui() -> Path:
    """ComfyUI's modules in this process; its folders are below the path that is returned."""
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    spec = importlib.util.spec_from_file_location("tests_conftest", ROOT / "tests" / "conftest.py")
    sys.modules["tests_conftest"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["tests_conftest"])
    from tests.in_process import import_comfyui
    from tests.server import comfyui_folder

    base = Path(tempfile.mkdtemp(prefix="longtake-bench-"))
    for folder in ("custom_nodes", "input", "output", "models", "temp"):
        (base / folder).mkdir()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        import_comfyui(comfyui_folder(), base)
    return base


class Studio:
    """The built-in model, and takes made with it."""

    def __init__(self, base: Path, steps: int):
        from longtake.host import load

        self.base, self.steps = base, steps
        self.model = load.load_model(BUILT_IN, "fp32")
        self.vae = load.load_vae(BUILT_IN, "fp32")
        self.clip = load.load_text_encoder(BUILT_IN)

    def board(self, text: str, seconds: float, fps: int, sound=None, most: float = 0.5):
        from longtake.engine.storyboard import checked
        from longtake.engine.storyboard_text import parse
        from longtake.host.shots import MEET
        from longtake.host.storyboards import encoded, on_beats

        end = Fraction(str(seconds))
        shots = checked(parse(text), end)
        if sound is not None:
            shots, sound, _ = on_beats(shots, sound, most, end)
        with torch.inference_mode():
            return encoded(self.clip, shots, end, Fraction(fps), MEET, sound)

    def recipe(self, board, size=(128, 128), *, steps=None, seed=2, together=False, window=17):
        from longtake.engine.schedule import sigmas
        from longtake.host.storyboards import SEPARATE, TOGETHER, Frame, layout_for, recipe_for
        from longtake.host.vae import grid_of

        with torch.inference_mode():
            negative = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(""))
            sharing = TOGETHER if together else SEPARATE
            return recipe_for(
                self.model,
                self.vae,
                board,
                negative,
                Frame(board.seconds, board.fps, *size),
                layout_for(self.model, grid_of(self.vae), window, 0, sharing),
                sigmas=sigmas(steps or self.steps, 3.0),
                seed=seed,
                cfg=4.0,
                sampler="euler",
                anchor="off",
                sound=board.sound,
            )

    def film(self, recipe) -> Path:
        from longtake.host.long_take import film_take

        with torch.inference_mode():
            return Path(film_take(recipe).get_stream_source())

    def windows(self) -> Path:
        from longtake.host.long_take import store_folder

        return store_folder()


def forked(work: Callable[[], object], kill_after: float | None = None) -> dict | None:
    """What `work` returns, from a process of its own; None if that was killed.

    Beside it come "seconds" and "peak_mib", the largest resident memory of that process.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            begun = time.monotonic()
            result = {"result": work(), "seconds": round(time.monotonic() - begun, 2)}
            lines = Path("/proc/self/status").read_text().splitlines()
            peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
            data = json.dumps({**result, "peak_mib": int(peak) / 1024}, default=str).encode()
            os.write(writing, data)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if kill_after is None and status:
        raise SystemExit(f"a take failed with status {status}; the reason is above")
    return json.loads(data) if data else None


def clear(studio: Studio) -> None:
    for path in studio.windows().glob("*"):
        path.unlink()


def frames_of(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def timing(path: Path) -> dict:
    """Frames of a file, whether each is at its time, and how long it is."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        rate, base = stream.average_rate, stream.time_base
        times = sorted(p.pts * base for p in container.demux(stream) if p.pts is not None)
        exact = all(t == i / rate for i, t in enumerate(times))
        length = float(stream.duration * base)
    return {"frames": len(times), "exact": exact, "seconds": length, "fps": float(rate)}


def memory(studio: Studio, options) -> dict:
    text = "a big red ball rises over the grass at sunset, static camera"
    rows = {}
    for seconds in (10, options.seconds):
        clear(studio)
        recipe = studio.recipe(studio.board(text, seconds, 24), window=17)
        made = forked(lambda recipe=recipe: studio.film(recipe))
        rows[seconds] = {
            **timing(Path(made["result"])),
            "windows": recipe.take.windows,
            "took_s": made["seconds"],
            "peak_mib": round(made["peak_mib"], 1),
        }
        print(f"{seconds} s: {rows[seconds]}", flush=True)
    short, long = rows[10], rows[options.seconds]
    return {
        "short": short,
        "long": long,
        "growth_mib": round(long["peak_mib"] - short["peak_mib"], 1),
        "goal_mib": 100,
    }


def two_shots(count: int, seed: int) -> list[tuple]:
    """(scene, prompts of its shots, latent frame of the cut in a window of 5)."""
    from training.captions import Mix, Scene, caption, sample_scene

    rng, mix = random.Random(seed), Mix(two=0, cut=1, camera=0, synonyms=0)
    made = []
    for _ in range(count):
        scene = sample_scene(rng, mix)
        prompts = [caption(Scene((shot,)), rng, mix) for shot in scene.shots]
        made.append((scene, prompts, rng.choice((2, 3))))
    return made


def verdicts(scene, clip: np.ndarray, cut: int, reach: int) -> dict[str, bool]:
    """What is right about a clip of two shots whose cut should be on frame `cut`."""
    from training.camera import find_cut
    from training.detect import read
    from training.judge import _colours, _place

    found = find_cut(clip)
    right = {"cut": found is not None and abs(found - cut) <= reach}
    for name, shot, part in (("first", scene.shots[0], clip[:cut]),
                             ("second", scene.shots[1], clip[cut:])):  # fmt: skip
        seen = read(part)
        right[name] = all((_place(shot, seen) | _colours(shot, seen)).values())
    return right | {"both_and_cut": all(right.values())}


def shots(studio: Studio, options) -> dict:
    out = {}
    for kind, together in (("a clip each", False), ("one window", True)):
        tally = Counter()
        for number, (scene, prompts, at) in enumerate(two_shots(options.count, 5)):
            clear(studio)
            if together:
                cut, seconds = 1 + 4 * (at - 1), 17 / 8
            else:
                cut, seconds = 13 + number % 4, 29 / 8  # on any frame, not only latent ones
            text = f"[0s] {prompts[0]}\n[{cut / 8}s cut] {prompts[1]}"
            board = studio.board(text, seconds, 8)
            recipe = studio.recipe(board, steps=24, seed=number, together=together)
            assert (recipe.take.windows == 1) == together
            path = forked(lambda recipe=recipe: studio.film(recipe))["result"]
            clip = frames_of(Path(path))
            tally.update({k: int(v) for k, v in verdicts(scene, clip, cut, 4).items()})
            print(kind, number + 1, dict(tally), flush=True)
        out[kind] = {k: round(100 * v / options.count, 1) for k, v in tally.items()}
    return {**out, "storyboards": options.count, "steps": 24, "goal_percent": 80}


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
        from longtake.host import long_take

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
    whole = forked(work)
    expected, rng = state_of(studio), random.Random(3)
    names = "kills", "identical", "same_file", "torn", "resumed_windows", "finished_before_kill"
    tally = Counter(dict.fromkeys(names, 0))
    while tally["kills"] < options.count:
        clear(studio)
        ended = forked(work, kill_after=rng.uniform(0.05, 0.95) * whole["seconds"])
        tally["finished_before_kill"] += ended is not None
        if ended is not None:
            continue
        tally["kills"] += 1
        tally["torn"] += torn(studio)
        tally["resumed_windows"] += len(state_of(studio))
        again = forked(work)
        same = again["result"][0] == whole["result"][0] and state_of(studio) == expected
        tally["identical"] += same
        tally["same_file"] += again["result"][1] == whole["result"][1]
        print("kill", tally["kills"], dict(tally), flush=True)
    return {**tally, "windows": recipe.take.windows, "uninterrupted_s": whole["seconds"]}


def drums(seconds: float, tempo: float, offset: float) -> tuple[dict, np.ndarray]:
    """AUDIO with a drum beat, and when its beats are."""
    from longtake.engine.drums import drum_beat

    beats = np.arange(offset, seconds, 60 / tempo)
    samples = drum_beat(tempo, seconds, offset)
    return {"waveform": torch.from_numpy(samples)[None], "sample_rate": 44_100}, beats


def music(studio: Studio, options) -> dict:
    from longtake.host.video import Wish, save

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
        return str(save(video, "music", {}, Wish()).path)

    made = forked(work)
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
        "peak_mib": round(made["peak_mib"], 1),
        "mib": round(path.stat().st_size / 2**20, 2),
    }


PARTS = {"memory": memory, "shots": shots, "kills": kills, "music": music}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=4, help="of each window, where unjudged")
    parser.add_argument("--seconds", type=int, default=60, help="of the long take")
    parser.add_argument("--count", type=int, default=20, help="storyboards, and kills")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    studio = Studio(start_comfyui(), options.steps)
    results = {name: PARTS[name](studio, options) for name in options.only}
    for name, result in results.items():
        print(name, result)
    print(json.dumps({"torch": torch.__version__, "steps": options.steps, **results}))


if __name__ == "__main__":
    main()
