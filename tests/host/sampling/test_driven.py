"""A clip that a character performs: what core's classes are shown is what core's nodes show."""

import importlib
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from longtake.engine.canvas.driving import Driving, FollowedClip, seen_frames
from longtake.engine.canvas.guidance import Guidance
from longtake.engine.canvas.known import Pins
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.noise import WindowNoise
from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from tests.host_models import (
    minimax_h3,
    minimax_is_here,
    scail_2,
    wan21,
    wan_animate,
    wan_animate_2,
)

pytestmark = pytest.mark.usefixtures("comfyui")
WIDTH, HEIGHT, FRAMES, LATENT, FPS = 48, 32, 33, 9, Fraction(16)
SEED, LEVELS = 7, sigmas(2, 5.0)


def pictures(seed: int, frames: int = 1, height: int = HEIGHT, width: int = WIDTH):
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


POSES, FACES, WHO = pictures(1, FRAMES), pictures(2, FRAMES, 512, 512), pictures(3)
MASKS = pictures(4, FRAMES).round()  # in the colours of identities
BEHIND, WHERE = pictures(6, FRAMES), pictures(7, FRAMES)[..., 0].round()
NAMES = ("concat_latent_image", "concat_mask", "pose_video_latent")
OF_SCAIL = ("pose_video_latent", "driving_mask_28ch", "ref_mask_28ch")


def module(name: str):
    return importlib.import_module(f"longtake.host.{name}")


def clip_of(images) -> FollowedClip:
    return FollowedClip(len(images), lambda numbers: images[list(numbers)], "a stamp")


def canvas_of(tiny, **more):
    canvas = importlib.import_module("longtake.engine.canvas.canvas").Canvas
    codec = module("networks.codec").codec_for(tiny.vae)
    blank = canvas.blank(codec, FRAMES, HEIGHT, WIDTH, FPS)
    driving = Driving(clip_of(POSES), WHO[0], **more)
    return replace(blank, guidance=Guidance(codec, driving=driving))


def road_of(tiny, canvas):
    pins = module("sampling.routes").pins_for(canvas, tiny.model)
    return module("sampling.driven").road_for(tiny.model, pins, canvas.guidance, LATENT)[0]


def shown(tiny, canvas, frames: range):
    """The extras of both prompts of a window."""
    prompts = module("comfyui.conditioning").Prompts(tiny.positive, tiny.negative)
    made = road_of(tiny, canvas).beside(frames, prompts, canvas.video.at(list(frames)))
    return made.positive[0][1], made.negative[0][1]


def core_node(name: str, tiny, room: str = "nodes_wan", **more):
    """What a node of core's writes into both prompts."""
    node = getattr(importlib.import_module(f"comfy_extras.{room}"), name)
    made = node.execute(
        tiny.positive, tiny.negative, tiny.vae, width=WIDTH, height=HEIGHT, batch_size=1, **more
    ).args
    return made[0][0][1], made[1][0][1]


def same(ours, cores, names):
    for one, other in zip(ours, cores, strict=True):
        for name in names:
            torch.testing.assert_close(
                one[name], other[name].expand_as(one[name]), rtol=1e-5, atol=1e-5, msg=name
            )


@pytest.mark.parametrize("window", [range(LATENT), range(3, 8)], ids=str)
def test_wan_animate_is_shown_what_core_s_node_shows(window):
    tiny, seen = wan_animate(), seen_frames(window, road_grid())
    own = {
        "length": len(seen),
        "continue_motion_max_frames": 5,
        "video_frame_offset": seen.start,
        "reference_image": WHO,
        "face_video": FACES,
        "pose_video": POSES,
    }
    ours = shown(tiny, canvas_of(tiny, face=clip_of(FACES)), window)
    same(ours, core_node("WanAnimateToVideo", tiny, **own), (*NAMES, "face_video_pixels"))
    assert (seen.start, len(seen)) == ((0, 33) if window.start == 0 else (12, 17))


