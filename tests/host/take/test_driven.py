"""Takes of a performance: each window is shown its own part of the clip, and reads no other."""

import importlib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.driving import Driving, FollowedClip
from longtake.engine.canvas.guidance import Guidance
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.storyboard import Shot
from longtake.engine.take.window_store import WindowStore
from tests.host.runs import seen
from tests.host_models import wan_animate

FRAMES, SIZE, FPS = 33, (32, 48), Fraction(16)


def pictures(seed: int, frames: int):
    return torch.rand(frames, *SIZE, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tiny(comfyui):
    return wan_animate()


@pytest.fixture
def sampler(pack, tiny, tmp_path):
    """A function: a clip, its stamp, starts of shots -> the sampler of a take, and what it reads.

    Windows of 17 frames that go on from 5.
    """
    boards, recipes, samplers = (
        importlib.import_module(f"longtake.host.take.{name}")
        for name in ("storyboards", "recipe", "sampler")
    )

    def made(images, stamp, *starts: float):
        read: list[range] = []

        def part(numbers):
            read.append(range(numbers[0], numbers[-1] + 1))
            return images[list(numbers)]

        codec = pack.codec.codec_for(tiny.vae)
        blank = Canvas.blank(codec, FRAMES, *SIZE, FPS)
        driving = Driving(FollowedClip(len(images), part, stamp), pictures(9, 1)[0])
        canvas = replace(blank, guidance=Guidance(codec, driving=driving))
        shots = tuple(Shot(Fraction(s), "a shot", where=f"shot {s}") for s in (0.0, *starts))
        texts = (tiny.positive,) * len(shots)
        board = boards.Board(shots, texts, texts[0], Fraction(FRAMES, 16), FPS)
        size = recipes.TakeSize(board.seconds, board.fps, SIZE[1], SIZE[0])
        sampling = pack.sample.Sampling(sigmas(1, 5.0), 11, 1.0, "euler")
        recipe = recipes.recipe_for(
            tiny.model, tiny.vae, board, tiny.negative, size, recipes.WindowsAsked(17, 5),
            sampling, canvas=pack.latent.to_latent(canvas),
        )  # fmt: skip
        return samplers.TakeSampler(recipe, WindowStore(tmp_path)), read

    return made


def test_each_window_reads_and_is_shown_its_own_part(tiny, sampler):
    take, read = sampler(pictures(1, FRAMES), "one")
    with seen(tiny.model, lambda x, *_, pose_latents=None, **__: pose_latents) as poses:
        out = torch.cat(list(take.windows(0)), dim=2)
    assert out.shape[2] == 9
    windows = take.recipe.take.clips[0].windows
    first = [window.frames[0] for window in windows]
    assert read == [range(max(0, 4 * k), 4 * k + 17) for k in first]
    assert {x.shape[2] for x in poses} == {5}


def test_it_is_sampled_again_where_the_clip_is_another(sampler):
    first, _ = sampler(pictures(1, FRAMES), "one")
    list(first.windows(0))
    again, read = sampler(pictures(1, FRAMES), "one")
    assert again.missing == 0
    assert not read  # nothing is decoded to find that out
    assert sampler(pictures(2, FRAMES), "two")[0].missing == len(again.recipe.take.clips[0].windows)


def test_after_a_cut_the_clip_goes_on_where_it_was(sampler):
    take, read = sampler(pictures(1, FRAMES), "one", 1.0)
    for number in range(2):
        list(take.windows(number))
    assert [clip.start for clip in take.recipe.take.clips] == [0, 16]
    assert 16 in [part.start for part in read]


def test_a_window_goes_on_from_as_many_frames_as_the_checkpoint_was_made_for(pack, tiny):
    recipes = importlib.import_module("longtake.host.take.recipe")
    codec = pack.codec.codec_for(tiny.vae)
    windowing = recipes.windowing_for(tiny.model, codec, recipes.WindowsAsked())
    assert (windowing.length, windowing.overlap) == (20, 2)
