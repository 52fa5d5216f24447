"""A canvas on VACE checkpoints, ours and core's: the same weights, the same video."""

import importlib
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from einops import rearrange

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.driving import Driving, FollowedClip
from longtake.engine.canvas.guidance import Guidance
from longtake.engine.canvas.known import GREY
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from longtake.models.wan.dit import WanDiT
from tests.host import gguf
from tests.host.conftest import random_weights
from tests.host.networks.test_against_core import SMALL, pair
from tests.host.runs import prompt, seen, windowed
from tests.host_models.wan import wan21

VACE = replace(SMALL, depth=2, vace_blocks=1)
HEIGHT, WIDTH, FRAMES, FPS = 32, 48, 17, Fraction(16)


def pictures(seed: int, frames: int = 1, height: int = HEIGHT, width: int = WIDTH):
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def modules(pack):
    names = ("video.onto_canvas", "sampling.vace")
    return [importlib.import_module(f"longtake.host.{name}") for name in names]


@pytest.fixture
def regions(pack):
    return importlib.import_module("longtake.host.video.regions")


@pytest.fixture
def both(pack):
    return pair(pack, VACE)


@pytest.fixture
def vae(comfyui):
    return wan21().vae


@pytest.fixture
def blank(pack, vae) -> Canvas:
    return Canvas.blank(pack.codec.codec_for(vae), FRAMES, HEIGHT, WIDTH, FPS)


@pytest.fixture
def agree(pack, both):
    """Asserts that core's MODEL and ours give the same of a canvas; returns it."""
    core, ours = both
    prompts = pack.conditioning.Prompts(prompt(ours, 1), prompt(ours, 2))
    sampling = pack.sample.Sampling(sigmas(2, 5.0), 7, 2.0, "euler")

    def check(canvas: Canvas):
        a, b = (pack.sample.sample(model, prompts, canvas, sampling) for model in (ours, core))
        assert a.shape == canvas.video.latents.shape
        assert (a - b).norm() / b.norm() < 1e-5
        return a

    return check


def test_pinned_images_a_control_clip_and_references(modules, blank, agree):
    onto, *_ = modules
    bare = agree(blank)
    pinned = blank.pin_image(pictures(1), 0.0, "crop").pin_image(pictures(2), 0.5, "crop")
    first = agree(pinned)
    assert torch.equal(first[:, :, :1], pinned.video.latents[:, :, :1])
    followed = onto.control_clip(pinned, pictures(3, 12, 40, 60), 1.0, 0.25, 0.0, "crop", 16)
    second = agree(followed)
    referring = onto.reference_images(followed, pictures(4, 2, 50, 20), 1.0)
    third = agree(referring)
    results = [bare, first, second, third]
    assert not any(torch.allclose(a, b) for a, b in pairwise(results))


@pytest.fixture
def sampled_by(pack, both):
    prompts = pack.conditioning.Prompts(prompt(both[1], 1), prompt(both[1], 2))

    def sampled(model, canvas: Canvas, steps: int = 4):
        sampling = pack.sample.Sampling(sigmas(steps, 5.0), 7, 2.0)
        return pack.sample.sample(model, prompts, canvas, sampling)

    return sampled


@pytest.fixture
def followed_canvas(modules, blank) -> Canvas:
    """A first frame, a control clip after it, and a reference."""
    onto, *_ = modules
    canvas = blank.pin_image(pictures(1), 0.0, "crop")
    canvas = onto.control_clip(canvas, pictures(3, 12), 1.0, 0.25, 0.0, "crop", 16)
    return onto.reference_images(canvas, pictures(4, 1, 50, 20), 1.0)


