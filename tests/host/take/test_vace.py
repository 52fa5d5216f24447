"""Takes on VACE checkpoints: each window is shown its own part, and all references."""

import importlib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.storyboard import Shot
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError
from longtake.models.wan.vae import WanVAE
from tests.host.conftest import VAE, random_weights
from tests.host.networks.test_against_core import SMALL, pair
from tests.host.runs import prompt, seen

VACE = replace(SMALL, depth=2, vace_blocks=1)
SIZE, FPS = (32, 48), Fraction(8)


def pictures(seed: int, frames: int = 1):
    return torch.rand(frames, *SIZE, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def both(pack):
    return pair(pack, VACE)


@pytest.fixture
def vae(pack):
    config = replace(VAE, latent_channels=16)
    return pack.vae.build_vae(config, random_weights(WanVAE(config), 2), torch.float32, "vae")


@pytest.fixture
def guided(pack, vae):
    """A canvas of 17 frames with a first image, a control clip and a reference."""
    onto = importlib.import_module("longtake.host.video.onto_canvas")
    canvas = Canvas.blank(pack.codec.codec_for(vae), 17, *SIZE, FPS)
    canvas = canvas.pin_image(pictures(1), 0.0, "crop")
    canvas = onto.control_clip(canvas, pictures(2, 17), 1.0, 0.0, 0.0, "crop", 8)
    return onto.reference_images(canvas, pictures(3), 1.0)


@pytest.fixture
def sampler(pack, both, vae, tmp_path):
    """A function: MODEL, canvas, starts of shots -> the sampler of a take in windows of 9."""
    long_take, boards, recipes = (
        importlib.import_module(f"longtake.host.take.{name}")
        for name in ("long_take", "storyboards", "recipe")
    )

    def made(model, canvas, *starts: float):
        starts = starts or (0.0,)
        shots = tuple(Shot(Fraction(s), "a shot", where=f"shot {s}") for s in starts)
        texts = tuple(prompt(both[1], seed) for seed in range(1, 1 + len(shots)))
        board = boards.Board(shots, texts, texts[0], Fraction(17, 8), FPS)
        size = recipes.TakeSize(board.seconds, board.fps, SIZE[1], SIZE[0])
        sampling = pack.sample.Sampling(sigmas(2, 5.0), 11, 2.0, "euler")
        recipe = recipes.recipe_for(
            model, vae, board, prompt(both[1], 9), size, recipes.WindowsAsked(9, 1), sampling,
            canvas=pack.latent.to_latent(canvas),
        )  # fmt: skip
        return long_take.TakeSampler(recipe, WindowStore(tmp_path))

    return made


def test_ours_is_core_s_and_what_is_known_stays(both, guided, sampler):
    core, ours = (torch.cat(list(sampler(m, guided).windows(0)), dim=2) for m in both)
    assert ours.shape == guided.video.latents.shape
    assert (core - ours).norm() / core.norm() < 1e-5
    assert torch.equal(ours[:, :, :1], guided.video.latents[:, :, :1])


def test_windows_are_sampled_again_where_what_they_follow_changes(both, guided, sampler):
    first = sampler(both[1], guided)
    list(first.windows(0))
    assert first.missing == 0
    late = dict(guided.guidance.control)
    late[16] = pictures(9)[0]
    assert sampler(both[1], changed(guided, control=late)).missing == 1
    assert sampler(both[1], changed(guided, references=())).missing == 2


def changed(canvas: Canvas, **more) -> Canvas:
    return replace(canvas, guidance=replace(canvas.guidance, **more))


def test_each_window_is_shown_its_own_part(both, guided, sampler):
    def record(x, *_, vace_context=None, **__):
        return x.shape[2], vace_context[0, 0, 32:].mean((0, 2, 3)).tolist()

    with seen(both[1], record) as calls:
        list(sampler(both[1], guided).windows(0))
    shown = [masks for _, masks in calls[::2]]
    assert {frames for frames, _ in calls} == {1 + 3}
    assert shown[0] == [0.0, 1.0, 1.0, 1.0]  # the reference; one pinned frame is none of a latent
    assert shown[-1][:2] == [0.0, 0.0]  # the frame that it goes on from


@pytest.fixture
def region(vae):
    """A canvas of 17 frames of which one part is sampled anew; a function of that part."""
    regions = importlib.import_module("longtake.host.video.regions")

    def made(right: int) -> Canvas:
        mask = torch.zeros(SIZE)
        mask[4:13, 10:right] = 1
        return regions.with_region(regions.clip_of(pictures(5, 17), vae, 8.0), vae, mask)

    return made


def test_windows_of_a_region_are_shown_its_pixels(both, region, sampler):
    """And what the window before made, as latents; ours as core's."""
    canvas = region(31)
    core, ours = (torch.cat(list(sampler(m, canvas).windows(0)), dim=2) for m in both)
    assert (core - ours).norm() / core.norm() < 1e-5
    kept = (canvas.video.mask == 0).expand_as(ours)
    assert torch.equal(ours[kept], canvas.video.latents[kept])

    def record(x, *_, vace_context=None, **__):
        return vace_context[0, 0, 32:].mean((1, 2, 3)).shape, float(vace_context[0, 0, 32:].sum())

    with seen(both[1], record) as calls:
        list(sampler(both[1], region(30)).windows(0))
    made = [pixels for _, pixels in calls[::2]]
    assert made[0] == 3 * 9 * 20  # three latent frames of the mask's own pixels
    assert made[-1] == 2 * 9 * 20  # the first of the second window is there already


def test_a_region_s_pixels_decide_what_is_sampled_again(both, region, sampler):
    list(sampler(both[1], region(31)).windows(0))
    assert sampler(both[1], region(31)).missing == 0
    assert torch.equal(region(31).video.mask, region(30).video.mask)  # by cells they are alike
    assert sampler(both[1], region(30)).missing == 2


def test_other_models_refuse_it_before_anything_is_sampled(pack, guided, sampler):
    with pytest.raises(InputError, match=r"holds references and a control clip, which only VACE"):
        sampler(pair(pack, SMALL)[1], guided)
