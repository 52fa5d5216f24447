"""The pictures of the template browser, out of what each workflow makes.

    .venv/bin/python tests/workflows/thumbnails.py [NAME ...]

writes workflows/NAME.jpg. Those for other people's models, which are not run here, have a card with
the name of the model instead of its pictures. A picture remembers which graph it is of, so that a
test can tell when it has to be made anew.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
CARDS = {  # what stands on the card of a workflow that is not run here
    "h3_image_to_video": "MiniMax H3\npicture to video,\nwith sound",
    "h3_storyboard": "MiniMax H3\nstoryboard,\nwith sound",
    "ltx_long_take_with_sound": "LTX-2.3\nlong take,\nwith sound",
    "wan22_image_to_video": "Wan 2.2\npicture to video,\n4 steps",
    "gguf_long_take": "GGUF\nlong take",
    "hunyuan_extend": "HunyuanVideo\na clip goes on",
    "vace_control": "Wan 2.1 VACE\na clip is followed",
    "motion_brush": "Wan-Move\nwhat moves where,\ndrawn by hand",
    "drive_character": "Wan-Animate 2\na character\nperforms a video",
}
BESIDE = {"remember", "workers"}  # inputs that do not decide what a video shows
GROUND, INK = "#20262e", "#e8e4d8"


def fingerprint(prompt: dict) -> str:
    """What decides a prompt's pictures: its nodes and their inputs, whatever their titles."""
    nodes = {
        key: (node["class_type"], {k: v for k, v in node["inputs"].items() if k not in BESIDE})
        for key, node in prompt.items()
    }
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


def card(words: str) -> Image.Image:
    """A square with words on it, and nothing that a model would have made."""
    sheet = Image.new("RGB", (SIDE, SIDE), GROUND)
    first, rest = words.split("\n", 1)
    draw = ImageDraw.Draw(sheet)
    draw.text((SIDE / 2, SIDE * 0.42), first, INK, ImageFont.load_default(52), anchor="mm")
    draw.multiline_text(
        (SIDE / 2, SIDE * 0.62), rest, INK, ImageFont.load_default(30), anchor="mm", align="center"
    )
    return sheet


def fitted(frame: Image.Image, width: int, height: int) -> Image.Image:
    """A frame that fills a size, cut at its sides."""
    scale = max(width / frame.width, height / frame.height)
    large = frame.resize(
        (round(frame.width * scale), round(frame.height * scale)), Image.Resampling.LANCZOS
    )
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return large.crop((left, top, left + width, top + height))


def keep(picture: Image.Image, name: str, prompt: dict) -> None:
    path = FOLDER / f"{name}.jpg"
    picture.save(path, quality=QUALITY, comment=fingerprint(prompt))
    print(path)


def main(names: list[str]) -> None:
    names = names or sorted(path.stem for path in FOLDER.glob("*.json"))
    for name in [name for name in names if name in CARDS]:
        prompt = json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
        keep(card(CARDS[name]), name, prompt)
        names.remove(name)
    if not names:
        return
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyUI(comfyui_folder(), Path(base)) as server,
    ):
        for name in names:
            prompt = json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
            run = server.run(prompt, timeout=3600)
            if run.error:
                sys.exit(f"{name}: {run.error}")
            video = next(file for file in run.files[::-1] if file.suffix in (".mp4", ".webm"))
            keep(thumbnail(video), name, prompt)


if __name__ == "__main__":
    main(sys.argv[1:])
