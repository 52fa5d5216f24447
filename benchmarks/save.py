"""Latents to a saved file: memory, speed against ComfyUI's own nodes, timing, kills.

Parts, chosen with --only: memory (a minute against ten seconds), length (121 against 241 frames of
160x160 out of a Wan 2.1 VAE a twelfth as wide, by core's VAEDecode and SaveVideo and by
ours), speed (VAEDecode, CreateVideo and SaveVideo of core against Decode and Save Video, in turns:
with core's VAE of the Wan 2.1 layout at a third of its width, and with nano's, which core runs with
our network), timing (six rates, with sound), kills (SIGKILL at random moments), faults (a full
disk).
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from _measure import import_core

from longtake.engine.container.publish import UNFINISHED, leftovers
from longtake.engine.container.salvage import salvage
from longtake.engine.media.reader import media_facts, read_frames
from longtake.engine.media.sound import Sound
from longtake.engine.media.writer import write_video
from longtake.models.errors import LongtakeError
from tests.engine.clips import read_sound

HERE = Path(__file__)
RATES = [Fraction(r) for r in ("24000/1001", "24", "25", "30000/1001", "30", "60")]
SIZE = 128  # pixels a side, of memory and speed
LENGTHS, LONG_SIZE = (121, 241), 160  # frames, and pixels a side, of length
KILLED = 5  # seconds that a video is long whose writing is cut off


def child(*words: object, **options) -> dict:
    """What another process of this file measures, alone in its memory."""
    command = [sys.executable, str(HERE), "--child", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options)
    return json.loads(done.stdout.strip().rpartition("\n")[2])


# In a process of its own


def host_in(folder: Path, vae: str = "nano", width: int = 32):
    """The built-in VAE, or core's own of a width with random weights, in a host of its own."""
    import_core()
    folder_paths = importlib.import_module("folder_paths")
    folder_paths.set_output_directory(str(folder / "output"))
    folder_paths.set_temp_directory(str(folder / "temp"))
    (folder / "output").mkdir(exist_ok=True)
    if vae == "core's":
        sd = importlib.import_module("comfy.sd")
        return sd.VAE(sd=random_weights(width), dtype=torch.float32)
    load = importlib.import_module("longtake.host.networks.load")
    return load.load_vae("nano (built in)", "fp32")


def random_weights(width: int) -> dict[str, torch.Tensor]:
    """Of a VAE of the Wan 2.1 layout; 96 is the width of published ones."""
    config = importlib.import_module("longtake.models.wan.config")
    vae = importlib.import_module("longtake.models.wan.vae")
    tiny = importlib.import_module("tests.models.tiny")
    narrow = replace(config.VAE_PRESETS["2.1"], width=width, decoder_width=width)
    network = tiny.randomised(vae.WanVAE(narrow), torch.Generator().manual_seed(1))
    return network.state_dict()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def decode_and_save(vae, latents, how: str) -> Path:
    decode = importlib.import_module("longtake.host.video.decode")
    save = importlib.import_module("longtake.host.video.save")
    if how == "ours":
        return save.save_video(decode.decode_to_video(vae, latents, Fraction(24)), "a", {}).path
    api = importlib.import_module("comfy_api.latest")
    images = vae.decode(latents).flatten(0, 1)  # core's VAEDecode, CreateVideo and SaveVideo
    parts = api.Types.VideoComponents(images, Fraction(24))
    path = save.output_folder() / f"core_{time.monotonic_ns()}.mp4"
    api.InputImpl.VideoFromComponents(parts).save_to(str(path))
    return path


@torch.inference_mode()
def one_save(seconds: int, how: str) -> dict:
    """Peak memory of one save above what it is before."""
    with tempfile.TemporaryDirectory() as name:
        vae = host_in(Path(name))
        latents = noise(vae, seconds)
        decode_and_save(vae, noise(vae, 1), how)  # libraries, weights, buffers
        before, start = peak_mib(), time.monotonic()
        path = decode_and_save(vae, latents, how)
        frames = media_facts(path).frames
        taken = time.monotonic() - start
        return {"frames": frames, "MiB": round(peak_mib() - before, 1), "seconds": round(taken, 1)}


