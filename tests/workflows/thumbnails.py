"""The pictures of the template browser, out of what each workflow makes.

    .venv/bin/python tests/workflows/thumbnails.py [NAME ...]

writes two beside each graph: a jpg of some frames, and a webp that moves, for pages that are told
of it by web/templates/offer.js. Those for other people's models, which are not run here, have a
card with the name of the model as their jpg, and nothing that moves. A picture remembers which
graph it is of, so that a test can tell when it has to be made anew.
"""

import hashlib
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from pack import register

    register()

from environment import comfyui_folder
from tests.server import ComfyUI
from tests.workflows.templates import TEMPLATES, graph_file, prompt_file

SIDE, MOVING_SIDE = 400, 256  # pixels, of a square
MOMENTS, PER_SECOND = 48, 12  # of what moves, at most
GAP = 4
QUALITY, MOVING_QUALITY = 85, 50
CARDS = {  # what stands on the card of a workflow that is not run here
    "h3_image_to_video": "MiniMax H3\npicture to video,\nwith sound",
    "h3_storyboard": "MiniMax H3\nstoryboard,\nwith sound",
    "ltx_long_take_with_sound": "LTX-2.3\nlong take,\nwith sound",
    "wan22_image_to_video": "Wan 2.2\npicture to video,\n4 steps",
    "svi_long_take": "Wan 2.2\nwith SVI 2.0 Pro,\nlong take",
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


def moving(video: Path) -> tuple[list[Image.Image], float]:
    """(squares in which the whole video is seen, its first seconds; how many there are a second)"""
    with av.open(video) as container:
        (stream,) = container.streams.video
        step = math.ceil(stream.average_rate / PER_SECOND)
        frames = itertools.islice(container.decode(stream), 0, MOMENTS * step, step)
        size, ground = (MOVING_SIDE, MOVING_SIDE), ImageColor.getrgb(GROUND)
        squares = [
            ImageOps.pad(frame.to_image(), size, Image.Resampling.LANCZOS, ground)
            for frame in frames
        ]
        return squares, float(stream.average_rate / step)


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
    path = graph_file(name, ".jpg")
    picture.save(path, quality=QUALITY, comment=fingerprint(prompt))
    print(path)


def keep_moving(video: Path, name: str, prompt: dict) -> None:
    path = graph_file(name, ".webp")
    (first, *others), rate = moving(video)
    first.save(
        path, save_all=True, append_images=others, duration=round(1000 / rate), loop=0,
        quality=MOVING_QUALITY, method=6, xmp=fingerprint(prompt).encode(),
    )  # fmt: skip
    print(path)


def read_prompt(name: str) -> dict:
    return json.loads(prompt_file(name).read_text(encoding="utf-8"))


def main(names: list[str]) -> None:
    names = names or [*TEMPLATES]
    for name in [name for name in names if name in CARDS]:
        keep(card(CARDS[name]), name, read_prompt(name))
        names.remove(name)
    if not names:
        return
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyUI(comfyui_folder(), Path(base)) as server,
    ):
        for name in names:
            prompt = read_prompt(name)
            run = server.run(prompt, timeout=3600)
            if run.error:
                sys.exit(f"{name}: {run.error}")
            video = next(file for file in run.files[::-1] if file.suffix in (".mp4", ".webm"))
            keep(thumbnail(video), name, prompt)
            keep_moving(video, name, prompt)


if __name__ == "__main__":
    main(sys.argv[1:])
