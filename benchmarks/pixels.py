"""A hash of every frame that the workflows make: what a change of structure must leave as it is.

Each workflow in workflows/api/ that needs no files runs once, in one server, and what it saved is
decoded. On one machine the same code gives the same hashes; another machine rounds sums in another
order. Another ComfyUI gives those of `core_nodes` anew: its frames are the same to the bit, but
core's Save Video stores them by BT.709 in 0.33, with tags that say so, and by BT.601 without any in
0.3.75.

    python dev.py bench pixels > before        and, after the change,
    python dev.py bench pixels --like before   which fails where a workflow's frames differ
"""

import argparse
import json
import signal
import sys
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
from _measure import machine, own_server
from PIL import Image, ImageSequence

from dev import WORKFLOWS
from headless import failure, saved_files
from tests.workflows.templates import TEMPLATES, graph_file

PICTURES = (".gif", ".png", ".webp", ".jpg")


def digest(file: Path) -> str:
    """SHA-256 of a file's frames as they are decoded, their time stamps, and its sound."""
    state = sha256()
    if file.suffix in PICTURES:
        with Image.open(file) as picture:
            for frame in ImageSequence.Iterator(picture):
                state.update(np.asarray(frame.convert("RGBA")).tobytes())
        return state.hexdigest()
    with av.open(file) as container:
        for frame in container.decode(*container.streams.video, *container.streams.audio):
            state.update(str(frame.pts).encode())
            state.update(frame.to_ndarray().tobytes())
    return state.hexdigest()


def hashes(names: list[str]) -> dict[str, list[str]]:
    """By workflow: the hash of each file that it made, in the order of their names."""
    found = {}
    with own_server() as (server, base):
        for name in names:
            workflow = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
            entry = server.wait(server.queue(workflow))
            if reason := failure(entry, workflow):
                raise SystemExit(f"{name}: {reason}")
            # By name: nodes that wait for nothing end in any order.
            files = sorted(saved_files(entry, base / "output"))
            found[name] = [digest(file) for file in files]
            print(f"{name:>24}  {' '.join(each[:12] for each in found[name])}", flush=True)
    return found


def without_files() -> list[str]:
    """Names of the workflows whose nodes ask for no models that one would have to download."""
    graphs = {name: json.loads(graph_file(name).read_text(encoding="utf-8")) for name in TEMPLATES}
    return sorted(
        name
        for name, graph in graphs.items()
        if not any("models" in node["properties"] for node in graph["nodes"])
    )


def differing(found: dict[str, list[str]], earlier: str) -> list[str]:
    """Names of the workflows whose hashes are not those of an earlier run's output."""
    document = json.loads(earlier.strip().rpartition("\n")[2])
    before = document.get("pixels", document)["workflows"]
    return [name for name in found if found[name] != before.get(name)]


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends the server as well
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="some of the workflows")
    parser.add_argument("--like", type=Path, help="an earlier output, whose hashes must be equal")
    options = parser.parse_args()
    names = options.only or without_files()
    found = hashes(names)
    print(json.dumps({**machine(), "workflows": found}))
    if options.like and (names := differing(found, options.like.read_text(encoding="utf-8"))):
        sys.exit(f"not the frames of {options.like}: {', '.join(names)}")


if __name__ == "__main__":
    main()
