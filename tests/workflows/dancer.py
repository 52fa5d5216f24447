"""The samples of the workflow `drive_character`: somebody dances, and somebody else who could.

    .venv/bin/python tests/workflows/dancer.py

draws samples/longtake_dancer.mp4, four seconds at 30 frames a second with a beat, and
samples/longtake_robot.png.
"""

import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from pack import register

    register()

WIDTH, HEIGHT, FINER = 384, 512, 3
FPS, SECONDS, BEAT = 30, 4, 0.5  # seconds of a beat
RATE = 16_000
Point = tuple[float, float]
LIMBS = ("left arm", "right arm", "left leg", "right leg")


def ends(moment: float) -> dict[str, tuple[Point, Point, Point]]:
    """Shoulder, elbow and hand, or hip, knee and foot of each limb, in parts of the height."""
    swing, step = math.sin(math.pi * moment / BEAT), math.cos(math.pi * moment / BEAT)
    bounce = 0.012 * abs(step)
    middle = 0.375 + 0.03 * swing
    found = {}
    for limb in LIMBS:
        side = -1 if limb.startswith("left") else 1
        if limb.endswith("arm"):
            begin = (middle + 0.07 * side, 0.33 + bounce)
            upper, lower = (1.2 + 0.9 * swing * side), (-0.4 + 1.3 * swing * side)
            lengths = 0.11, 0.11
        else:
            begin = (0.375 + 0.045 * side + 0.02 * swing, 0.58 + bounce)
            upper, lower = 0.25 + 0.35 * max(0, step * side), -0.05 - 0.3 * max(0, step * side)
            lengths = 0.17, 0.17
        points = [begin]
        for angle, length in zip((upper, upper + lower), lengths, strict=True):
            x, y = points[-1]
            points.append((x + side * math.sin(angle) * length, y + math.cos(angle) * length))
        found[limb] = tuple(points)
    return found


def figure(draw: ImageDraw.ImageDraw, moment: float, colours: dict[str, str], aside: float) -> None:
    """A body with limbs, a head and a face, so far to the right, in parts of the height."""
    scale = HEIGHT * FINER
    limbs = ends(moment)

    def at(*points: Point) -> list[Point]:
        return [((x + aside) * scale, y * scale) for x, y in points]

    def thick(points: list[Point], width: float, colour: str) -> None:
        size = width * scale
        draw.line(points, colour, round(size), joint="curve")
        for x, y in points:
            draw.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), colour)

    shoulders = [limbs[f"{side} arm"][0] for side in ("left", "right")]
    hips = [limbs[f"{side} leg"][0] for side in ("left", "right")]
    for limb in LIMBS[2:]:
        thick(at(*limbs[limb]), 0.055, colours["legs"])
    draw.polygon(at(*shoulders, *hips[::-1]), colours["body"])
    thick(at(*shoulders, *hips[::-1], shoulders[0]), 0.05, colours["body"])
    for limb in LIMBS[:2]:
        thick(at(*limbs[limb]), 0.045, colours["arms"])
    (x, y), r = ((shoulders[0][0] + shoulders[1][0]) / 2, shoulders[0][1] - 0.12), 0.075
    draw.ellipse([*at((x - r, y - r), (x + r, y + r))[0], *at((x + r, y + r))[0]], colours["head"])
    for side in (-1, 1):
        ex, ey, e = x + 0.027 * side, y - 0.01, 0.012
        draw.ellipse([*at((ex - e, ey - e))[0], *at((ex + e, ey + e))[0]], colours["eyes"])


def picture(
    moment: float, ground: str, floor: str, colours: dict[str, str], width: int = WIDTH
) -> Image.Image:
    drawn = Image.new("RGB", (width * FINER, HEIGHT * FINER), ground)
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((0, 0.86 * HEIGHT * FINER, width * FINER, HEIGHT * FINER), floor)
    figure(draw, moment, colours, (width - WIDTH) / 2 / HEIGHT)
    return drawn.resize((width, HEIGHT), Image.Resampling.LANCZOS)


DANCER = {"body": "#b04a3c", "arms": "#d9a07a", "legs": "#2c3a55", "head": "#e0ac88",
          "eyes": "#222222"}  # fmt: skip
ROBOT = {"body": "#4f9ba8", "arms": "#9fb4bd", "legs": "#7d919b", "head": "#c7d4d9",
         "eyes": "#f2b632"}  # fmt: skip


def beat() -> np.ndarray:
    """(1, samples): a drum on each beat."""
    time = np.arange(SECONDS * RATE) / RATE % BEAT
    return (0.5 * np.sin(2 * np.pi * 90 * time) * np.exp(-18 * time))[None].astype(np.float32)


def main() -> None:
    from longtake.engine.media.sound import Sound
    from longtake.engine.media.writer import Quality, write_video

    frames = [
        np.asarray(picture(n / FPS, "#c9d6c4", "#8c7b66", DANCER)) for n in range(FPS * SECONDS)
    ]
    film = ROOT / "samples" / "longtake_dancer.mp4"
    film.unlink(missing_ok=True)
    chunks = torch.from_numpy(np.stack(frames)).split(8)
    write_video(film, chunks, Fraction(FPS), quality=Quality(26), sound=Sound(beat(), RATE))
    still = ROOT / "samples" / "longtake_robot.png"
    picture(BEAT / 2, "#2f3d4a", "#46586a", ROBOT, HEIGHT).quantize(64).save(still, optimize=True)
    for file in (film, still):
        print(file, file.stat().st_size)


if __name__ == "__main__":
    main()
