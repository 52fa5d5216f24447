"""Clips on 1 and 2 workers over Ray that sleep instead of sampling; then up to 64, computed.

So two cores can show what giving out and collecting costs: the time beyond the sleep, of each clip,
and how many times as fast two workers are as one. From that the curve up to 64 workers is computed,
with one driver that collects one window at a time. Needs Ray (`pip install ray`).
"""

import argparse
import heapq
import json
import os
import secrets
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from _measure import machine

from longtake.engine.cluster.terms import Terms
from longtake.host.cluster.ray_workers import NAMESPACE, PREFIX, RayWorkers
from longtake.host.cluster.shift import ClipOut, Shift

WINDOW = 8_400_000  # bytes, of 81 frames of 832 × 480
WINDOWS = 2  # of a clip
TERMS = Terms("pack", "comfyui", "kind")


class Sleeper:
    """What `worker.Worker` is to a driver; its clips are slept through."""

    def __init__(self, seconds: float):
        self.seconds, self.job, self.ends = seconds, "", 0.0

    def begin(self, job: str, graph: str, have: dict) -> str:
        self.job, asked = job, json.loads(graph)
        self.ends = time.monotonic() + (0.0 if "terms" in asked else self.seconds)
        return ""

    def state(self, job: str) -> str:
        if job.startswith("terms"):
            said = {"pack": "pack", "comfyui": "comfyui", "kind": "kind", "files": {}}
            return json.dumps({"status": "done", "said": {**said, "unknown": []}})
        share = 1 - max(0.0, self.ends - time.monotonic()) / self.seconds
        keys = [f"{job}-{n}" for n in range(WINDOWS)]
        told = {"keys": keys, "finished": keys[: int(share * WINDOWS)], "steps": int(share * 100)}
        return json.dumps({"status": "done" if share >= 1 else "running", **told})

    def window(self, key: str) -> bytes:
        return bytes(WINDOW)

    def cancel(self, job: str) -> None: ...


def measured(ray, workers: int, clips: int, seconds: float, folder: Path) -> dict:
    """How long so many workers take for so many clips, and what of it is not sleep."""
    actors = [
        ray.remote(num_cpus=0)(Sleeper).options(name=f"{PREFIX}{n}").remote(seconds)
        for n in range(workers)
    ]
    ray.get([actor.state.remote("terms") for actor in actors])  # they are up
    spent: list[float] = []

    def keep(number: int, place: int, data: bytes, there: str, kind: str) -> None:
        begun = time.perf_counter()
        (folder / f"{number}-{place}").write_bytes(data)
        spent.append(time.perf_counter() - begun)

    out = {
        n: ClipOut(f"clip {n}", f"{workers}-{n}", "{}", lambda kind: False, dict, partial(keep, n))
        for n in range(clips)
    }
    shift = Shift(partial(RayWorkers, "auto"), out, TERMS, json.dumps({"terms": 1}), {})
    shift.begin()
    shift.settled.wait(60)
    begun = time.monotonic()
    with shift.changed:
        shift.changed.wait_for(lambda: len(shift.rota.done) == clips, timeout=clips * seconds * 2)
    took = time.monotonic() - begun
    shift.end()
    for actor in actors:
        ray.kill(actor)
    beyond = (took * workers - clips * seconds) / clips
    return {"seconds": took, "beyond_per_clip": beyond, "store_window": sum(spent) / len(spent)}


def simulated(workers: int, clips: int, seconds: float, beyond: float, serial: float) -> float:
    """How many times as fast as one: each clip is slept, and takes the driver's time in turn."""

    def makespan(count: int) -> float:
        free, driver = [0.0] * count, 0.0
        for _ in range(clips):
            done = heapq.heappop(free) + seconds + max(0.0, beyond - serial)
            driver = max(driver, done) + serial
            heapq.heappush(free, driver)
        return max(free)

    return makespan(1) / makespan(workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="a clip is slept")
    parser.add_argument("--clips", type=int, default=6)
    options = parser.parse_args()
    if find_spec("ray") is None:
        print("Ray is not installed: pip install ray")
        print(json.dumps({**machine(), "ray": None}))
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    ray.init("local", namespace=NAMESPACE, include_dashboard=False, log_to_driver=False)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2):
            found[count] = measured(ray, count, options.clips, options.seconds, Path(folder))
            print(f"{count} worker(s): {found[count]}", flush=True)
    ray.shutdown()
    beyond, serial = found[2]["beyond_per_clip"], WINDOWS * found[2]["store_window"]
    curve = {
        n: round(simulated(n, 256, options.seconds, beyond, serial), 2)
        for n in (1, 2, 4, 8, 16, 32, 64)
    }
    speed_up = found[1]["seconds"] / found[2]["seconds"]
    overhead = beyond / options.seconds
    print(f"two are {speed_up:.2f} times as fast; {100 * overhead:.1f} % of a clip is overhead")
    print(f"computed, 256 clips: {curve}")
    result = {"clips": options.clips, "clip_seconds": options.seconds, "measured": found}
    result |= {"speed_up_of_2": speed_up, "overhead": overhead, "computed_speed_up": curve}
    print(json.dumps({**machine(), **result}))


if __name__ == "__main__":
    main()
