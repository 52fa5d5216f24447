"""Situations for which the little world knows what comes next: the questions of `continuity`.

A trial is a rendered clip of which the network is given some latent frames. Where things are is
computed before anything is rendered, so finding trials of a kind costs next to nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from ..world.captions import (
    MOTIONS,
    Mix,
    Scene,
    Thing,
    caption,
    held_out_scenes,
    sample_scene,
)
from ..world.render import arrange, pose, render
from ..world.sheet import to_frames

FPS = 8
LEAD = 2  # latent frames before a window from the middle of a clip, for the VAE's memory
GIVEN = 2  # latent frames of the past that a window is given
STAYING = ("left", "right", "rises", "falls", "bounces", "spins")  # motions with a next frame


@dataclass(frozen=True)
class Paths:
    """Where up to two objects are in every frame, far ones first.

    Attributes:
        x, y, radius: (frames, 2), in picture heights, zero in the middle.
        base: (frames, 2), the height at which the shadow lies. present: (frames, 2), 0 or 1.
    """

    x: Tensor
    y: Tensor
    radius: Tensor
    base: Tensor
    present: Tensor

    def inside(self, margin: float = 0.0) -> Tensor:
        """(frames, 2): wholly in the picture, or nearly with a negative margin."""
        reach = torch.maximum(self.x.abs(), self.y.abs()) + self.radius
        return (reach < 0.5 - margin) & (self.present > 0)

    def outside(self) -> Tensor:
        """(frames, 2): nothing of it in the picture."""
        return torch.maximum(self.x.abs(), self.y.abs()) - self.radius > 0.5

    def gap(self) -> Tensor:
        """(frames,) distance of the two, in units of the sum of their radii."""
        apart = (self.x[:, 0] - self.x[:, 1]).hypot(self.y[:, 0] - self.y[:, 1])
        return apart / self.radius.sum(1)


@dataclass(frozen=True)
class Trial:
    """A clip and what of it is given.

    Attributes:
        scene, prompt: what is asked for. pixels: (3, frames, h, w) in [-1, 1].
        known: (t,) bool, which latent frames are given. paths: of its objects.
        seed: of the noise. true: whether `pixels` show what the prompt says.
    """

    scene: Scene
    prompt: str
    pixels: Tensor
    known: Tensor
    paths: Paths
    seed: int
    true: bool = True

    @property
    def thing(self) -> Thing:
        return self.scene.shots[0].things[0]

    @property
    def frames(self) -> Tensor:
        """uint8 (frames, h, w, 3)."""
        return to_frames(self.pixels[None])[0]

    @property
    def first_new(self) -> int:
        """The first frame that is not given."""
        return pixel_frame(int((~self.known).nonzero()[0]))


def pixel_frame(latent_frame: int) -> int:
    """The first pixel frame of a latent frame."""
    return max(0, 4 * latent_frame - 3)


def paths_of(scene: Scene, seed: int, start: int, frames: int) -> Paths:
    """Where things are in frames start … start + frames - 1 of what `render` draws."""
    layout = arrange([scene], torch.Generator().manual_seed(seed), 1.0)
    seconds = (start + torch.arange(frames)) / FPS
    _, bodies = pose(layout, torch.zeros(frames, dtype=torch.long), seconds, 1.0)
    names = ("x", "y", "radius", "base", "present")
    return Paths(*(torch.stack([getattr(b, name) for b in bodies], 1) for name in names))


def first_frames(t: int, count: int) -> Tensor:
    """(t,) bool: the first `count` latent frames known."""
    return torch.arange(t) < count


def make(
    scenes: Iterator[Scene], count: int, known: Tensor, fits: Callable[[Paths], bool], seed: int
) -> list[Trial]:
    """`count` trials whose paths fit, looked for among seeds and starting times."""
    rng, trials = Random(seed), []
    frames = 4 * len(known) - 3
    while len(trials) < count:
        scene = next(scenes)
        for _ in range(40):
            layout_seed = rng.randrange(2**31)
            start = rng.randrange(0, 48) if int(known.sum()) > 1 else 0
            paths = paths_of(scene, layout_seed, start, frames)
            if fits(paths):
                generator = torch.Generator().manual_seed(layout_seed)
                pixels = render([scene], frames, generator, start=start).pixels[0]
                prompt = caption(scene, rng)
                trials.append(Trial(scene, prompt, pixels, known, paths, layout_seed))
                break
    return trials


def one_object(seed: int, motions: tuple[str, ...] = MOTIONS) -> Iterator[Scene]:
    """Held-out scenes of one object under a camera at rest; motions take turns."""
    mix = Mix(two=0, cut=0, camera=0, motions=motions)
    yield from held_out_scenes(1000, seed, mix)


def panned(seed: int) -> Iterator[Scene]:
    """One object at rest, the camera panning left and right by turns."""
    rng = Random(seed)
    while True:
        for camera in ("pan left", "pan right"):
            mix = Mix(two=0, cut=0, camera=0, size=0, motions=("still",))
            shot = sample_scene(rng, mix).shots[0]
            yield Scene((replace(shot, camera=camera),))


def crossing(seed: int) -> Iterator[Scene]:
    """Two objects of different colours, one going left and one right."""
    rng = Random(seed)
    while True:
        shot = sample_scene(rng, Mix(two=1, cut=0, camera=0, size=0)).shots[0]
        ways = rng.sample(("left", "right"), 2)
        pairs = zip(shot.things, ways, strict=True)
        things = tuple(replace(thing, motion=motion) for thing, motion in pairs)
        yield Scene((replace(shot, things=things),))


def hidden(seed: int) -> Iterator[Scene]:
    """One object that passes behind a post."""
    rng = Random(seed)
    while True:
        yield sample_scene(rng, Mix(post=1))


def steered(count: int, seed: int) -> list[Trial]:
    """First images with an object in the middle, each with the prompt left and the prompt right."""
    pairs, rng = [], Random(seed)
    known = first_frames(5, 1)
    sideways = one_object(seed, ("left", "right"))
    for trial in make(sideways, (count + 1) // 2, known, centred, seed):
        thing, shot = trial.thing, trial.scene.shots[0]
        other = replace(thing, motion="left" if thing.motion == "right" else "right")
        scene = Scene((replace(shot, things=(other,)),))
        pairs += [trial, replace(trial, scene=scene, prompt=caption(scene, rng), true=False)]
    return pairs[:count]


def anywhere(paths: Paths) -> bool:
    return True


def stays_all(paths: Paths) -> bool:
    """The first object is in the picture all the time."""
    return bool(paths.inside(-0.02)[:, 0].all())


def stays(paths: Paths) -> bool:
    """The first object is in the picture from the known frames to the end."""
    return bool(paths.inside(-0.02)[pixel_frame(LEAD) :, 0].all())


def starts_inside(paths: Paths) -> bool:
    return bool(paths.inside()[:13, 0].all())


def centred(paths: Paths) -> bool:
    """With room on both sides."""
    return bool(paths.inside()[0, 0]) and abs(float(paths.x[0, 0])) < 0.12


def returns(paths: Paths) -> bool:
    """Seen in the known frames, gone for at least four, and back for at least four."""
    new = pixel_frame(LEAD + GIVEN)
    gone = paths.outside()[:, 0]
    if not paths.inside()[pixel_frame(LEAD) : new - 3, 0].all() or gone[:new].any():
        return False
    if int(gone.sum()) < 4:
        return False
    last = int(gone.nonzero()[-1])
    return int(paths.inside()[last:, 0].sum()) >= 4


def passes(paths: Paths) -> bool:
    """The near object covers at least the far one's middle, and both are apart before and after."""
    new, gap = pixel_frame(LEAD + GIVEN), paths.gap()
    apart = bool((gap[new - 6 : new] > 0.9).all()) and bool((gap[-4:] > 0.95).all())
    seen = paths.inside(-0.04)
    ends = seen[new - 6 : new].all() and seen[-4:].all()
    return apart and bool(ends) and float(gap[new:-4].min()) < 0.5