def test_both_experts_of_vace_fun_follow_it(pack, both, followed_canvas, sampled_by):
    others = pair(pack, VACE, 8)
    core, ours = (
        sampled_by(pack.experts.pair(high, low, 0.9, 2.0, 1.5), followed_canvas)
        for high, low in zip(both, others, strict=True)
    )
    assert (ours - core).norm() / core.norm() < 1e-5
    assert torch.equal(ours[:, :, :1], followed_canvas.video.latents[:, :, :1])
    alone = [sampled_by(model, followed_canvas) for model in (both[1], others[1])]
    assert not any(torch.allclose(ours, one) for one in alone)
    pair_of_ours = pack.experts.pair(both[1], others[1], 0.9, 2.0, 1.5)
    plain = replace(followed_canvas, guidance=None)
    assert not torch.allclose(ours, sampled_by(pair_of_ours, plain))


def test_a_gguf_file_of_vace_follows_it_as_core_s_own_does(pack, followed_canvas, sampled_by):
    packed, meant = gguf.load(random_weights(WanDiT(VACE), 5))
    got, expected = (sampled_by(m, followed_canvas, 2) for m in (packed, meant))
    assert (got - expected).norm() / expected.norm() < 1e-5


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # core's own
def test_references_stand_in_front_of_every_context_window(pack, modules, both, blank):
    onto, *_ = modules
    canvas = onto.reference_images(blank, pictures(4, 2, 50, 20), 1.0)
    model, shown = windowed(both[1]), []

    def record(x, *_, vace_context=None, **__):
        shown.append((x.shape[2], vace_context[:1, 0].clone()))

    prompts = pack.conditioning.Prompts(prompt(model, 1), prompt(model, 2))
    with seen(model, record):
        out = pack.sample.sample(
            model, prompts, canvas, pack.sample.Sampling(sigmas(2, 5.0), 7, 1.0, "euler")
        )
    assert out.shape == canvas.video.latents.shape
    assert [frames for frames, _ in shown] == [2 + 3] * 4  # of five frames two windows a step
    for _, context in shown:
        torch.testing.assert_close(context[:, :, :2], shown[0][1][:, :, :2], rtol=0, atol=0)
    assert shown[0][1][:, :16, :2].abs().mean() > 0.1  # and no grey


