"""The pictures of the template browser, out of what each workflow makes.

    .venv/bin/python tests/workflows/thumbnails.py [NAME ...]

writes workflows/NAME.jpg. A picture remembers which graph it is of, so that a test can tell when it
has to be made anew.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from pack import register

    register()

from environment import ROOT, comfyui_folder
from tests.server import ComfyUI

FOLDER = ROOT / "workflows"
SIDE = 400  # pixels, of a square
GAP = 4
QUALITY = 85


def fingerprint(prompt: dict) -> str:
    """What decides a prompt's pictures: its nodes and their inputs, whatever their titles."""
    nodes = {key: (node["class_type"], node["inputs"]) for key, node in prompt.items()}
    return hashlib.sha256(json.dumps(nodes, sort_keys=True).encode()).hexdigest()


def moments(video: Path, count: int) -> Iterator[Image.Image]:
    """So many frames of a video, from the first to the last."""
    with av.open(video) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    for at in np.linspace(0, len(frames) - 1, count).round().astype(int):
        yield frames[at]


def thumbnail(video: Path) -> Image.Image:
    """A square of frames, left to right and down: four of a square video, fewer of a wide one."""
    first = next(moments(video, 1))
    columns, rows = (1, 3) if first.width > 2 * first.height else (2, 2)
    size = ((SIDE - GAP * (columns - 1)) // columns, (SIDE - GAP * (rows - 1)) // rows)
    sheet = Image.new("RGB", (SIDE, SIDE), "black")
    for n, frame in enumerate(moments(video, columns * rows)):
        down, right = divmod(n, columns)
        place = right * (size[0] + GAP), down * (size[1] + GAP)
        sheet.paste(fitted(frame, *size), place)
    return sheet


def fitted(frame: Image.Image, width: int, height: int) -> Image.Image:
    """A frame that fills a size, cut at its sides."""
    scale = max(width / frame.width, height / frame.height)
    large = frame.resize(
        (round(frame.width * scale), round(frame.height * scale)), Image.Resampling.LANCZOS
    )
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return large.crop((left, top, left + width, top + height))


def main(names: list[str]) -> None:
    names = names or sorted(path.stem for path in FOLDER.glob("*.json"))
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyUI(comfyui_folder(), Path(base)) as server,
    ):
        for name in names:
            prompt = json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
            run = server.run(prompt, timeout=3600)
            if run.error:
                sys.exit(f"{name}: {run.error}")
            path = FOLDER / f"{name}.jpg"
            video = next(file for file in run.files[::-1] if file.suffix in (".mp4", ".webm"))
            thumbnail(video).save(path, quality=QUALITY, comment=fingerprint(prompt))
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
