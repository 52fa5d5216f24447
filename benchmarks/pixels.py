"""A hash of every frame that the workflows make: what a change of structure must leave as it is.

Each workflow in workflows/api/ runs once, in one server, and what it saved is decoded. On one
machine the same code gives the same hashes; another machine rounds sums in another order.

    python dev.py bench pixels > before        and, after the change,
    python dev.py bench pixels --like before   names the workflows that differ
"""

import argparse
import json
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import av  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image, ImageSequence  # noqa: E402

from dev import WORKFLOWS, device_options, link_pack, python  # noqa: E402
from headless import Server, failure, made  # noqa: E402

PICTURES = (".gif", ".png", ".webp", ".jpg")


def digest(file: Path) -> str:
    """The hash of a file's frames, as they are decoded, and of its sound."""
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


def hashes(comfyui: Path, names: list[str]) -> dict[str, list[str]]:
    """By workflow: the hash of each file that it made, in the order of its nodes."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for part in ("custom_nodes", "input", "output", "models"):
            (base / part).mkdir()
        link_pack(base / "custom_nodes")
        options = [*device_options(), "--base-directory", base]
        with Server(python(), comfyui, options, base / "comfyui.log") as server:
            for name in names:
                workflow = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
                entry = server.wait(server.queue(workflow))
                if reason := failure(entry, workflow):
                    raise SystemExit(f"{name}: {reason}")
                found[name] = [digest(file) for file in made(entry, base / "output")]
                print(f"{name:>24}  {' '.join(each[:12] for each in found[name])}", flush=True)
    return found


def main() -> None:
    import os

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="some of the workflows")
    parser.add_argument("--like", type=Path, help="an earlier output, whose hashes must be equal")
    options = parser.parse_args()
    names = options.only or sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    found = hashes(Path(os.environ["COMFYUI_PATH"]), names)
    differ = []
    if options.like:
        last = options.like.read_text(encoding="utf-8").strip().rpartition("\n")[2]
        before = json.loads(last)["pixels"]["workflows"]
        differ = [name for name in names if found[name] != before.get(name)]
    print(json.dumps({"workflows": found, "differ": differ}))


if __name__ == "__main__":
    main()
