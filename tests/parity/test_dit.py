"""Our transformer against diffusers' WanTransformer3DModel and ComfyUI's WanModel."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from longtake.models.attention import exact
from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.models.reference import (
    core_dit,
    diffusers_dit,
    diffusers_skyreels,
    with_weights_of,
)
from tests.models.tiny import DIT, randomised

I2V = replace(DIT, in_channels=11, image_width=1280, text_length=512)  # 1280 and 512 are fixed
FLF2V = replace(I2V, image_positions=14)
RATES = replace(DIT, frame_rates=True, frame_levels=True, text_length=512)
FRAMES, ROWS, COLUMNS = 5, 6, 14  # 105 tokens of 5, 3 and 7
LEVELS = torch.tensor([0.0, 3.0, 257.0, 733.0, 999.0])


def inputs(config: DiTConfig, rng, rows=ROWS, columns=COLUMNS) -> tuple[Tensor, Tensor]:
    """Noisy latents of two videos, and a full-length text for each."""
    x = torch.randn(2, config.in_channels, FRAMES, rows, columns, generator=rng)
    context = torch.randn(2, config.text_length, config.text_width, generator=rng)
    return x, context


@pytest.fixture
def ours(rng, request) -> WanDiT:
    config = request.param if hasattr(request, "param") else DIT
    return randomised(WanDiT(config), rng)


TIMES = [torch.tensor([17.0, 911.5]), torch.tensor([1000.0, 0.0])]


@pytest.mark.parametrize("timestep", TIMES, ids=["inner", "ends"])
def test_text_to_video_is_diffusers(ours, rng, same, timestep):
    x, context = inputs(DIT, rng)
    theirs = with_weights_of(ours, diffusers_dit(DIT))
    expected = theirs(x, timestep, context).sample
    same(ours(x, timestep, ours.read_text(context)), expected)
    same(ours(x, timestep, ours.read_text(context), attention=exact), expected, "exact attention")


@pytest.mark.parametrize("timestep", TIMES, ids=["inner", "ends"])
def test_text_to_video_is_core(ours, rng, same, comfyui, timestep):
    x, context = inputs(DIT, rng)
    theirs = with_weights_of(ours, core_dit(DIT))
    same(ours(x, timestep, ours.read_text(context)), theirs(x, timestep, context))


def test_short_texts_are_filled_up_as_the_pipelines_do(ours, rng, same):
    x, context = inputs(DIT, rng)
    context[:, 4:] = 0
    theirs = with_weights_of(ours, diffusers_dit(DIT))
    expected = theirs(x, TIMES[0], context).sample
    same(ours(x, TIMES[0], ours.read_text(context[:, :4])), expected)


@pytest.mark.parametrize("rows", [5, 6])
@pytest.mark.parametrize("columns", [13, 14])
def test_odd_sizes_are_core(ours, rng, same, comfyui, rows, columns):
    x, context = inputs(DIT, rng, rows, columns)
    theirs = with_weights_of(ours, core_dit(DIT))
    same(ours(x, TIMES[0], ours.read_text(context)), theirs(x, TIMES[0], context))


def test_a_level_per_frame_is_diffusers_level_per_token(ours, rng, same):
    """As Wan 2.2 TI2V is run: every token gets the timestep of its frame."""
    x, context = inputs(DIT, rng)
    levels = torch.stack((LEVELS, LEVELS.flip(0)))
    by_token = levels.repeat_interleave(ROWS * COLUMNS // 4, dim=1)
    theirs = with_weights_of(ours, diffusers_dit(DIT))
    same(ours(x, levels, ours.read_text(context)), theirs(x, by_token, context).sample)


def test_a_level_per_token_is_diffusers(ours, rng, same):
    """As its pipeline for TI2V-5B runs it with `expand_timesteps`: 0 for tokens that are known."""
    x, context = inputs(DIT, rng)
    frames = x.shape[2]
    known = torch.rand(2, frames, ROWS // 2, COLUMNS // 2, generator=rng) < 0.5
    levels = torch.where(known, 0.0, torch.tensor([731.0, 244.0]).view(2, 1, 1, 1))
    theirs = with_weights_of(ours, diffusers_dit(DIT))
    expected = theirs(x, levels.flatten(1), context).sample
    same(ours(x, levels, ours.read_text(context)), expected)


def test_a_level_per_frame_is_core(ours, rng, same, comfyui):
    x, context = inputs(DIT, rng)
    levels = torch.stack((LEVELS, LEVELS.flip(0)))
    theirs = with_weights_of(ours, core_dit(DIT))
    same(ours(x, levels, ours.read_text(context)), theirs(x, levels, context))


@pytest.mark.parametrize("ours", [I2V], indirect=True, ids=["clip"])
def test_image_tokens_are_diffusers(ours, rng, same):
    x, context = inputs(I2V, rng)
    image = torch.randn(2, 13, 1280, generator=rng)
    theirs = with_weights_of(ours, diffusers_dit(I2V))
    expected = theirs(x, TIMES[0], context, image).sample
    same(ours(x, TIMES[0], ours.read_text(context, image)), expected)


@pytest.mark.parametrize("ours", [I2V], indirect=True, ids=["clip"])
def test_image_tokens_are_core(ours, rng, same, comfyui):
    x, context = inputs(I2V, rng)
    image = torch.randn(2, 13, 1280, generator=rng)
    theirs = with_weights_of(ours, core_dit(I2V))
    expected = theirs(x, TIMES[0], context, clip_fea=image)
    same(ours(x, TIMES[0], ours.read_text(context, image)), expected)


@pytest.mark.parametrize("ours", [FLF2V], indirect=True, ids=["two images"])
def test_two_images_are_diffusers_and_core(ours, rng, same, comfyui):
    x, context = inputs(FLF2V, rng)
    image = torch.randn(2, 14, 1280, generator=rng)
    ours_out = ours(x, TIMES[0], ours.read_text(context, image))
    theirs = with_weights_of(ours, diffusers_dit(FLF2V))
    pairs = image.reshape(4, 7, 1280)  # diffusers counts the two images as a batch
    same(ours_out, theirs(x, TIMES[0], context, pairs).sample, "diffusers")
    theirs = with_weights_of(ours, core_dit(FLF2V))
    same(ours_out, theirs(x, TIMES[0], context, clip_fea=image), "core")


def test_stretched_positions_are_cores(ours, rng, same, comfyui):
    x, context = inputs(DIT, rng)
    theirs = with_weights_of(ours, core_dit(DIT))
    options = {"scale_t": 0.5, "shift_t": 3.0, "scale_y": 1.75, "scale_x": 1.25, "shift_x": 2.0}
    expected = theirs(x, TIMES[0], context, transformer_options={"rope_options": options})
    axes = ((3.0, 0.5), (0.0, 1.75), (2.0, 1.25))
    same(ours(x, TIMES[0], ours.read_text(context), axes=axes), expected)


@pytest.mark.parametrize("ours", [replace(DIT, width=256, heads=2)], indirect=True, ids=["128"])
def test_heads_of_the_published_size(ours, rng, same, comfyui):
    x, context = inputs(DIT, rng)
    ours_out = ours(x, TIMES[0], ours.read_text(context))
    theirs = with_weights_of(ours, diffusers_dit(ours.config))
    same(ours_out, theirs(x, TIMES[0], context).sample, "diffusers")
    theirs = with_weights_of(ours, core_dit(ours.config))
    same(ours_out, theirs(x, TIMES[0], context), "core")


@pytest.mark.parametrize("ours", [RATES], indirect=True, ids=["rates"])
@pytest.mark.parametrize(("fps", "entry"), [(16, 0), (24, 1)])
def test_skyreels_is_told_its_frame_rate(ours, rng, same, fps, entry):
    """Its own classes take the entry of a table of two, and levels per frame of one video only."""
    x, context = inputs(RATES, rng)
    text = ours.read_text(context)
    theirs = with_weights_of(ours, diffusers_skyreels(RATES))
    rates = torch.full((2,), entry)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)
        whole = theirs(x, TIMES[0], context, fps=rates).sample
        frames = theirs(x[:1], LEVELS[None], context[:1], None, True, rates[:1]).sample
    same(ours(x, TIMES[0], text, fps=fps), whole, "one level")
    same(ours(x[:1], LEVELS[None], ours.read_text(context[:1]), fps=fps), frames, "per frame")