@torch.inference_mode()
def one_length(frames: int, how: str) -> dict:
    """Peak memory of one save of so many frames above what there is before its first."""
    with tempfile.TemporaryDirectory() as name:
        vae = host_in(Path(name), "core's", width=8)
        latents = noise_of(vae, 1 + frames // 4, LONG_SIZE)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before, cpu = status_mib("VmRSS"), time.process_time()
        path = decode_and_save(vae, latents, how)
        cpu, peak = time.process_time() - cpu, status_mib("VmHWM")
        found = {"frames": media_facts(path).frames, "MiB": round(peak - before, 1)}
        return {**found, "process_MiB": round(peak, 1), "cpu_s": round(cpu, 1)}


def status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def noise(vae, seconds: int) -> torch.Tensor:
    return noise_of(vae, 1 + 6 * seconds, SIZE)


def noise_of(vae, latent_frames: int, size: int) -> torch.Tensor:
    rows = size // vae.spacial_compression_decode()
    rng = torch.Generator().manual_seed(0)
    return torch.randn(1, vae.latent_channels, latent_frames, rows, rows, generator=rng)


@torch.inference_mode()
def speeds(which: str, seconds: int, rounds: int) -> dict:
    """Processor and wall seconds of both ways, taken in turns."""
    taken = {how: {"wall": [], "cpu": []} for how in ("ours", "core")}
    with tempfile.TemporaryDirectory() as name:
        vae = host_in(Path(name), which)
        latents = noise(vae, seconds)
        for turn in range(rounds + 1):
            for how, times in taken.items():
                wall, cpu = time.perf_counter(), time.process_time()
                path = decode_and_save(vae, latents, how)
                if turn:
                    times["wall"].append(time.perf_counter() - wall)
                    times["cpu"].append(time.process_time() - cpu)
                path.unlink()
    return {
        how: {clock: round(statistics.median(found), 3) for clock, found in times.items()}
        for how, times in taken.items()
    }


def endless(path: str, seconds: int) -> None:
    """Write so many seconds of pictures and sound, saying on stdout how far it is."""
    rng = np.random.default_rng(0)

    def chunks():
        for n in range(seconds):
            yield rng.integers(0, 256, (24, 48, 64, 3), dtype=np.uint8)
            sys.stdout.write(f"{24 * (n + 1)}\n")
            sys.stdout.flush()

    sound = Sound(np.zeros((2, 48_000 * seconds), np.float32), 48_000)
    write_video(Path(path), chunks(), Fraction(24), sound=sound)
    sys.stdout.write("{}\n")


# What is reported


def memory(options) -> dict:
    rows = {
        how: {seconds: child("save", seconds, how) for seconds in (10, 60)}
        for how in ("ours", "core")
    }
    for how, found in rows.items():
        for seconds, row in found.items():
            print(
                f"memory, {how}: {seconds} s, {row['frames']} frames of {SIZE}², +{row['MiB']} MiB"
            )
    return rows


def length(options) -> dict:
    """Growth is in bytes of memory for a byte of the frames as float32, which core holds."""
    ours, core = ([child("length", frames, how) for frames in LENGTHS] for how in ("ours", "core"))
    rows = []
    for frames, a, b in zip(LENGTHS, ours, core, strict=True):
        size = frames * LONG_SIZE**2 * 3 * 4 / 2**20
        rows.append({"frames": frames, "float32_MiB": size, "ours": a, "core": b,
                     "share": round(a["MiB"] / b["MiB"], 3)})  # fmt: skip
        print(f"length, {frames} frames, {size:.0f} MiB in float32: ours {a}, core {b}")
    bytes_more = rows[1]["float32_MiB"] - rows[0]["float32_MiB"]
    growth = {
        how: round((rows[1][how]["MiB"] - rows[0][how]["MiB"]) / bytes_more, 3)
        for how in ("ours", "core")
    }
    print(f"length, growth in bytes per byte: {growth}; ours is {rows[1]['share']} of core's")
    return {"rows": rows, "growth": growth}


def speed(options) -> dict:
    rows = {}
    for vae, seconds in (("core's", 1), ("nano", 10)):
        found = child("speed", vae, seconds, options.rounds)
        gain = {
            clock: round(found["core"][clock] / found["ours"][clock], 2) for clock in found["ours"]
        }
        print(f"speed, decode and encode of {seconds} s, {vae} VAE: {found}; gain {gain}")
        rows[vae] = {**found, "gain": gain}
    return rows


def timing(options) -> dict:
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        for fps in RATES:
            path = Path(name) / f"{float(fps):.3f}.mp4"
            lit = round(fps)
            frames = [np.full((1, 34, 58, 3), 255 * (n == lit), np.uint8) for n in range(3 * lit)]
            samples = np.zeros((1, 48_000 * 4), np.float32)
            samples[:, round(lit / fps * 48_000) :][:, :960] = 0.9
            write_video(path, frames, fps, sound=Sound(samples, 48_000))
            rows[str(fps)] = offsets(path, fps, lit)
            print(f"timing at {fps}: {rows[str(fps)]}")
    return rows


def offsets(path: Path, fps: Fraction, lit: int) -> dict:
    av = importlib.import_module("av")
    with av.open(path) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    heard = read_sound(path)
    click = float(np.argmax(np.abs(heard.samples[0]) > 0.3) / heard.rate)
    bright = [float(frame.float().mean()) for chunk in read_frames(path) for frame in chunk]
    return {
        "first": float(times[0]),
        "equal": times == [n / fps for n in range(3 * lit)],
        "sound_ms": round(1000 * (click - int(np.argmax(bright)) / float(fps)), 2),
        "sound_frame_ms": round(1000 * 1024 / 48_000, 2),
    }


def kills(options) -> dict:
    """Kill saves at random moments of their lives, from the first frame on."""
    dice, counts = random.Random(0), {"kills": 0, "torn": 0, "whole": 0, "salvaged": 0}
    counts |= {"nothing_yet": 0, "not_salvaged": 0}
    lost: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        length = lifetime(Path(name) / "first.mp4")
        for number in range(options.kills):
            one_kill(Path(name) / f"{number}.mp4", dice.uniform(0, 1.05) * length, counts, lost)
            print(f"kills: {counts}")
    counts["most_frames_lost"] = max(lost, default=0)
    counts["median_frames_lost"] = statistics.median(lost) if lost else 0
    print(f"kills: {counts}, at 24 frames a second")
    return counts


def started(path: Path) -> tuple[int, int]:
    """(process id, pipe of how many frames were handed over) of a writer that has its first.

    Forked rather than begun anew, so that a kill costs a second and not ten.
    """
    read, write = os.pipe()
    if (process := os.fork()) == 0:
        try:
            os.close(read)
            os.dup2(write, 1)
            sys.stdout = os.fdopen(1, "w")
            endless(str(path), KILLED)
        finally:
            os._exit(0)
    os.close(write)
    os.read(read, 3)
    return process, read


def rest(pipe: int) -> list[int]:
    """The numbers that a writer sent until its end."""
    with os.fdopen(pipe) as said:
        return [24, *(int(word) for word in said.read().split() if word.isdecimal())]


def lifetime(path: Path) -> float:
    process, pipe = started(path)
    start = time.monotonic()
    rest(pipe)
    os.waitpid(process, 0)
    return time.monotonic() - start


def one_kill(path: Path, moment: float, counts: dict, lost: list[int]) -> None:
    process, pipe = started(path)
    time.sleep(moment)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    handed = rest(pipe)
    counts["kills"] += 1
    if path.exists():
        whole = sum(len(chunk) for chunk in read_frames(path)) == 24 * KILLED
        counts["whole" if whole else "torn"] += 1
    parts = leftovers(path.parent, age=0)
    for part in parts:
        if not path.exists() and UNFINISHED.fullmatch(part.name):
            try_salvage(part, handed[-1], counts, lost)
        part.unlink()
    if not parts and not path.exists():
        counts["nothing_yet"] += 1
    for left in path.parent.iterdir():
        left.unlink()


def try_salvage(part: Path, handed: int, counts: dict, lost: list[int]) -> None:
    """Salvage a part; at most a second and what was just handed over may be missing."""
    try:
        saved = salvage(part)
        frames = sum(len(chunk) for chunk in read_frames(saved.path))
    except LongtakeError:
        counts["nothing_yet" if handed <= 48 else "not_salvaged"] += 1
        return
    assert frames == saved.frames
    counts["salvaged"] += 1
    lost.append(handed - frames)


def faults(options) -> dict:
    """Disks that run full at any moment of a save: the errors raised, and the files left behind."""
    errors, left = Counter(), Counter()
    if sys.platform != "linux" or os.geteuid():
        return {"not run": "only root on Linux can mount such disks"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        endless_quietly(folder / "a.mp4")
        whole = (folder / "a.mp4").stat().st_size
        (folder / "a.mp4").unlink()
        for share in np.linspace(0.02, 2.1, options.disks):
            with disk(folder, int(share * whole)):
                errors[endless_quietly(folder / "a.mp4")] += 1
                left.update(file.name for file in folder.iterdir())
                for file in folder.iterdir():
                    file.unlink()
    print(f"faults: {dict(errors)}, left behind: {dict(left)}")
    return {"errors": errors, "left": left}


@contextlib.contextmanager
def disk(folder: Path, room: int):
    """A disk of so many bytes in the place of a folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def endless_quietly(path: Path) -> str:
    """The error of a save of KILLED seconds, or "whole"."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            endless(str(path), KILLED)
    except LongtakeError as error:
        return str(error)
    return "whole" if media_facts(path).frames == 24 * KILLED else "torn"


PARTS = {
    "memory": memory,
    "length": length,
    "speed": speed,
    "timing": timing,
    "kills": kills,
    "faults": faults,
}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        kind, *words = sys.argv[2:]
        if kind == "endless":
            return endless(words[0], int(words[1]))
        with contextlib.redirect_stdout(sys.stderr):
            kinds = {"save": one_save, "length": one_length, "speed": speeds}
            measured = kinds[kind](*(int(w) if w.isdecimal() else w for w in words))
        print(json.dumps(measured))
        return None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=40, help="sizes of disk that become full")
    options = parser.parse_args()
    found = {part: PARTS[part](options) for part in options.only}
    print(json.dumps({"torch": torch.__version__, "cpus": os.cpu_count(), **found}))
    return None


if __name__ == "__main__":
    main()
