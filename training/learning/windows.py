"""A pool of encoded windows, refreshed all the time: rendering costs more than a training step.

Window n depends only on the pool's seed and n, and the pool holds the latest ones: a run that
resumes renders them again and is exactly where it was.

Axes:  b window   c latent channel   t latent frame   h w latent row, column
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from longtake.engine.take.cut_prompts import shots_of

from ..world.captions import EASY_WORLD, MOTIONS, Mix, Scene, caption, sample_scene
from ..world.render import render

TOKEN = 32  # pixels along a side of one
LEAD = 2  # latent frames rendered ahead of a window from the middle, for the VAE's memory
# Left and right are learned last of all: the words also describe the camera, and both are in "from
# right to left".
OFTEN = (*MOTIONS, "left", "right")


class Form(NamedTuple):
    """A size of windows: latent frames, pixels, and the share of steps that use it."""

    latent_frames: int
    height: int
    width: int
    share: float

    def fewer(self, count: int) -> int:
        """How many windows of this form cost as much as `count` of the usual one."""
        usual = FORMS[0]
        cells = self.latent_frames * self.height * self.width
        return max(2, count * usual.latent_frames * usual.height * usual.width // cells)


FORMS = (
    Form(5, 128, 128, 0.85),  # 17 frames, two seconds and a bit
    Form(5, 96, 256, 0.05),
    Form(5, 192, 192, 0.05),
    Form(13, 128, 128, 0.05),
)


class EncodedWindow(NamedTuple):
    """A piece of a clip, as the transformer sees it.

    Attributes:
        latents: (c, t, h, w). mask: (t, h, w) in [0, 1], where objects are.
        middle: whether it begins inside a clip. scene: what happens in it.
        cut: the latent frame where the second shot begins, or t.
    """

    latents: Tensor
    mask: Tensor
    middle: bool
    scene: Scene
    cut: int


class Batch(NamedTuple):
    """Windows for one step.

    Attributes:
        latents: (b, c, t, h, w). known: (b, t) bool, which latent frames are given.
        weight: (b, 1, t, h, w), of the loss.
        prompts: b of them, each the texts of one shot or of two.
        cut: the latent frame where second shots begin, or t.
    """

    latents: Tensor
    known: Tensor
    weight: Tensor
    prompts: list[list[str]]
    cut: int


class WindowPool:
    """Windows of one form; new ones replace the oldest.

    Args:
        form: of the windows; only the usual one has cuts, and windows from inside a clip.
        encode: pixels (b, 3, f, h, w) in [-1, 1] -> latents.
        size: windows held.
        seed: pools with different seeds share no window.
        world: what may happen in window n.
        compiled: render with torch.compile, worth it for a hundred windows and more.
        regions: share of windows in which only a part of the picture is unknown.
    """

    def __init__(
        self,
        form: Form,
        encode: Callable[[Tensor], Tensor],
        size: int,
        seed: str,
        world: Callable[[int], Mix],
        *,
        compiled: bool = False,
        regions: float = 0.0,
    ):
        self.regions = regions
        self.form, self.encode, self.size, self.seed = form, encode, size, seed
        self.world, self.compiled = world, compiled
        self.windows: deque[EncodedWindow] = deque(maxlen=size)  # the oldest first
        self.made = 0

    def advance(self, count: int) -> None:
        """Hold the last `size` of the first `count` windows."""
        for n in range(max(self.made, count - self.size), count):
            self.windows.append(self._render(n))
        self.made = max(self.made, count)

    def _render(self, n: int) -> EncodedWindow:
        """Window n. One in six is from the middle of a longer clip."""
        rng, usual = Random(f"{self.seed} window {n}"), self.form is FORMS[0]
        middle = usual and rng.random() < 1 / 6
        scene = sample_scene(rng, self.world(n))
        if middle or not usual:  # a window after a cut shows the second shot only, so no cuts here
            scene = Scene(scene.shots[-1:])
        lead = LEAD if middle else 0
        start = rng.randrange(1, 25) if middle else 0
        clip = render(
            [scene],
            4 * (self.form.latent_frames + lead) - 3,
            torch.Generator().manual_seed(rng.randrange(2**31)),
            height=self.form.height,
            width=self.form.width,
            start=start,
            compiled=self.compiled,
        )
        latents = self.encode(clip.pixels)[:, :, lead:].bfloat16()
        masks = at_latent_frames(clip.masks, latents.shape[3:])[:, lead:].bfloat16()
        cut = min((int(clip.cuts[0]) - 1) // 4 + 1, self.form.latent_frames)
        return EncodedWindow(latents[0], masks[0], middle, scene, cut)

    def batch(self, rng: Random, count: int, mix: Mix) -> Batch:
        """A random batch with new captions and new choices of what is known.

        All its cuts are in one place, because a batch reads its prompts frame by frame.
        """
        end = self.form.latent_frames
        cut = rng.randrange(2, end) if self.form is FORMS[0] else end
        among = [window for window in self.windows if window.cut in (cut, end)]
        picked = [rng.choice(among) for _ in range(count)]
        prompts = [caption(window.scene, rng, mix) for window in picked]
        free = [rng.random() < 0.12 for _ in prompts]  # for classifier-free guidance
        known = torch.stack([draw_known(rng, end, window.middle) for window in picked])
        if self.regions:
            tokens = tuple(side // TOKEN for side in (self.form.height, self.form.width))
            known = torch.stack([with_regions(rng, k, tokens, self.regions) for k in known])
        # Objects are a tenth of the picture and nearly all of what prompts are about.
        return Batch(
            latents=torch.stack([window.latents for window in picked]),
            known=known,
            weight=1 + 3 * torch.stack([window.mask for window in picked]).float().unsqueeze(1),
            prompts=[[""] if f else shots_of(p) for f, p in zip(free, prompts, strict=True)],
            cut=cut,
        )


def draw_known(rng: Random, length: int, middle: bool) -> Tensor:
    """(length,) which latent frames are given: none, some at either end, or any; never all.

    Of a window from the middle of a clip, the first ones always are.
    """
    known = torch.zeros(length, dtype=torch.bool)
    if middle:
        known[: rng.choice((1, 1, 2, 2, 3))] = True
    kind = rng.random()
    if not middle and kind < 0.8:
        return known
    if kind < 0.87:
        known[: rng.choice((1, 1, 1, 2))] = True
    elif kind < 0.92:
        known[-rng.choice((1, 2)) :] = True
    elif kind < 0.97:
        known[0] = known[-1] = True
    else:
        known |= torch.tensor([rng.random() < 0.4 for _ in range(length)])
    if known.all():
        known[rng.randrange(length)] = False
    return known


def with_regions(rng: Random, known: Tensor, tokens: tuple[int, int], share: float) -> Tensor:
    """known: (t,) -> (t, y, x): in a share of windows only a box, or all around one, is unknown."""
    y, x = tokens
    known = known[:, None, None].expand(-1, y, x).clone()
    if rng.random() >= share:
        return known
    high, wide = rng.randint(1, max(1, y - 1)), rng.randint(1, max(1, x - 1))
    if rng.random() < 0.3:  # a strip along one side, as where a picture is expanded
        high, wide = rng.choice(((y, rng.randint(1, x - 1)), (rng.randint(1, y - 1), x)))
    top, left = rng.choice((0, y - high, rng.randint(0, y - high))), rng.randint(0, x - wide)
    box = torch.zeros(y, x, dtype=torch.bool)
    box[top : top + high, left : left + wide] = True
    return known | (box if rng.random() < 0.25 and not box.all() else ~box)


def world_at(progress: float) -> Mix:
    """An easy world first, and the whole one in the last quarter of a run."""
    if progress < 0.1:
        return EASY_WORLD
    if progress < 0.75:
        world = Mix(two=0.15, cut=0.25, camera=0.4, size=0.5, synonyms=0.8)
    else:
        world = Mix(cut=0.25, camera=0.4)
    return replace(world, motions=OFTEN, post=0.08)


# What weights that have learned the whole world still lack: camera moves, two things that do
# different things, and more of people's words.
FURTHER = Mix(two=0.4, cut=0.2, camera=0.55, motions=OFTEN, post=0.08, crossing=0.35, wide=0.2)


def at_latent_frames(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """masks: (b, frames, h, w) -> (b, t, *size): the largest part of a cell that is covered."""
    cells = adaptive_avg_pool2d(masks, size)
    rest = max_pool2d(cells[:, 1:].flatten(2).transpose(1, 2), (1, 4)).transpose(1, 2)
    return torch.cat((cells[:, :1], rest.unflatten(2, size)), dim=1)
