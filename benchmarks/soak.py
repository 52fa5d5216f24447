"""Memory of a server that works all day: after 300 prompts within 32 MB of that after 20.

Workflows of several kinds take turns in one real ComfyUI, small and of few steps, each time with
another seed and length, so that nothing comes from its cache: a take in windows, a clip sampled
and saved in several formats, one extended, one interpolated. RSS is that of the server's process
on Linux, looked at between prompts; files it holds open and threads are counted beside it.
"""

import argparse
import json
import signal
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from _measure import machine, own_server

from dev import WORKFLOWS
from headless import failure

KINDS = (
    "text_to_video",
    "long_take",
    "save_formats",
    "extend_forward",
    "interpolate",
    "storyboard",
)
WARM, MOST = 20, 32  # prompts until everything has run; MB that may come after them
SMALL = {"steps": 1, "width": 128, "height": 128}


def small(kind: str, number: int) -> dict[str, dict[str, Any]]:
    """The `number`th graph of a kind: one step, few frames, a seed of its own."""
    graph = json.loads((WORKFLOWS / f"{kind}.json").read_text(encoding="utf-8"))
    sizes = {**SMALL, "seed": number, "seconds": 1 + number % 3}
    if kind == "storyboard":
        del sizes["seconds"]  # its text says when its shots begin
    for node in graph.values():
        inputs = node["inputs"]
        widgets = {name for name, value in inputs.items() if not isinstance(value, list)}
        inputs |= {name: value for name, value in sizes.items() if name in widgets}
    return graph


def state(process: int) -> dict[str, float]:
    """What a process holds at this moment: MB of memory, open files, threads."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    held = int(facts["VmRSS"].split()[0]) * 1024 / 1e6
    files = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return {"rss_mb": round(held, 1), "files": files, "threads": int(facts["Threads"])}


def soak(prompts: int, every: int, kinds: list[str]) -> list[dict[str, float]]:
    """What the server holds after 1, `WARM`, and every so many prompts."""
    rows = []
    with own_server() as (server, base):
        for number, kind in zip(range(1, prompts + 1), cycle(kinds), strict=False):
            begun, graph = time.monotonic(), small(kind, number)
            if reason := failure(server.wait(server.queue(graph)), graph):
                raise SystemExit(f"prompt {number}, {kind}: {reason}")
            if number in (1, WARM, prompts) or number % every == 0:
                took = round(time.monotonic() - begun, 1)
                row = {"prompts": number, **state(server.process.pid), "last_s": took}
                row["temp_files"] = len(list((base / "temp").glob("*")))
                rows.append(row)
                print(row, flush=True)
    return rows


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends the server as well
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--every", type=int, default=25, help="prompts between two looks")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="workflows to run in turn")
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("soak reads /proc, which only Linux has.")
    rows = soak(options.prompts, options.every, options.kinds)
    warm = next((row for row in rows if row["prompts"] >= WARM), rows[0])
    grown = round(rows[-1]["rss_mb"] - warm["rss_mb"], 1)
    print(json.dumps({**machine(), "rows": rows, "grown_mb": grown, "flat": grown <= MOST}))


if __name__ == "__main__":
    main()