def test_what_it_is_shown_is_what_core_s_node_makes(pack, modules, both, vae, blank):
    from comfy_extras.nodes_wan import WanVaceToVideo

    (onto, vace), ours = modules, both[1]
    prompts = pack.conditioning.Prompts(prompt(ours, 1), prompt(ours, 2))
    canvas = onto.control_clip(
        blank.pin_image(pictures(1), 0.0, "crop"), pictures(3, 12), 1.0, 0.25, 0.0, "crop", 16
    )
    control, mask = torch.full((FRAMES, HEIGHT, WIDTH, 3), 0.5), torch.ones(FRAMES, HEIGHT, WIDTH)
    control[:1], mask[0] = pictures(1), 0
    control[4:16] = pictures(3, 12)
    expected = WanVaceToVideo.execute(
        *prompts, vae, WIDTH, HEIGHT, FRAMES, 1, 1.0, control_video=control, control_masks=mask
    ).result[0][0][1]
    road, _ = vace.vace_for(ours, canvas.pins, canvas.guidance, 5)
    shown = road.beside(range(5), prompts, canvas.video).positive[0][1]
    for name in ("vace_frames", "vace_mask"):
        torch.testing.assert_close(shown[name][0], expected[name][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("does", ["extend", "loop", "fill"])
def test_windows_that_go_on_from_latents(modules, vae, agree, does):
    onto, *_ = modules
    clip = onto.clip_canvas(pictures(5, FRAMES), vae, 16.0)
    arguments = {"extend": ("forwards", 2.0, 0.5, 1.2), "loop": (1.0,), "fill": (0.4, 0.8)}
    canvas = getattr(clip, does)(*arguments[does])
    assert does != "extend" or len(canvas.windows) > 1
    out = agree(canvas)
    for k in canvas.video.known:
        assert torch.equal(out[:, :, k], canvas.video.latents[:, :, k])
    guided = onto.reference_images(canvas, pictures(7, 1, 20, 20), 1.0)
    frames = canvas.timeline.frames
    guided = onto.control_clip(guided, pictures(6, frames), 1.0, 0.0, 0.0, "crop", 16)
    assert not torch.allclose(agree(guided), out)


def region() -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[3:12, 20:37] = 1
    return mask


@pytest.mark.parametrize("clip", ["pixels", "latents"])
def test_a_region_of_a_clip(modules, regions, vae, agree, clip):
    onto, *_ = modules
    given = pictures(5, FRAMES)
    if clip == "latents":
        given = {"samples": onto.clip_canvas(given, vae, 16.0).video.latents}
    canvas = regions.with_region(regions.clip_of(given, vae, 16.0), vae, region(), feather=3)
    out = agree(canvas)
    kept = canvas.video.mask == 0
    assert 0 < kept.float().mean() < 1
    known = canvas.video.latents
    assert torch.equal(torch.where(kept, out, known), known)
    guided = onto.control_clip(canvas, pictures(6, FRAMES), 1.0, 0.0, 0.0, "crop", 16)
    assert not torch.allclose(agree(guided), out)


def test_a_region_s_mask_goes_by_pixels(modules, regions, both, vae):
    _, vace = modules
    canvas = regions.with_region(regions.clip_of(pictures(5, FRAMES), vae, 16.0), vae, region())
    road, _ = vace.vace_for(both[1], None, None, 5, canvas.kept)
    shown = road._contexts.of(range(5), canvas.video)
    pixels = rearrange(shown.mask, "1 (p q) t h w -> t (h p) (w q)", p=8)
    assert torch.equal(pixels, region().expand(5, -1, -1))
    later = road._contexts.of(range(3, 5), canvas.video.at([3, 4]))
    assert torch.equal(later.mask, shown.mask[:, :, 3:])


def test_a_window_within_a_long_region_goes_on_from_latents(modules, regions, both, vae):
    """What the one before it made is known as latents; around it the pixels are."""
    _, vace = modules
    canvas = regions.with_region(regions.clip_of(pictures(5, FRAMES), vae, 16.0), vae, region())
    made = torch.randn_like(canvas.video.latents)
    part = MaskedLatents(made, canvas.video.mask).with_known({2: made[:, :, 2:3]}).at([2, 3, 4])
    road, _ = vace.vace_for(both[1], None, None, 5, canvas.kept)
    shown = road._contexts.of(range(2, 5), part)
    touched = canvas.video.mask[0, 0, 2] == 1
    assert torch.equal(shown.frames[0, :16, 0][:, touched], made[0, :, 2][:, touched])
    assert shown.mask[:, :, 0].max() == 0
    assert not torch.allclose(shown.frames[0, :16, 0][:, ~touched], made[0, :, 2][:, ~touched])


def test_what_came_with_a_clip_is_left_out_by_other_models(pack, modules, blank, vae):
    onto, vace = modules
    canvas = onto.reference_images(blank, pictures(4), 1.0)
    longer = onto.clip_canvas(pack.latent.to_latent(canvas), vae).extend("forwards", 1.0)
    assert longer.guidance.handed_on
    for model in pair(pack, SMALL):
        left = vace.followed(model, longer)
        assert left.guidance is None
        assert "for VACE: they are left out" in left.notes[-1]
    ours = pair(pack, VACE)[1]
    assert vace.followed(ours, longer) is longer
    again = onto.reference_images(longer, pictures(4), 1.0)
    with pytest.raises(InputError, match="which only VACE"):
        vace.vace_for(model, None, vace.followed(model, again).guidance, 5)


def test_latents_alone_are_inactive_as_they_are_and_grey_is_wan_s(modules, both):
    _, vace = modules
    ours, latents = both[1], torch.randn(1, 16, 3, 4, 6)
    part = MaskedLatents(latents).with_known({0: latents[:, :, :1]})
    road, _ = vace.vace_for(ours, None, None, 3)
    shown = road._contexts.of(range(3), part)
    grey = ours.model.process_latent_out(torch.tensor(GREY).T[None, :, :, None, None])
    assert torch.equal(shown.frames[:, :16, 0], latents[:, :, 0])
    torch.testing.assert_close(shown.frames[:, 16:], grey.expand(1, 16, 3, 4, 6))
    torch.testing.assert_close(shown.frames[:, :16, 1:], grey[:, :, 1:].expand(1, 16, 2, 4, 6))


def test_a_strength_holds_for_its_span_alone(modules, both, blank):
    (onto, vace), ours = modules, both[1]
    canvas = onto.control_clip(blank, pictures(3, FRAMES), 0.5, 0.3, 0.5, "crop", 16)
    canvas = onto.reference_images(canvas, pictures(4, 1, 9, 9), 0.25)
    road, lead = vace.vace_for(ours, None, canvas.guidance, 5)
    shown = road._contexts.of(range(5), MaskedLatents(torch.zeros(1, 16, 5, 4, 6)))
    assert lead == shown.lead == 1
    assert shown.strength.tolist() == [0.25, 1.0, 1.0, 0.5, 0.5, 1.0]
    assert shown.mask[:, :, 0].max() == 0
    assert shown.mask[:, :, 1:].min() == 1


@pytest.mark.parametrize("window", [range(5), range(2, 5)], ids=str)
def test_a_performance_is_a_control_clip_and_a_reference(pack, modules, both, blank, window):
    (onto, vace), ours = modules, both[1]
    clip, who = pictures(3, FRAMES), pictures(4)
    followed = FollowedClip(FRAMES, lambda numbers: clip[list(numbers)], "a stamp")
    performance = Guidance(blank.codec, driving=Driving(followed, who[0], 0.5))
    other = onto.control_clip(blank, clip, 0.5, 0.0, 0.0, "crop", 16)
    other = onto.reference_images(other, who, 1.0)
    prompts = pack.conditioning.Prompts(prompt(ours, 1), prompt(ours, 2))
    shown = [
        vace.vace_for(ours, None, guidance, 5)[0].beside(
            window, prompts, blank.video.at(list(window))
        ).positive[0][1]
        for guidance in (performance, other.guidance)
    ]  # fmt: skip
    assert shown[0].keys() == shown[1].keys()
    for name in ("vace_frames", "vace_mask", "longtake_vace_strengths"):
        for one, two in zip(shown[0].get(name, ()), shown[1].get(name, ()), strict=True):
            assert torch.equal(one, two)


def test_other_models_refuse_it_in_a_line(pack, modules, blank):
    onto, vace = modules
    canvas = onto.reference_images(blank, pictures(4), 1.0)
    for model in pair(pack, SMALL):
        with pytest.raises(InputError, match=r"holds references, which only VACE .* is Wan"):
            vace.vace_for(model, None, canvas.guidance, 5)
        assert vace.vace_for(model, None, None, 5) == (None, 0)


def test_core_s_own_input_for_another_length_is_refused(pack, modules, both, blank):
    (_, vace), ours = modules, both[1]
    extras = {
        "vace_frames": [torch.zeros(1, 32, 6, 4, 6)],
        "vace_mask": [torch.zeros(1, 64, 6, 4, 6)],
    }
    prompts = pack.conditioning.Prompts(*(prompt(ours, seed, **extras) for seed in (1, 2)))
    road, _ = vace.vace_for(ours, None, None, 5)
    with pytest.raises(InputError, match=r"input of 6 latent frames, and the canvas has 5"):
        road.beside(range(5), prompts, blank.video)


@pytest.mark.parametrize("shape", [(1, 7, 300), (1, 300, 7), (3, 5, 5)])
def test_references_of_odd_shapes_are_whole(modules, blank, shape):
    onto, *_ = modules
    frames, height, width = shape
    canvas = onto.reference_images(blank, torch.zeros(frames, height, width, 4), 1.0)
    for reference in canvas.guidance.references:
        assert reference.picture.shape == (HEIGHT, WIDTH, 3)
        assert reference.picture.min() == 1  # what is transparent is white
