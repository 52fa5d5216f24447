"""Content Credentials and the invisible watermark: what is missed, what they cost, what survives.

    python dev.py bench credentials                         all of it, which takes some minutes
    python dev.py bench credentials --only flips network    changed bits, connections

The mark is tried on synthetic clips: smooth, fine-grained and drawn ones, of several sizes.
"""

import argparse
import contextlib
import io
import json
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import c2pa
import numpy as np
import psutil
import torch
import torch.nn.functional as F
from _measure import machine
from torch import Tensor

FLIPS = 2000
LARGE = 200  # MB
PARTS = ("flips", "cost", "network", "mark", "chance")
ID = 0x5A17C3


def flips(folder: Path, count: int) -> dict:
    """Single bits changed in media and index bytes, spread by their sizes but half in the index."""
    from longtake.engine.provenance.report import read_report
    from tests.engine.signed import boxes, clip, sign

    path = sign(clip(folder / "flips.mp4", 11), certificate_in(folder))
    data, found = bytearray(path.read_bytes()), boxes(path)
    random, missed, verdicts = np.random.default_rng(7), [], {}
    changed = folder / "flipped.mp4"
    for n in range(count):
        name = ("mdat", "moov")[n % 2]
        byte, bit = int(random.integers(*found[name])), int(random.integers(8))
        data[byte] ^= 1 << bit
        changed.write_bytes(data)
        data[byte] ^= 1 << bit
        report = read_report(changed)
        verdicts[report.verdict] = verdicts.get(report.verdict, 0) + 1
        if report.intact:
            missed.append((name, byte, bit))
    assert read_report(path).intact
    return {"flips": count, "missed": len(missed), "verdicts": verdicts, "where": missed[:9]}


def certificate_in(folder: Path):
    from longtake.engine.provenance.certificate import find_certificate

    return find_certificate(folder / "certificate", {})


def cost(folder: Path, megabytes: int) -> dict:
    """Seconds, and by how much resident memory grows at most, with a large file."""
    from longtake.engine.provenance.report import read_report
    from longtake.engine.provenance.signing import SourceFile
    from tests.engine.signed import clip, sign

    certificate = certificate_in(folder)
    read_report(sign(clip(folder / "warm.mp4"), certificate))
    path = large(folder / "large.mp4", megabytes)
    size, steps = path.stat().st_size, {}
    calls = {
        "sign": lambda: sign(path, certificate),
        "read": lambda: read_report(path),
        "sign_with_parent": lambda: sign(
            clip(folder / "child.mp4"), certificate, SourceFile(path, "1" * 64, "parent")
        ),
    }
    for name, call in calls.items():
        with resident() as seen:
            start, spent = time.perf_counter(), time.process_time()
            call()
            steps[name] = {
                "seconds": round(time.perf_counter() - start, 2),
                "cpu_seconds": round(time.process_time() - spent, 2),
            }
        steps[name]["peak_grows_MB"] = round(max(seen) - seen[0], 1)
    grown = path.stat().st_size - size
    path.unlink()
    return {"file_MB": round(size / 1e6, 1), **steps, "file_grows_kB": round(grown / 1e3, 1)}


def large(path: Path, megabytes: int) -> Path:
    """An mp4 of that size: the same keyframes of noise again and again, so that it is quick."""
    source = path.with_name("seed.mp4")
    with av.open(source, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "10", "g": "1"})
        stream.width, stream.height = 640, 480
        noise = np.random.default_rng(3).integers(0, 256, (8, 480, 640, 3), dtype=np.uint8)
        for frame in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with av.open(source) as old, av.open(path, "w", options={"movflags": "faststart"}) as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        raw = [bytes(packet) for packet in packets]
        step, total, n = packets[1].dts - packets[0].dts, 0, 0
        while total < megabytes * 1e6:
            packet = av.Packet(raw[n % len(raw)])
            packet.pts = packet.dts = n * step
            packet.time_base, packet.stream = packets[0].time_base, copy
            packet.is_keyframe = True
            new.mux(packet)
            total, n = total + len(raw[n % len(raw)]), n + 1
    return path


