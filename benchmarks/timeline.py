"""Pinning, extending, filling, bridging and looping with the built-in model: what fits, and how.

Every clip is made by the model itself but for the images that are pinned, which the little world
of the training renders. `seam` compares the step from one frame to the next where known and new
meet with the 95th percentile of all other steps of the same clip. About 290 windows of the built-in
model in all, shared out among processes of one thread each (--jobs); the figures do not depend on
how many. On a GPU all is made in one process.

pin      an image as first, middle and last frame: dB over the VAE's own round trip; motion as asked
extend   one second more on either side: the seam, and the clip to the bit
mend     half a clip filled, two clips bridged, one closed to a loop: seams, ends, cuts
long     a clip extended to 8 windows: whether colour, ground and time of day last
"""

import argparse
import json
import multiprocessing
import os
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import torch
from _measure import machine
from _takes import Studio, start_comfyui
from einops import rearrange

from longtake.engine.canvas.canvas import DIRECTIONS, Canvas
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.sampling.presets import NANO
from longtake.engine.sampling.schedule import sigmas
from training.exam.camera import find_cut
from training.exam.detect import Reading, motion_of, read
from training.world.captions import EASY_WORLD, Mix, Scene, caption, sample_scene
from training.world.render import render

SIZE, FPS, FRAMES = 128, Fraction(8), 17
WORLD = Mix(two=0.0, cut=0.0, camera=0.0, size=0.5, synonyms=0.0)
WINDOWS = 8


class Cutter(Studio):
    """The built-in model, and what a graph of our canvas nodes does with it."""

    def __init__(self, base: Path, steps: int):
        from longtake.host.networks.codec import codec_for

        super().__init__(base, steps)
        self.codec = codec_for(self.vae)

    def sample(self, canvas: Canvas, prompt: str, seed: int) -> Canvas:
        """The canvas as a whole clip."""
        from longtake.host.comfyui.conditioning import Prompts
        from longtake.host.sampling.sample import Sampling, sample

        prompts = Prompts(self.encoded_text(prompt), self.encoded_text(""))
        sampling = Sampling(sigmas(self.steps, NANO.shift), seed, NANO.cfg)
        latents = sample(self.model, prompts, canvas, sampling)
        return Canvas(MaskedLatents(latents), self.codec, FPS, skip=canvas.skip)

    def blank(self) -> Canvas:
        return Canvas.blank(self.codec, FRAMES, SIZE, SIZE, FPS)

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """(frames, h, w, 3) from 0 to 1."""
        from longtake.host.networks.vae import decode_frames

        return decode_frames(self.vae, latents)

    def frames(self, canvas: Canvas) -> torch.Tensor:
        return self.decoded(canvas.video.latents)[canvas.left_out :]

    def round_trip(self, images: torch.Tensor) -> torch.Tensor:
        """The frames as the VAE alone gives them back."""
        return self.decoded(self.codec.encode(images))


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10(((a - b) ** 2).mean()))


def steps_between(frames: torch.Tensor) -> np.ndarray:
    """Mean difference of each frame to the next."""
    return (frames[1:] - frames[:-1]).abs().mean(dim=(1, 2, 3)).numpy()


def seam(frames: torch.Tensor, at: list[int]) -> float:
    """The largest step at these frames, over the 95th percentile of the others."""
    steps = steps_between(frames)
    return float(steps[at].max() / np.percentile(np.delete(steps, at), 95))


def to_bytes(frames: torch.Tensor) -> np.ndarray:
    return (frames.numpy() * 255).round().astype(np.uint8)


def scene_for(number: int, mix: Mix = WORLD) -> tuple[Scene, str]:
    rng = Random(f"timeline {number}")
    scene = sample_scene(rng, mix)
    return scene, caption(scene, rng, mix)


def rendered(scene: Scene, number: int, frames: int = FRAMES) -> torch.Tensor:
    pixels = render([scene], frames, torch.Generator().manual_seed(number)).pixels[0]
    return rearrange(pixels.float() / 2 + 0.5, "c f h w -> f h w c").clamp(0, 1)


def pin_images(cutter: Cutter, number: int) -> dict:
    """The first, a middle and the last frame of a rendered clip, each pinned alone."""
    scene, prompt = scene_for(number)
    clip = rendered(scene, number)
    out = {}
    for name, frame in (("first", 0), ("middle", 8), ("last", 16)):
        image = clip[frame : frame + 1]
        canvas = cutter.blank().pin_image(image, frame / 8, "crop")
        sampled = cutter.sample(canvas, prompt, number)
        alone = cutter.round_trip(image.expand(1 if frame == 0 else 9, -1, -1, -1))[-1:]
        frames = cutter.frames(sampled)
        out[name] = psnr(frames[frame : frame + 1], image) - psnr(alone, image)
        if name == "first":
            seen = read(to_bytes(frames))
            motion = scene.shots[0].things[0].motion
            out["motion"] = bool(seen.tracks) and motion_of(seen.tracks[0]) == motion
    return out


def extend(cutter: Cutter, number: int) -> dict:
    """A clip of 17 frames, 1 second more after it and before it."""
    _, prompt = scene_for(number)
    clip = cutter.sample(cutter.blank(), prompt, number)
    out = {}
    for direction in DIRECTIONS:
        canvas = clip.extend(direction, 1.0)
        sampled = cutter.sample(canvas, prompt, number + 1000)
        latents, own = sampled.video.latents, clip.video.latents
        new = latents.shape[2] - own.shape[2]
        at = [16] if direction == "forwards" else [4 * new]  # seen from the frame before
        frames = cutter.frames(sampled)
        out[direction] = seam(frames, at)
        kept = slice(0, 5) if direction == "forwards" else slice(new + 1, None)
        own = own if direction == "forwards" else own[:, :, 1:]
        out[f"{direction}_exact"] = torch.equal(latents[:, :, kept], own)
    return out


