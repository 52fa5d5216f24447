"""A pool of encoded windows, refreshed all the time: rendering costs more than a training step.

Axes:  b window   c latent channel   t latent frame   h w latent row, column
"""

from dataclasses import replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from .pack import register

register()

from longtake.engine.take.cut_prompts import shots_of  # noqa: E402

from .captions import EASY_WORLD, MOTIONS, Mix, Scene, caption, sample_scene  # noqa: E402
from .world import render  # noqa: E402

LEAD = 2  # latent frames rendered before a window from the middle, for the VAE's memory
# Left and right are told apart last of all: their words also belong to the camera, and to both
# ends of "from right to left".
OFTEN = (*MOTIONS, "left", "right")


class Form(NamedTuple):
    """A size of windows: latent frames, pixels, and how often a step is made of such."""

    latent_frames: int
    height: int
    width: int
    share: float

    def fewer(self, count: int) -> int:
        """Windows of this form that cost as much as `count` of the usual one."""
        usual = FORMS[0]
        cells = self.latent_frames * self.height * self.width
        return max(2, count * usual.latent_frames * usual.height * usual.width // cells)


FORMS = (
    Form(5, 128, 128, 0.85),  # 17 frames, two seconds and a bit
    Form(5, 96, 256, 0.05),
    Form(5, 192, 192, 0.05),
    Form(13, 128, 128, 0.05),
)


class Window(NamedTuple):
    """latents (c, t, h, w); mask (t, h, w), where objects are; middle: begins inside a clip;
    cut: latent frame where the second shot begins, or t."""

    latents: Tensor
    mask: Tensor
    middle: bool
    scene: Scene
    cut: int


class Batch(NamedTuple):
    """latents (b, c, t, h, w); known (b, t); weight (b, 1, t, h, w), of the loss; prompts, each of
    one shot or of two; cut: the latent frame where second shots begin."""

    latents: Tensor
    known: Tensor
    weight: Tensor
    prompts: list[list[str]]
    cut: int


class Pool:
    """Windows of one form; the oldest give way to new ones.

    Args:
        form: of the windows; cuts and beginnings inside a clip are for the usual one.
        encode: pixels (b, 3, f, h, w) in [-1, 1] -> latents.
        size: windows held.
        rng: decides on everything.
    """

    def __init__(self, form: Form, encode, size: int, rng: Random):
        self.form, self.encode, self.size, self.rng = form, encode, size, rng
        self.windows: list[Window] = []
        self.at = 0

    def add(self, count: int, progress: float) -> None:
        """Render `count` new windows, one in six from the middle of a longer clip."""
        mix, usual = world_at(progress), self.form is FORMS[0]
        middle = usual and self.rng.random() < 1 / 6
        scenes = [sample_scene(self.rng, mix) for _ in range(count)]
        if middle or not usual:  # windows after a cut show the second shot only, so no cuts here
            scenes = [Scene(scene.shots[-1:]) for scene in scenes]
        lead = LEAD if middle else 0
        start = [self.rng.randrange(1, 25) if middle else 0 for _ in scenes]
        generator = torch.Generator().manual_seed(self.rng.randrange(2**31))
        size = {"height": self.form.height, "width": self.form.width}
        frames = 4 * (self.form.latent_frames + lead) - 3
        clips = render(scenes, frames, generator, start=start, compiled=True, **size)
        latents = self.encode(clips.pixels)[:, :, lead:].bfloat16()
        masks = at_latent_frames(clips.masks, latents.shape[3:])[:, lead:].bfloat16()
        cuts = ((clips.cuts - 1) // 4 + 1).clamp(max=self.form.latent_frames).tolist()
        for new in map(Window, latents, masks, [middle] * count, scenes, cuts):
            if len(self.windows) < self.size:
                self.windows.append(new)
            else:
                self.windows[self.at] = new
                self.at = (self.at + 1) % self.size

    def batch(self, count: int, progress: float) -> Batch:
        """A random batch with fresh captions and fresh choices of what is known. All its cuts are
        in one place, for a batch listens frame by frame."""
        end = self.form.latent_frames
        cut = self.rng.randrange(2, end) if self.form is FORMS[0] else end
        among = [window for window in self.windows if window.cut in (cut, end)]
        picked = [self.rng.choice(among) for _ in range(count)]
        mix = world_at(progress)
        prompts = [caption(window.scene, self.rng, mix) for window in picked]
        free = [self.rng.random() < 0.12 for _ in prompts]  # for classifier-free guidance
        # Objects are a tenth of the picture and nearly all of what prompts are about.
        return Batch(
            latents=torch.stack([window.latents for window in picked]),
            known=torch.stack([self._known(window.middle) for window in picked]),
            weight=1 + 3 * torch.stack([window.mask for window in picked]).float().unsqueeze(1),
            prompts=[[""] if f else shots_of(p) for f, p in zip(free, prompts, strict=True)],
            cut=cut,
        )

    def _known(self, middle: bool) -> Tensor:
        """(t,) which latent frames are given: none, first, some at either end, or any."""
        length = self.form.latent_frames
        known = torch.zeros(length, dtype=torch.bool)
        if middle:
            known[: self.rng.choice((1, 1, 2, 2, 3))] = True
        kind = self.rng.random()
        if not middle and kind < 0.8:
            return known
        if kind < 0.87:
            known[: self.rng.choice((1, 1, 1, 2))] = True
        elif kind < 0.92:
            known[-self.rng.choice((1, 2)) :] = True
        elif kind < 0.97:
            known[0] = known[-1] = True
        else:
            known |= torch.tensor([self.rng.random() < 0.4 for _ in range(length)])
        known[self.rng.randrange(length) if known.all() else 0] &= not known.all()
        return known


def world_at(progress: float) -> Mix:
    """An easy world first, the whole one for the last quarter of the run."""
    if progress < 0.1:
        return EASY_WORLD
    if progress < 0.75:
        world = Mix(two=0.15, cut=0.25, camera=0.4, size=0.5, synonyms=0.8)
    else:
        world = Mix(cut=0.25, camera=0.4)
    return replace(world, motions=OFTEN, post=0.08)


def at_latent_frames(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """masks: (b, frames, h, w) -> (b, t, *size): how much of a cell an object covers at most."""
    cells = adaptive_avg_pool2d(masks, size)
    rest = max_pool2d(cells[:, 1:].flatten(2).transpose(1, 2), (1, 4)).transpose(1, 2)
    return torch.cat((cells[:, :1], rest.unflatten(2, size)), dim=1)
