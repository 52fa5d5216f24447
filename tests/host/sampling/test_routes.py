"""How known frames reach the network: each way against the formulas of Wan's own code."""

import importlib
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from einops import rearrange

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.known import ImageChannels
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.noise import WindowNoise, video_noise
from longtake.engine.canvas.plan import Window
from longtake.engine.sampling.schedule import sigmas
from tests.host.conftest import DIT, write_dit
from tests.host.runs import SHAPE, ksampler, latents, prompt, sample, seen
from tests.host_models import wan21

IMAGE = replace(DIT, frame_levels=False, in_channels=6 + 4 + 6)
PLAIN = replace(DIT, frame_levels=False)
LEVELS = sigmas(3, 3.0)
FRAMES = 9  # pixel frames of SHAPE's 3 latent ones


@pytest.fixture(scope="module")
def files(comfyui, tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("routes")
    image = write_dit(folder / "image.safetensors", IMAGE)
    return SimpleNamespace(image=image, plain=write_dit(folder / "plain.safetensors", PLAIN))


def built(pack, path, config):
    from longtake.models.checkpoint import load_weights

    weights = load_weights(path, dtype=torch.float32)
    form = pack.latent_format.format_for(config, built_in=True)
    return pack.transformer.build_model(config, weights, form, torch.float32, path.name)


@pytest.fixture
def image_model(pack, files):
    return built(pack, files.image, IMAGE)


@pytest.fixture
def plain_model(pack, files):
    return built(pack, files.plain, PLAIN)


def mask_for(*known: int) -> torch.Tensor:
    mask = torch.ones(1, 1, SHAPE[2], 1, 1)
    mask[:, :, list(known)] = 0
    return mask


def sampled(pack, model, latent):
    """What Sample makes, and what the network saw: (x, timestep) of each call."""
    with seen(model, lambda x, t, *_, **__: (x.clone(), t.clone())) as calls:
        out = sample(
            pack, model, prompt(model, 1), prompt(model, 2), latent, LEVELS, seed=11, cfg=3.0
        )
    return out["samples"], calls


def test_the_way_is_chosen_by_the_checkpoint(comfyui):
    from longtake.host.sampling.routes import Route, route_for
    from longtake.models.wan.config import DIT_PRESETS

    found = {name: route_for(config) for name, config in DIT_PRESETS.items()}
    for name, config in DIT_PRESETS.items():
        if config.frame_levels:
            assert found[name] is Route.FRAME_LEVELS
        elif "i2v" in name:
            assert found[name] is Route.IMAGE_CHANNELS
        elif "vace" in name:
            assert found[name] is Route.VACE
        else:
            assert found[name] is Route.REPLACEMENT
    assert set(found.values()) == set(Route) - {Route.GUIDES, Route.TOKEN_LEVELS}


def test_per_frame_levels_are_those_of_ti2v_5b(pack, model):
    """textimage2video.py: temp_ts = mask · t, and latents = (1 - mask) · z + mask · latents."""
    source, mask = latents(4), mask_for(0, 2)
    out, calls = sampled(pack, model, {"samples": source, "noise_mask": mask})
    for (x, t), sigma in zip(calls, LEVELS.tolist(), strict=False):
        expected = 1000 * sigma * mask.flatten()
        torch.testing.assert_close(t[0], expected, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(x[:1, :, [0, 2]], source[:, :, [0, 2]], rtol=0, atol=1e-5)
    assert torch.equal(out[:, :, [0, 2]], source[:, :, [0, 2]])


def test_replaced_frames_are_between_noise_and_value(pack, plain_model):
    """A T2V checkpoint sees known frames as noisy as the rest: (1 - σ) · z + σ · noise."""
    source = latents(4)
    out, calls = sampled(pack, plain_model, {"samples": source, "noise_mask": mask_for(1)})
    noise = video_noise(11, range(SHAPE[2]), (SHAPE[1], *SHAPE[3:]))
    for (x, t), sigma in zip(calls, LEVELS.tolist(), strict=False):
        line = (1 - sigma) * source + sigma * noise
        torch.testing.assert_close(x[:1, :, 1], line[:, :, 1], rtol=1e-4, atol=1e-4)
        assert t.shape == (2,)
    assert torch.equal(out[:, :, 1], source[:, :, 1])


def reference_mask(known: set[int], frames: int) -> torch.Tensor:
    """image2video.py and first_last_frame2video.py, line by line: 1 = known."""
    msk = torch.zeros(1, frames, 1, 1)
    for frame in known:
        msk[:, frame] = 1
    msk = torch.concat([torch.repeat_interleave(msk[:, 0:1], repeats=4, dim=1), msk[:, 1:]], dim=1)
    msk = msk.view(1, msk.shape[1] // 4, 4, 1, 1)
    return msk.transpose(1, 2)[0]


def pinned_canvas(pack, vae, pins: dict[int, torch.Tensor]):
    codec = pack.codec.codec_for(vae)
    canvas = Canvas.blank(codec, FRAMES, 32, 48, Fraction(8))
    for frame, image in pins.items():
        canvas = canvas.pin_image(image, frame / 8, "crop")
    return pack.latent.to_latent(canvas)


@pytest.mark.parametrize("frames", [(0,), (0, 8), (3,), (0, 5, 8)])
def test_image_channels_are_those_of_wan_i2v(pack, vae, image_model, frames):
    """y = cat[mask, VAE(cat[first, zeros])] after x, with the true mask of each pixel frame."""
    rng = torch.Generator().manual_seed(5)
    pins = {frame: torch.rand(1, 32, 48, 3, generator=rng) for frame in frames}
    latent = pinned_canvas(pack, vae, pins)

    _, calls = sampled(pack, image_model, latent)

    pixels = torch.zeros(1, 3, FRAMES, 32, 48)  # grey, in [-1, 1]
    for frame, image in pins.items():
        pixels[:, :, frame] = rearrange(image * 2 - 1, "1 h w c -> 1 c h w")
    y = image_model.model.process_latent_in(vae.first_stage_model.float().encode(pixels))
    mask = reference_mask(set(frames), FRAMES).expand(-1, -1, 4, 6)
    for x, _ in calls:
        channels = x[0, 6:]
        assert torch.equal(channels[:4], mask)
        torch.testing.assert_close(channels[4:], y[0], rtol=1e-3, atol=1e-3)


def test_a_frame_known_in_part_is_known_but_for_those_that_can_be_told(
    pack, vae, model, image_model
):
    latent = pinned_canvas(pack, vae, {0: torch.rand(1, 32, 48, 3), 6: torch.rand(1, 32, 48, 3)})
    held, _ = sampled(pack, model, latent)
    assert torch.equal(held[:, :, [0, 2]], latent["samples"][:, :, [0, 2]])
    told, _ = sampled(pack, image_model, latent)
    assert torch.equal(told[:, :, 0], latent["samples"][:, :, 0])
    assert (told[:, :, 2] - latent["samples"][:, :, 2]).abs().max() > 0.1


def test_latents_alone_reach_image_channels_through_cores_sampler(pack, image_model):
    source, mask = latents(4), mask_for(0, 1).expand(-1, -1, -1, 5, 7)
    with seen(image_model, lambda x, *_, **__: x.clone()) as calls:
        ksampler(image_model, latent_image={"samples": source, "noise_mask": mask})
    known = image_model.model.process_latent_in(source)
    for x in calls:
        assert x[:, 6:10, :2].min() == 1
        assert x[:, 6:10, 2:].max() == 0
        torch.testing.assert_close(x[:1, 10:, :2], known[:, :, :2], rtol=1e-4, atol=1e-5)
        assert x[:, 10:, 2:].abs().max() == 0  # grey is not known for this VAE


def test_grey_of_wan_21_is_told_by_place():
    from longtake.engine.canvas.known import GREY, concat_known

    mask = torch.ones(1, 1, 5, 2, 2)
    mask[:, :, 4] = 0
    out = concat_known(torch.full((1, 16, 5, 2, 2), 7.0), mask, extra=20)
    assert out.shape == (1, 20, 5, 2, 2)
    for t, row in enumerate((0, 1, 2, 2)):
        assert out[0, 4:, t, 1, 1].tolist() == pytest.approx(GREY[row])
    assert out[:, 4:, 4].eq(7).all()
    assert out[:, :4].amax(dim=(1, 3, 4)).tolist() == [[0, 0, 0, 0, 1]]


def test_what_another_node_made_stays(pack, image_model):
    """Core's WanImageToVideo puts its own image into the CONDITIONING."""
    channels = importlib.import_module("longtake.host.sampling.image_channels")
    theirs = torch.full(SHAPE, 3.0)
    mine = [[torch.zeros(1, 2, 3), {"concat_latent_image": theirs}], [torch.zeros(1, 2, 3), {}]]
    prompts = pack.conditioning.Prompts(mine, [])
    pinned = ImageChannels(torch.full(SHAPE, 5.0), torch.ones(1, 4, SHAPE[2], 1, 1))
    part, frames = MaskedLatents(torch.zeros(SHAPE)), range(SHAPE[2])
    out = channels.with_channels(image_model, prompts, pinned, part, frames).positive
    assert [entry[1]["concat_latent_image"].mean() for entry in out] == [3, 5]
    assert mine[1][1] == {}


@pytest.mark.parametrize("which", ["model", "image_model", "plain_model"])
def test_windows_hand_over_in_latents_on_every_route(pack, request, which):
    """Two windows by hand are what Sample does with two planned ones."""
    model = request.getfixturevalue(which)
    shape = (1, 6, 5, 5, 7)
    source = latents(9, shape)
    mask = torch.ones(1, 1, 5, 1, 1)
    mask[:, :, :1] = 0
    planned = {
        "samples": source,
        "noise_mask": mask,
        "longtake": {"plan": (Window((0, 1, 2)), Window((2, 3, 4), context=1))},
    }
    out, _ = sampled(pack, model, planned)

    first, _ = sampled(pack, model, {"samples": source[:, :, :3], "noise_mask": mask[:, :, :3]})
    rest = {
        "samples": torch.cat((first[:, :, 2:], source[:, :, 3:]), dim=2),
        "noise_mask": mask[:, :, :3],
    }
    second, _ = pack.sample.run(
        model,
        pack.conditioning.Prompts(prompt(model, 1), prompt(model, 2)),
        pack.latent.to_canvas(rest).video,
        WindowNoise([(11, k) for k in range(2, 5)], (6, 5, 7)),
        pack.sample.Sampling(LEVELS, 11, 3.0),
        pack.progress.Playback(3),
    )
    assert torch.equal(out, torch.cat((first, second[:, :, 1:]), dim=2))


def test_a_frame_of_the_context_is_sampled_again(pack, model):
    source, mask = latents(9, (1, 6, 5, 5, 7)), torch.ones(1, 1, 5, 1, 1)
    mask[:, :, 3:] = 0
    plan = (Window((2, 3, 4), context=1), Window((0, 1, 2, 3)))
    latent = {"samples": source, "noise_mask": mask, "longtake": {"plan": plan}}
    out, calls = sampled(pack, model, latent)
    times = [t[0] for _, t in calls]
    assert len(times) == 6
    assert (times[0] > 0).tolist() == [True, False, False]
    assert (times[3] > 0).tolist() == [True, True, True, False]
    assert torch.equal(out[:, :, 3:], source[:, :, 3:])


def test_a_canvas_that_another_node_has_cut_is_sampled_as_it_is(pack, vae, image_model):
    """LatentCut and the like carry our facts on, though they fit no longer."""
    latent = pinned_canvas(pack, vae, {8: torch.rand(1, 32, 48, 3)})
    latent["longtake"]["plan"] = (Window((0, 1, 2)),)
    cut = {name: latent[name][:, :, :2] for name in ("samples", "noise_mask")}
    out, _ = sampled(pack, image_model, {**cut, "longtake": latent["longtake"]})
    assert out.shape == (1, 6, 2, 4, 6)
    small = {**latent, "samples": latent["samples"][..., :2, :]}
    out, _ = sampled(pack, image_model, small)
    assert out.shape == (1, 6, 3, 2, 6)


def test_a_checkpoint_that_reads_clip_tokens_and_gets_none_says_so(
    pack, vae, model, image_model, monkeypatch
):
    from longtake.host.sampling.routes import missing_vision

    reads = replace(IMAGE, image_width=24)
    with_tokens = [[torch.zeros(1, 2, 3), {"clip_vision_output": "tokens"}]]
    assert "connect CLIPVisionEncode to PinImage's clip_vision_output" in missing_vision(
        reads, [[0, {}]], None
    )
    assert (
        missing_vision(reads, with_tokens, None) == missing_vision(reads, [[0, {}]], "tokens") == ""
    )
    assert missing_vision(IMAGE, [[0, {}]], None) == missing_vision(None, [[0, {}]], None) == ""
    told = []
    monkeypatch.setattr(pack.sample, "show_text", told.append)
    monkeypatch.setattr(pack.sample, "missing_vision", lambda *_: "no tokens")
    sampled(pack, image_model, pinned_canvas(pack, vae, {0: torch.rand(1, 32, 48, 3)}))
    assert told == ["no tokens"]


def test_the_frame_rate_of_the_canvas_reaches_checkpoints_that_are_told_it(pack, tmp_path):
    config = replace(DIT, frame_rates=True)
    model = built(pack, write_dit(tmp_path / "rates.safetensors", config), config)
    canvas = {"samples": torch.zeros(SHAPE), "longtake": {"fps": Fraction(16)}}
    mine = [[text, {**extras, "frame_rate": 30.0}] for text, extras in prompt(model, 1)]
    for positive, told in ((prompt(model, 1), {16.0}), (mine, {30.0, 16.0})):
        with seen(model, lambda *_, fps=None, **__: fps) as rates:
            sample(pack, model, positive, prompt(model, 2), canvas, LEVELS, seed=1, cfg=3.0)
        assert set(rates) == told


def spot() -> torch.Tensor:
    """A mask that keeps the first frame, and of the others all but a token."""
    mask = torch.zeros(1, 1, *SHAPE[2:])
    mask[:, :, 1:, 2:4, :2] = 1
    return mask


def test_each_token_of_a_region_has_its_level(pack, model):
    """As TI2V-5B's own code computes them, where core would take the mean over the frame."""
    known = latents(5)
    out, calls = sampled(pack, model, {"samples": known, "noise_mask": spot()})
    assert torch.equal(out[(spot() == 0).expand_as(out)], known[(spot() == 0).expand_as(out)])
    for (x, t), sigma in zip(calls, LEVELS, strict=False):
        tokens = spot()[:, 0, :, ::2, ::2] * 1000 * sigma
        torch.testing.assert_close(t, tokens.expand_as(t))
        inner = rearrange(spot() == 0, "1 1 t h w -> t h w")
        torch.testing.assert_close(x[:1, :, inner], x[-1:, :, inner])


def test_whole_frames_are_told_as_core_tells_them(pack, model):
    _, calls = sampled(pack, model, {"samples": latents(5), "noise_mask": mask_for(0)})
    assert all(t.ndim == 2 for _, t in calls)


def test_the_way_of_regions(pack, model, plain_model, image_model):
    from longtake.host.sampling.routes import Route, route_for_regions

    assert route_for_regions(model) is Route.TOKEN_LEVELS
    assert route_for_regions(plain_model) is Route.REPLACEMENT
    assert route_for_regions(image_model) is Route.IMAGE_CHANNELS


def test_a_model_in_no_table_gets_the_plain_road_and_is_told_so(pack, comfyui):
    """Known frames are put back; where nothing is known there is nothing to say."""
    from comfy.model_base import BaseModel

    from longtake.host.sampling.routes import Route, route_of, unknown_model

    tiny = wan21()
    empty = MaskedLatents(torch.zeros(1, 16, 3, 2, 2))
    known = empty.with_known({0: torch.zeros(1, 16, 1, 2, 2)})
    assert unknown_model(tiny.model, known) == ""
    tiny.model.model.__class__ = type("Newcomer", (BaseModel,), {})
    assert route_of(tiny.model) is Route.REPLACEMENT
    assert unknown_model(tiny.model, empty) == ""
    assert unknown_model(tiny.model, known).startswith("Newcomer is no model that Longtake knows")