def mend(cutter: Cutter, number: int) -> dict:
    """Half a clip filled, two clips of one scene bridged, one closed to a loop."""
    _, prompt = scene_for(number)
    clip = cutter.sample(cutter.blank(), prompt, number)
    other = cutter.sample(cutter.blank(), prompt, number + 2000)
    canvases = {
        "fill": clip.fill(0.7, 1.4),
        "bridge": clip.bridge(other, 1.0),
        "loop": clip.loop(1.0),
    }
    out = {}
    for name, canvas in canvases.items():
        known, count = canvas.video.known, canvas.timeline.latent_frames
        sampled = cutter.sample(canvas, prompt, number + 1000)
        frames = cutter.frames(sampled)
        before, after = (one.video.latents[:, :, known] for one in (canvas, sampled))
        out[f"{name}_exact"] = torch.equal(before, after)
        out[f"{name}_cut"] = find_cut(to_bytes(frames)) is not None
        if name == "loop":
            round_ = torch.cat((frames, frames[:1]))
            out["loop_closes"] = seam(round_, [len(frames) - 1])
            *others, closing = steps_between(round_)
            out["loop_closes_as_neighbours"] = bool(closing <= max(others))
            new = sorted({*range(count)} - {*known})
            ends = {"leaves": 4 * new[0] - 4, "arrives": 4 * new[-1]}
            for end, step in ends.items():
                out[f"loop_{end}"] = seam(round_, [step - sampled.left_out])
        else:
            edges = [k for k in range(1, count) if (k in known) != (k - 1 in known)]
            for end, k in zip(("leaves", "arrives"), edges, strict=True):
                out[f"{name}_{end}"] = seam(frames, [4 * k - 4])
    return out


def long_extension(cutter: Cutter, number: int) -> dict:
    """A clip extended until it is as long as so many windows: what is still there at the end.

    In this world what leaves the picture comes back, so the object is looked for in the second half
    and not in the last frames alone; whether it is in view at the end is counted beside it.
    """
    _, prompt = scene_for(number, replace(EASY_WORLD, cut=0.0))
    clip = cutter.sample(cutter.blank(), prompt, number)
    canvas = clip.extend("forwards", (WINDOWS - 1) * 3 * 4 / 8)
    assert len(canvas.windows) == WINDOWS - 1
    frames = to_bytes(cutter.frames(cutter.sample(canvas, prompt, number + 1000)))
    first, last = read(frames[:17]), read(frames[-16:])
    later = [colour_of(read(part)) for part in np.array_split(frames[len(frames) // 2 :], 4)]
    seen = [colour for colour in later if colour]
    rows = {
        "colour": bool(seen) and set(seen) == {colour_of(first)},
        "ground": first.ground == last.ground,
        "time": first.time == last.time,
    }
    return {**rows, "all": all(rows.values()), "in_view_at_the_end": later[-1] is not None}


def colour_of(reading: Reading) -> str | None:
    """Of the largest object, if there is one."""
    return reading.tracks[0].colour if reading.tracks else None


PARTS = {"pin": pin_images, "extend": extend, "mend": mend, "long": long_extension}
GOALS = {"first": (-1, None), "middle": (-1, None), "last": (-1, None)}  # dB; of seams at most 1


def summed(rows: list[dict]) -> dict:
    """Of numbers their spread and how many are as asked, of yes and no how often yes."""
    out: dict[str, object] = {"clips": len(rows)}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if isinstance(values[0], bool):
            out[name] = f"{sum(values)} of {len(values)}"
            continue
        least, most = GOALS.get(name, (None, 1))
        good = sum(v >= least if most is None else v <= most for v in values)
        out[name] = {
            "median": round(float(np.median(values)), 2),
            "min": round(min(values), 2),
            "max": round(max(values), 2),
            "goal": f"at least {least} dB" if most is None else f"at most {most}",
            "met": f"{good} of {len(values)}",
        }
    return out


@torch.inference_mode()
def row_of(cutter: Cutter, part: str, number: int) -> dict:
    return PARTS[part](cutter, number)


def rows_of(cutter: Cutter, part: str, count: int, jobs: int) -> list[dict]:
    """A row for each of so many scenes, the work shared out among forked processes; a GPU, which
    these cannot use, does all in this one."""
    if torch.cuda.is_available():
        return [row_of(cutter, part, number) for number in range(count)]
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def work(first: int) -> None:
        rows = {}
        try:
            for number in range(first, count, jobs):
                rows[number] = row_of(cutter, part, number)
        finally:
            queue.put(rows)

    for first in range(jobs):
        context.Process(target=work, args=(first,)).start()
    rows: dict[int, dict] = {}
    for _ in range(jobs):
        rows |= queue.get()
    if len(rows) < count:
        raise SystemExit(f"{part} failed; the reason is above")
    return [rows[number] for number in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=10, help="to pin, to extend, to mend")
    parser.add_argument("--takes", type=int, default=20, help="of 8 windows")
    parser.add_argument("--steps", type=int, default=NANO.steps)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cutter, results = Cutter(start_comfyui(), options.steps), {}
    for part in options.only:
        begun = time.monotonic()
        count = options.takes if part == "long" else options.clips
        results[part] = summed(rows_of(cutter, part, count, options.jobs))
        results[part]["took_s"] = round(time.monotonic() - begun)
        print(part, json.dumps(results[part], indent=1), flush=True)
    print(json.dumps({**machine(), "steps": options.steps, "jobs": options.jobs, **results}))


if __name__ == "__main__":
    main()