def test_the_frames_it_goes_on_from_are_shown_as_core_s_node_shows_them():
    tiny, before = wan_animate(), pictures(5, 5)
    canvas = canvas_of(tiny).pin_clip(before, 0, "paint")
    own = {
        "length": FRAMES,
        "continue_motion_max_frames": 5,
        "video_frame_offset": 0,
        "reference_image": WHO,
        "pose_video": POSES,
        "continue_motion": before,
    }
    ours = shown(tiny, canvas, range(LATENT))
    same(ours, core_node("WanAnimateToVideo", tiny, **own), NAMES)


def put_into(tiny, masks=WHERE):
    return canvas_of(tiny, background=clip_of(BEHIND), background_mask=clip_of(masks))


def rows(mask):
    """(4 t, h, w): a concat_mask without the character's latent frame in front, row by row."""
    return mask[:, :, 1:].transpose(1, 2).flatten(0, 2)


@pytest.mark.parametrize("goes_on", [False, True], ids=["begins", "goes on"])
@pytest.mark.parametrize("window", [range(LATENT), range(3, 8)], ids=str)
def test_a_character_is_put_into_a_video_as_core_s_node_puts_it(window, goes_on):
    tiny, seen, before = wan_animate(), seen_frames(window, road_grid()), pictures(5, 5)
    own = {
        "length": len(seen),
        "continue_motion_max_frames": 5,
        "video_frame_offset": seen.start,
        "reference_image": WHO,
        "pose_video": POSES,
        "background_video": BEHIND * (1 - WHERE[..., None]),
        "character_mask": WHERE,
    }
    canvas = put_into(tiny)
    if goes_on:  # from 5 frames, which core counts from the end of the window before
        pixels = dict(enumerate(before, seen.start))
        canvas = replace(canvas, pins=Pins(canvas.codec, pixels))
        own |= {"continue_motion": before, "video_frame_offset": seen.start + 5}
    ours, cores = shown(tiny, canvas, window), core_node("WanAnimateToVideo", tiny, **own)
    same(ours, cores, ("concat_latent_image", "pose_video_latent"))
    known = 5 if goes_on else 0
    for one, other in zip(ours, cores, strict=True):
        ours_of, cores_of = rows(one["concat_mask"]), rows(other["concat_mask"])
        assert torch.equal(ours_of[3 + known :], cores_of[known : len(seen)])  # core's: too early
        assert not ours_of[: 3 * goes_on + known].any()


@pytest.mark.parametrize("window", [range(LATENT), range(3, 8)], ids=str)
def test_a_background_s_masks_are_those_of_diffusers(window):
    pipeline = pytest.importorskip("diffusers").WanAnimatePipeline
    tiny, seen = wan_animate(), seen_frames(window, road_grid())
    cells = WHERE[:, ::8, ::8]
    masks = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)
    size = len(window), HEIGHT // 8, WIDTH // 8
    theirs = pipeline.get_i2v_mask(
        SimpleNamespace(vae_scale_factor_temporal=4), 1, *size, 0,
        1 - cells[None, None, seen.start : seen.stop], torch.float32, "cpu",
    )  # fmt: skip
    ours = shown(tiny, put_into(tiny, masks), window)[0]["concat_mask"][:, :, 1:]
    assert torch.equal(1 - ours, theirs)