@contextlib.contextmanager
def resident():
    """Resident memory of this process in MB, looked at every few milliseconds meanwhile."""
    process, done = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss / 1e6]

    def watch() -> None:
        while not done.wait(0.003):
            seen.append(process.memory_info().rss / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield seen
    done.set()
    watcher.join()


def network(folder: Path) -> dict:
    """Connections made when files name an address: as sources, and as files to be read."""
    from longtake.engine.provenance.report import read_report
    from longtake.engine.provenance.signing import SourceFile
    from tests.engine.signed import clip, elsewhere, listening, sign

    certificate = certificate_in(folder)
    with listening() as (address, requests):
        for n, embed in enumerate((False, True) * 5):
            source = clip(folder / f"s{n}.mp4", 2)
            hostile = elsewhere(source, f"{address}/{n}", certificate, embed=embed)
            read_report(hostile)
            read_report(
                sign(
                    clip(folder / f"c{n}.mp4", 2),
                    certificate,
                    SourceFile(hostile, "1" * 64, "parent"),
                )
            )
        ours = len(requests)
        with (
            contextlib.suppress(c2pa.C2paError),
            c2pa.Context.from_dict({"version": 1}) as careless,
            (folder / "elsewhere_False.mp4").open("rb") as opened,
        ):
            c2pa.Reader("video/mp4", opened, context=careless)
        return {
            "hostile_files": 10,
            "connections": ours,
            "connections_of_c2pa_by_default": len(requests) - ours,
        }


def smooth(height: int, width: int, frames: int, seed: int, rough: float = 0.7) -> Tensor:
    """A moving landscape; the smaller `rough`, the finer its grain."""
    random = torch.Generator().manual_seed(seed)
    size = (height + 3 * frames, width + 3 * frames)
    land = torch.zeros(1, 3, *size)
    for grain in (8, 16, 32, 64, 128):
        coarse = torch.randn(1, 3, size[0] // grain + 2, size[1] // grain + 2, generator=random)
        land += grain**rough * F.interpolate(coarse, size, mode="bicubic")
    land = (land / land.std() * 45 + 120).clamp(0, 255).to(torch.uint8)[0]
    pieces = [land[:, 3 * n : 3 * n + height, 2 * n : 2 * n + width] for n in range(frames)]
    return torch.stack(pieces).movedim(1, 3).contiguous()


def drawn(height: int, width: int, frames: int, seed: int) -> Tensor:
    """Flat shapes with hard edges on a plain ground, as in cartoons."""
    random = np.random.default_rng(seed)
    video = np.empty((frames, height, width, 3), dtype=np.uint8)
    video[:] = random.integers(30, 226, 3, dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    for _ in range(9):
        at, speed = random.random(2) * (height, width), random.normal(0, 4, 2)
        radius, colour = random.uniform(0.05, 0.25) * height, random.integers(0, 256, 3)
        for n in range(frames):
            there = (y - at[0] - n * speed[0]) ** 2 + (x - at[1] - n * speed[1]) ** 2 < radius**2
            video[n][there] = colour
    return torch.from_numpy(video)


CLIPS = {
    "smooth 480p": lambda seed: smooth(480, 832, 24, seed),
    "fine 480p": lambda seed: smooth(480, 832, 24, seed, rough=0.2),
    "drawn 480p": lambda seed: drawn(480, 832, 24, seed),
    "smooth 720p": lambda seed: smooth(720, 1280, 16, seed),
    "smooth 128": lambda seed: smooth(128, 128, 17, seed),
}
ATTACKS = {
    "crf 18": (18, 1.0, 0.0),
    "crf 23": (23, 1.0, 0.0),
    "crf 28": (28, 1.0, 0.0),
    "half + crf 23": (23, 0.5, 0.0),
    "crop 10 % + crf 23": (23, 1.0, 0.1),
}


def attacked(frames: Tensor, crf: int, scale: float, crop: float) -> tuple[Tensor, int]:
    """Cropped, scaled, encoded and decoded again; and the bytes of the encoded file."""
    height, width = frames.shape[1:3]
    top, left = int(height * crop / 2), int(width * crop / 2)
    frames = frames[:, top : height - top, left : width - left]
    size = [int(side * scale) // 2 * 2 for side in frames.shape[1:3]]
    if list(frames.shape[1:3]) != size:
        small = F.interpolate(frames.movedim(3, 1).float(), size, mode="bicubic", antialias=True)
        frames = small.round().clamp(0, 255).to(torch.uint8).movedim(1, 3)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(24), options={"crf": str(crf)})
        stream.height, stream.width = size
        for frame in frames.contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    length = file.tell()
    file.seek(0)
    with av.open(file) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack(shown)), length


def mark(seeds: int) -> dict:
    """What is left of the mark, its cost in bytes, milliseconds and likeness."""
    from longtake.engine.frames.watermark import embed_mark, find_mark

    rows = {}
    for name, make in CLIPS.items():
        row = {attack: {"z": [], "id": 0} for attack in ATTACKS}
        for seed in range(seeds):
            plain = make(seed)
            start = time.process_time()
            with_mark = torch.cat(list(embed_mark(plain.split(4), ID)))
            spent = 1000 * (time.process_time() - start) / len(plain)
            error = (with_mark.float() - plain.float()).square().mean()
            for attack, how in ATTACKS.items():
                shown, size = attacked(with_mark, *how)
                found = find_mark([shown])
                row[attack]["z"].append(round(found.z, 1))
                row[attack]["id"] += found.id == ID
                if attack == "crf 23":
                    larger = size / attacked(plain, *how)[1] - 1
        rows[name] = {
            "psnr_dB": round(float(10 * torch.log10(255**2 / error)), 1),
            "ms_per_frame": round(spent, 1),
            "larger_at_crf_23": f"{larger:+.0%}",
            **row,
        }
        print(name, json.dumps(rows[name]), flush=True)
    return {"clips_each": seeds, **rows}


def chance(count: int) -> dict:
    """How far unmarked clips get; 8 would count as marked."""
    from longtake.engine.frames.watermark import PRESENT, find_mark

    strengths = []
    for seed in range(count):
        height = 120 + 40 * (seed % 5)
        kind = (smooth, drawn)[seed % 2]
        strengths.append(find_mark([kind(height, height * 4 // 3, 3, 1000 + seed)]).z)
    return {
        "clips": count,
        "false_alarms": sum(z >= PRESENT for z in strengths),
        "highest_z": round(max(strengths), 2),
        "median_z": round(float(np.median(strengths)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--flips", type=int, default=FLIPS)
    parser.add_argument("--megabytes", type=int, default=LARGE)
    parser.add_argument("--seeds", type=int, default=2, help="clips of each kind for the mark")
    parser.add_argument("--unmarked", type=int, default=60, help="clips that bear no mark")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="credentials-") as name:
        folder = Path(name)
        parts = {
            "flips": lambda: flips(folder, options.flips),
            "cost": lambda: cost(folder, options.megabytes),
            "network": lambda: network(folder),
            "mark": lambda: mark(options.seeds),
            "chance": lambda: chance(options.unmarked),
        }
        found = {}
        for part in sorted(options.only, key=("cost", *PARTS).index):  # memory before all else
            found[part] = parts[part]()
            print(f"{part}: {json.dumps(found[part])}", flush=True)
    print(json.dumps({**machine(), "c2pa": c2pa.sdk_version(), **found}))


if __name__ == "__main__":
    main()