def test_what_a_window_hands_on_is_known_whole_before_a_background():
    tiny, handed = wan_animate(), torch.randn(1, 16, 1, HEIGHT // 8, WIDTH // 8)
    part = MaskedLatents(torch.zeros(1, 16, 4, HEIGHT // 8, WIDTH // 8)).with_known({0: handed})
    prompts = module("comfyui.conditioning").Prompts(tiny.positive, tiny.negative)
    road = road_of(tiny, put_into(tiny))
    made = road.beside(range(4, 8), prompts, part).positive[0][1]
    assert torch.equal(made["concat_latent_image"][:, :, 1], handed[:, :, 0])
    mask = made["concat_mask"][0, :, 1:]
    assert not mask[:, 0].any()
    cells = torch.nn.functional.interpolate(
        WHERE[None], (HEIGHT // 8, WIDTH // 8), mode="nearest-exact"
    )
    seen = seen_frames(range(4, 8), road_grid())
    assert torch.equal(
        mask[:, 1:].transpose(0, 1).flatten(0, 1), cells[0, seen.start + 1 : seen.stop]
    )


@pytest.mark.parametrize("window", [range(LATENT), range(3, 8)], ids=str)
def test_wan_animate_2_is_shown_what_core_s_node_shows(window):
    tiny, seen = wan_animate_2(), seen_frames(window, road_grid())
    own = {
        "length": len(seen),
        "video_frame_offset": seen.start,
        "reference_image": WHO,
        "pose_video": POSES,
        "pose_strength": 0.75,
    }
    ours = shown(tiny, canvas_of(tiny, strength=0.75), window)
    theirs = core_node("WanAnimate2ToVideo", tiny, **own)
    same(ours, theirs, (*NAMES, "cross_attn_pose"))
    assert ours[1]["pose_strength"] == theirs[1]["pose_strength"] == 0.75


@pytest.mark.parametrize("window", [range(LATENT), range(3, 8)], ids=str)
@pytest.mark.parametrize("replaces", [False, True], ids=["animates", "replaces"])
def test_scail_2_is_shown_what_core_s_node_shows(window, replaces):
    tiny, seen = scail_2(), seen_frames(window, road_grid())
    own = {
        "length": len(seen),
        "pose_strength": 0.5,
        "pose_start": 0.0,
        "pose_end": 1.0,
        "video_frame_offset": seen.start,
        "previous_frame_count": 5,
        "replacement_mode": replaces,
        "reference_image": WHO,
        "pose_video": POSES,
        "pose_video_mask": MASKS,
        "reference_image_mask": MASKS[:1],
    }
    more = {"masks": clip_of(MASKS), "character_mask": MASKS[0], "replaces": replaces}
    ours = shown(tiny, canvas_of(tiny, strength=0.5, **more), window)
    theirs = core_node("WanSCAILToVideo", tiny, "nodes_scail", **own)
    same(ours, theirs, OF_SCAIL)
    for one, other in zip(ours, theirs, strict=True):
        assert one["ref_mask_flag"] == other["ref_mask_flag"] == (not replaces)
        torch.testing.assert_close(one["reference_latents"], other["reference_latents"])


@pytest.mark.parametrize("window", [range(12), range(5, 12)], ids=str)
def test_minimax_h3_is_shown_what_core_s_node_shows(window):
    if not minimax_is_here():
        pytest.skip("this host has no nodes for MiniMax H3")
    tiny, words = minimax_h3(), "<Picture 1> dances as in <Video 1>"
    codec = module("networks.codec").codec_for(tiny.vae)
    # Core's node takes them through bytes, though they are of the right size.
    poses, who = (
        x.mul(255).round() / 255 for x in (pictures(1, 39, 64, 96), pictures(3, 1, 64, 96))
    )
    told, said = module("video.driving").words_for(
        module("video.driving").Others(text_encoder=tiny.clip, words=words)
    )
    driving = Driving(clip_of(poses), who[0], words=told, said=said)
    guidance, road_for = Guidance(codec, driving=driving), module("sampling.driven").road_for
    with pytest.raises(InputError, match="MiniMax H3 hears of the clip through its text encoder"):
        road_for(tiny.model, None, replace(guidance, driving=replace(driving, words=None)), 12)
    road, lead = road_for(tiny.model, None, guidance, 12)
    prompts = module("comfyui.conditioning").Prompts(tiny.positive, tiny.negative)
    part = MaskedLatents(torch.zeros(1, 24, len(window), 4, 6))
    text, ours = road.beside(window, prompts, part).positive[0]
    seen = seen_frames(window, codec.grid)
    node = importlib.import_module("comfy_extras.nodes_minimax_h3").MiniMaxH3ReferenceToVideo
    core_text, core = node.execute(
        tiny.clip, tiny.vae, tiny.audio_vae, words, 96, 64, len(seen),
        ref_images={"a": who}, ref_videos={"a": poses[seen.start :]},
    ).args[0][0]  # fmt: skip
    assert (lead, len(seen)) == (0, {12: 39, 7: 22}[len(window)])
    torch.testing.assert_close(text, core_text)
    for one, other in zip(ours["minimax_refs"], core["minimax_refs"], strict=True):
        torch.testing.assert_close(one.pop("latent"), other.pop("latent"), rtol=1e-5, atol=1e-5)
        assert one == other


def road_grid():
    return importlib.import_module("longtake.engine.canvas.grid").CausalGrid(16)


@pytest.mark.parametrize("make", [wan_animate, wan_animate_2, scail_2])
def test_sampled_by_us_it_is_as_sampled_by_core_from_the_same_noise(make):
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    tiny = make()
    canvas = canvas_of(tiny)
    sample = module("sampling.sample")
    prompts = module("comfyui.conditioning").Prompts(tiny.positive, tiny.negative)
    ours = sample.sample(tiny.model, prompts, canvas, sample.Sampling(LEVELS, SEED, 1.5))
    road = road_of(tiny, canvas)
    whole = road.beside(range(LATENT), prompts, canvas.video)
    noise = WindowNoise([(SEED, k) for k in range(LATENT)], (16, HEIGHT // 8, WIDTH // 8))

    class Noise:
        seed = SEED

        def generate_noise(self, latent):
            return (noise.led_by(road.lead) if road.lead else noise).drawn()

    guider = sample.comfy.samplers.CFGGuider(tiny.model)
    guider.set_conds(*whole)
    guider.set_cfg(1.5)
    euler = sample.comfy.samplers.sampler_object("euler")
    latent = {"samples": torch.zeros(1, 16, LATENT + road.lead, HEIGHT // 8, WIDTH // 8)}
    core = SamplerCustomAdvanced.execute(Noise(), guider, euler, LEVELS, latent)[0]["samples"]
    torch.testing.assert_close(ours, core[:, :, road.lead :], rtol=1e-5, atol=1e-5)
    other = replace(canvas.guidance.driving, clip=clip_of(pictures(9, FRAMES)))
    moved = replace(canvas, guidance=replace(canvas.guidance, driving=other))
    again = sample.sample(tiny.model, prompts, moved, sample.Sampling(LEVELS, SEED, 1.5))
    assert not torch.allclose(again, ours)


def test_what_a_window_hands_on_is_shown_as_it_is_and_as_known():
    tiny, handed = wan_animate(), torch.randn(1, 16, 1, HEIGHT // 8, WIDTH // 8)
    canvas = canvas_of(tiny)
    part = MaskedLatents(torch.zeros(1, 16, 4, HEIGHT // 8, WIDTH // 8)).with_known({0: handed})
    prompts = module("comfyui.conditioning").Prompts(tiny.positive, tiny.negative)
    made = road_of(tiny, canvas).beside(range(4, 8), prompts, part).positive[0][1]
    assert torch.equal(made["concat_latent_image"][:, :, 1], handed[:, :, 0])
    assert made["concat_mask"][0, 0, :, 0, 0].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "more", "told"),
    [
        (wan21, {}, "this model is Wan T2V 1.3B, which follows none: load Wan-Animate 2"),
        (wan_animate, {"strength": 0.5}, "Drive holds a strength, which Wan 2.2 Animate 14B does"),
        (wan_animate_2, {"face": clip_of(FACES)}, "holds a face, which Wan-Animate 2 14B does not"),
        (
            wan_animate_2,
            {"background": clip_of(BEHIND), "background_mask": clip_of(WHERE)},
            "holds a background, which Wan-Animate 2 14B does not read",
        ),
        (wan_animate_2, {"replaces": True}, "holds masks, which Wan-Animate 2 14B does not"),
    ],
)
def test_what_a_checkpoint_cannot_follow_is_said_before_sampling(make, more, told):
    tiny = make()
    with pytest.raises(InputError, match=told):
        road_of(tiny, canvas_of(tiny, **more))
