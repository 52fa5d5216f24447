"""LATENT and CONDITIONING of core's own nodes for video models, through Sample and Long Take."""

import importlib
from fractions import Fraction

import pytest
import torch

from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError
from tests import host_models as models
from tests.host.runs import module
from tests.host_models.build import as_the_host_takes_masks, streams_of

LEVELS = sigmas(2, 3.0)


def of_core(name, node):
    """A node of core's, where this host has it."""
    found = getattr(importlib.import_module(f"comfy_extras.{name}"), node, None)
    return found.execute if found else pytest.skip(f"this host has no {node}")


def pictures(width=64, height=32, count=1, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, height, width, 3, generator=rng)


def ltx_image(strength=1.0):
    tiny = models.ltxv()
    made = of_core("nodes_lt", "LTXVImgToVideo")(
        tiny.positive, tiny.negative, pictures(128, 64), tiny.vae, 128, 64, 33, 1, strength
    )
    return tiny, *made.args


def ltx_guide(at=20, count=1, strength=1.0, tiny=None, prompts=None, latent=None):
    tiny = tiny or models.ltxv()
    latent = latent or of_core("nodes_lt", "EmptyLTXVLatentVideo")(128, 64, 33)[0]
    made = of_core("nodes_lt", "LTXVAddGuide")(
        *(prompts or (tiny.positive, tiny.negative)),
        tiny.vae,
        latent,
        pictures(128, 64, count),
        at,
        strength,
    )
    return tiny, *made.args


def ltx_guides():
    """A clip that is followed in part, and a picture behind it."""
    tiny, *prompts, latent = ltx_guide(9, 9, 0.6)
    return ltx_guide(30, tiny=tiny, prompts=prompts, latent=latent)


def ltx_sound(with_guide=False):
    tiny = models.ltxav()
    concat = of_core("nodes_lt", "LTXVConcatAVLatent")
    prompts, latent = (tiny.positive, tiny.negative), None
    if with_guide:
        _, *prompts, latent = ltx_guide(tiny=tiny)
    latent = latent or of_core("nodes_lt", "EmptyLTXVLatentVideo")(128, 64, 33)[0]
    sound = models.ltxav_latent(128, 64, 33)["samples"].unbind()[1]
    return tiny, *prompts, concat(latent, {"samples": sound, "type": "audio"})[0]


def ltx_sound_and_guide():
    return ltx_sound(with_guide=True)


def wan_image(count=1):
    tiny = models.wan21_from_an_image()
    made = of_core("nodes_wan", "WanImageToVideo")(
        tiny.positive, tiny.negative, tiny.vae, 64, 32, 17, 1, start_image=pictures(count=count)
    )
    return tiny, *made.args


def wan_first_and_last():
    tiny = models.wan21_from_an_image()
    ends = {"start_image": pictures(), "end_image": pictures(seed=2)}
    made = of_core("nodes_wan", "WanFirstLastFrameToVideo")(
        tiny.positive, tiny.negative, tiny.vae, 64, 32, 17, 1, **ends
    )
    return tiny, *made.args


def wan_subjects():
    """Two pictures as Phantom reads them, latent frames behind the video's."""
    tiny = models.wan21()
    node = of_core("nodes_wan", "WanPhantomSubjectToVideo")
    made = node(tiny.positive, tiny.negative, tiny.vae, 64, 32, 17, 1, pictures(count=2))
    return tiny, made[0], made[1], made[3]


def wan22_image():
    tiny = models.wan22()
    node = of_core("nodes_wan", "Wan22ImageToVideoLatent")
    latent = node(tiny.vae, 64, 32, 17, 1, start_image=pictures())[0]
    return tiny, tiny.positive, tiny.negative, latent


def hunyuan_image(kind="v1 (concat)"):
    tiny = models.hunyuan_video_from_an_image()
    node = of_core("nodes_hunyuan", "HunyuanImageToVideo")
    positive, latent = node(tiny.positive, tiny.vae, 64, 32, 17, 1, kind, pictures()).args
    return tiny, positive, tiny.negative, latent


def hunyuan_15_image():
    tiny = models.hunyuan_video_15()
    node = of_core("nodes_hunyuan", "HunyuanVideo15ImageToVideo")
    seen = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(3))
    vision = importlib.import_module("comfy.clip_vision").Output()
    vision.last_hidden_state = seen
    made = node(tiny.positive, tiny.negative, tiny.vae, 64, 32, 17, 1, pictures(), vision)
    return tiny, *made.args


def hunyuan_15_upscaled():
    tiny = models.hunyuan_video_15_upscaler()
    node = of_core("nodes_hunyuan", "HunyuanVideo15SuperResolution")
    small = torch.randn(1, 32, 5, 2, 4, generator=torch.Generator().manual_seed(3))
    latent = {"samples": small}
    made = node(tiny.positive, tiny.negative, latent, 0.7, tiny.vae, pictures())
    return tiny, *made.args


def hunyuan_replaced():
    return hunyuan_image("v2 (replace)")


def h3_node(name, *args, **more):
    if not models.minimax_is_here():
        pytest.skip("this host has no nodes for MiniMax H3")
    return of_core("nodes_minimax_h3", name)(*args, **more)


def h3_first_and_last():
    tiny, name = models.minimax_h3(), "MiniMaxH3ImageToVideo"
    ends = pictures(), pictures(seed=2)
    positive, latent = h3_node(name, tiny.clip, tiny.vae, "a ball", 64, 32, 90, *ends).args
    return tiny, positive, tiny.negative, latent


def h3_clip_with_sound():
    tiny = models.minimax_h3()
    latent = h3_node("EmptyMiniMaxH3LatentAV", 64, 32, 90)[0]
    wave = torch.sin(torch.arange(64000) / 20).expand(1, 2, -1)
    audio = {"waveform": wave, "sample_rate": 32000}
    seen = tiny.vae, tiny.audio_vae, pictures(count=22), audio
    positive = h3_node("MiniMaxH3AddGuide", tiny.positive, latent, 30, *seen)[0]
    return tiny, positive, tiny.negative, latent


def h3_references():
    tiny = models.minimax_h3()
    shown = {"ref_images": {"a": pictures()}, "ref_videos": {"a": pictures(count=22)}}
    made = h3_node(
        "MiniMaxH3ReferenceToVideo", tiny.clip, tiny.vae, tiny.audio_vae, "it", 64, 32, 90, **shown
    )
    positive, latent = made.args
    return tiny, positive, tiny.negative, latent


# of each: pixel frames of its LATENT, of a window that is shorter, and of an overlap
CASES = {
    ltx_image: (33, 17, 9),
    ltx_guide: (33, 17, 9),
    ltx_guides: (33, 17, 9),
    ltx_sound: (33, 17, 9),
    ltx_sound_and_guide: (33, 17, 9),
    wan_image: (17, 9, 5),
    wan_first_and_last: (17, 9, 5),
    wan_subjects: (17, 9, 5),
    wan22_image: (17, 9, 5),
    hunyuan_image: (17, 9, 5),
    hunyuan_replaced: (17, 9, 5),
    hunyuan_15_image: (17, 9, 5),
    hunyuan_15_upscaled: (17, 9, 5),
    h3_first_and_last: (90, 56, 22),
    h3_clip_with_sound: (90, 56, 22),
    h3_references: (90, 56, 22),
}


@pytest.fixture(params=CASES, ids=lambda make: make.__name__)
def make(request, comfyui):
    return request.param


def sampled(pack, tiny, positive, negative, latent):
    prompts = pack.conditioning.Prompts(positive, negative)
    settings = pack.sample.Sampling(LEVELS, 5, 1.5)
    return pack.sample.sampled_canvas(tiny.model, prompts, pack.latent.to_canvas(latent), settings)


def test_sample_does_what_core_does_from_the_same_noise(pack, make, runs):
    from comfy.samplers import CFGGuider, sampler_object
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    tiny, positive, negative, latent = make()
    canvas = sampled(pack, tiny, positive, negative, latent)
    ours = streams_of(pack.latent.with_sampled(latent, canvas))

    class Noise:
        seed = 5

        def generate_noise(self, _):
            return runs[0][0]

    guider = CFGGuider(tiny.model)
    guider.set_conds(positive, negative)
    guider.set_cfg(1.5)
    asked = Noise(), guider, sampler_object("euler"), LEVELS, as_the_host_takes_masks(latent)
    theirs = streams_of(SamplerCustomAdvanced.execute(*asked)[0])
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=2e-5)
        assert mine.std() > 0.3


@pytest.fixture
def take(pack, tmp_path):
    recipes, boards, takes = (
        module(f"take.{name}") for name in ("recipe", "storyboards", "long_take")
    )

    def of(case, window, overlap=0):
        tiny, positive, negative, latent = case
        size = recipes.TakeSize(Fraction(0), Fraction(0), 0, 0)
        asked, settings = (
            recipes.WindowsAsked(window, overlap),
            pack.sample.Sampling(LEVELS, 5, 1.5),
        )
        made = recipes.recipe_for(
            tiny.model,
            tiny.vae,
            boards.one_shot(positive),
            negative,
            size,
            asked,
            settings,
            canvas=latent,
        )
        sampler = takes.TakeSampler(made, WindowStore(tmp_path))
        return torch.cat(list(sampler.windows(0)), dim=2), sampler

    return of


def test_a_take_of_one_window_is_what_sample_makes(pack, make, take, runs):
    if make is ltx_sound_and_guide:
        return  # Sample's sound has noise of the guide's latent frame, too
    case = make()
    if make is ltx_guides:  # whose noise has other numbers there
        case = ltx_guide(9, 9)
    made, sampler = take(case, CASES[make][0], CASES[make][2])
    assert sampler.recipe.take.windows == 1
    whole = sampled(pack, *case).video.latents
    assert whole.shape[2] - made.shape[2] == len(sampler.recipe.guides)
    assert torch.allclose(whole[:, :, : made.shape[2]], made, atol=2e-5)


def test_a_take_of_several_windows_is_whole_and_goes_on(make, take):
    case = make()
    frames, *windows = CASES[make]
    made, sampler = take(case, *windows)
    assert sampler.recipe.take.windows > 1
    assert made.shape[2] == sampler.recipe.codec.grid.latent_frames(frames)
    assert made.isfinite().all()
    assert take(case, *windows)[1].missing == 0


IMAGES = [wan_image, wan_first_and_last, hunyuan_15_image]


@pytest.mark.parametrize("make", IMAGES, ids=lambda make: make.__name__)
def test_each_window_is_shown_its_part_of_core_s_image_and_what_was_made(comfyui, make, take, runs):
    case = make()
    made, sampler = take(case, *CASES[make][1:])
    image, unknown = (case[1][0][1][name] for name in ("concat_latent_image", "concat_mask"))
    unknown = unknown.expand(-1, 4, -1, -1, -1)
    clip = sampler.recipe.take.clips[0]
    for (_, _, prompt), window in zip(runs, clip.windows, strict=True):
        frames, context = list(window.frames), window.context
        shown, mask = prompt["concat_latent_image"], prompt["concat_mask"].expand(-1, 4, -1, -1, -1)
        given = unknown[:, :, frames].amin(dim=(0, 1, 3, 4)) < 1
        for n, k in enumerate(frames):
            handed = n < context and not given[n]
            source = made if handed else image
            assert torch.allclose(shown[:, :, n], source[:, :, k].float(), atol=1e-5)
            expected = torch.zeros_like(mask[:, :, n]) if handed else unknown[:, :, k]
            assert torch.equal(mask[:, :, n], expected)
    if make is wan_first_and_last:
        assert runs[-1][2]["concat_mask"][:, :, -1].eq(0).any()


REFERENCES = {wan_subjects: "time_dim_concat", h3_references: "minimax_refs"}


@pytest.mark.parametrize("make", REFERENCES, ids=lambda make: make.__name__)
def test_references_are_shown_whole_to_every_window(comfyui, make, take, runs):
    case, name = make(), REFERENCES[make]
    take(case, *CASES[make][1:])
    assert len(runs) > 1
    assert all(prompt[name] is case[1][0][1][name] for _, _, prompt in runs)


def test_beyond_core_s_image_a_checkpoint_is_shown_grey(pack, runs, comfyui):
    from longtake.engine.canvas.known import GREY

    tiny, positive, negative, _ = wan_image()
    longer = {"samples": torch.zeros(1, 16, 7, 4, 8)}
    sampled(pack, tiny, positive, negative, longer)
    shown = runs[0][2]["concat_latent_image"]
    grey = tiny.model.model.process_latent_in(shown)[0, :, 5:, 0, 0]
    assert torch.allclose(grey, torch.tensor(GREY[2])[:, None].expand(-1, 2), atol=1e-4)
    assert runs[0][2]["concat_mask"][:, :, 5:].eq(1).all()


def test_what_a_clip_hands_over_is_in_the_channels_of_core_s_checkpoints_too(pack, runs, comfyui):
    """Without a picture core would show zeros there, and call them known."""
    tiny = models.wan21_from_an_image()
    clip = torch.randn(1, 16, 3, 4, 8, generator=torch.Generator().manual_seed(1))
    canvas = module("video.onto_canvas").clip_canvas({"samples": clip}, tiny.vae)
    latent = pack.latent.to_latent(canvas.extend("forwards", 0.5))
    sampled(pack, tiny, tiny.positive, tiny.negative, latent)
    prompt = runs[0][2]
    assert torch.equal(prompt["concat_latent_image"][:, :, :3], clip)
    assert prompt["concat_mask"].amax(dim=(0, 1, 3, 4)).tolist()[:4] == [0, 0, 0, 1]


def test_hunyuan_15_is_shown_what_is_known_as_core_s_node_shows_it(pack, comfyui, runs, take):
    """Of whole latent frames, zeros elsewhere; core would read 96 channels where it has 65."""
    tiny, positive, negative, latent = hunyuan_15_image()
    vision = positive[0][1]["clip_vision_output"]
    core = sampled(pack, tiny, positive, negative, latent).video.latents
    canvas = module("video.onto_canvas").Canvas.blank(
        pack.codec.codec_for(tiny.vae), 17, 32, 64, Fraction(24)
    )
    pinned = canvas.pin_image(pictures(), 0.0, "crop", vision)
    theirs = runs[0][2]
    ours = sampled(
        pack, tiny, tiny.positive, tiny.negative, pack.latent.to_latent(pinned)
    ).video.latents
    for name in ("concat_latent_image", "concat_mask"):
        mine = runs[1][2][name]
        assert torch.allclose(mine, theirs[name].expand(mine.shape), atol=1e-5)
    assert runs[1][2]["clip_vision_output"] is vision
    assert torch.equal(ours[:, :, :1], pinned.video.latents[:, :, :1])
    assert (ours - core)[:, :, 1:].abs().max() < 2 * core.std()  # what is kept is kept at each step

    inside = canvas.pin_image(pictures(), 6 / 24, "crop")  # its latent frame stands still
    sampled(pack, tiny, tiny.positive, tiny.negative, pack.latent.to_latent(inside))
    known = runs[2][2]["concat_mask"].amax(dim=(0, 1, 3, 4))
    assert known.tolist() == [1, 1, 0, 1, 1]
    assert torch.equal(runs[2][2]["concat_latent_image"][:, :, 2], inside.video.latents[:, :, 2])

    case = tiny, tiny.positive, tiny.negative, pack.latent.to_latent(pinned)
    made = take(case, *CASES[hunyuan_15_image][1:])[0]
    for name in ("concat_latent_image", "concat_mask"):
        mine = runs[3][2][name]
        assert torch.allclose(mine, theirs[name][:, :, :3].expand(mine.shape), atol=1e-5)
    assert runs[3][2]["clip_vision_output"] is vision
    assert torch.equal(made[:, :, :1], pinned.video.latents[:, :, :1])
    assert runs[4][2]["concat_mask"].amax(dim=(0, 1, 3, 4)).tolist() == [0, 0, 1]


def test_core_s_guides_are_shown_in_windows_at_their_own_time(comfyui, take, runs):
    case = ltx_guides()
    _, sampler = take(case, *CASES[ltx_guides][1:])
    guides, grid = sampler.recipe.guides, sampler.recipe.codec.grid
    assert len(guides) == case[3]["samples"].shape[2] - 5
    assert {guide.coordinates.shape[:3] for guide in guides} == {(1, 3, 8)}
    windows, seen = sampler.recipe.take.clips[0].windows, []
    for (_, latents, prompt), window in zip(runs, windows, strict=True):
        places, extra = prompt["keyframe_idxs"], latents.shape[2] - len(window.frames)
        seen.append(extra)
        if not extra:
            assert places is None
            continue
        assert places.shape[2] == extra * 8
        if places.ndim == 4:  # with the end of each, which a window before it does not move
            start = grid.begins(window.frames[0])
            ends = {float(guide.coordinates[0, 0, 0, 1]) for guide in guides}
            assert {float(place) + start for place in places[0, 0, :, 1]} <= ends
        if prompt.get("guide_attention_entries"):
            told = prompt["guide_attention_entries"]
            assert [entry["pre_filter_count"] for entry in told] == [8] * extra
            assert {entry["strength"] for entry in told} <= {0.6, 1.0}
    assert seen[0]
    assert seen[-1]
    assert sum(seen) >= len(guides)


def test_guides_whose_latents_are_not_there_are_refused(pack, comfyui, take):
    tiny, positive, negative, latent = ltx_guide()
    empty = {"samples": latent["samples"][:, :, :-1]}
    with pytest.raises(InputError, match="the LATENT does not end with them"):
        sampled(pack, tiny, positive, negative, empty)
    with pytest.raises(InputError, match="the LATENT does not end with them"):
        take((tiny, positive, negative, empty), 17, 9)


def test_guides_of_core_s_beside_pins_of_ours_are_refused(pack, comfyui):
    tiny, positive, negative, latent = ltx_guide()
    canvas = pack.latent.to_canvas(latent, pack.codec.codec_for(tiny.vae))
    pinned = pack.latent.to_latent(canvas.pin_image(pictures(128, 64), 0.5, "crop"), latent)
    with pytest.raises(InputError, match="pin all pictures with Pin Image"):
        sampled(pack, tiny, positive, negative, pinned)


def test_a_strength_below_1_is_for_sample(comfyui, take):
    with pytest.raises(InputError, match="set strength to 1, or connect it to Sample"):
        take(ltx_image(0.7), 17, 9)


def test_a_clip_among_keyframes_is_cut_at_its_blocks(comfyui):
    """And its sound at the tick, so that no window is shown what is outside of it."""
    parts_of = module("sampling.keyframes").parts_of
    clip = torch.arange(12.0).view(1, 1, 12, 1, 1)  # 39 frames
    sound = torch.arange(65.0).view(1, 1, 1, 65)
    keyframe = {"resolved_frame_index": 30, "latent": clip, "audio_latent": sound}

    def parts(start, stop):
        return [
            (p["resolved_frame_index"], (p.get("latent", p.get("audio_latent"))).flatten().tolist())
            for p in parts_of(keyframe, range(start, stop))
        ]

    whole = list(parts_of(keyframe, range(17, 90)))
    assert whole == [{**keyframe, "resolved_frame_index": 13}]
    assert parts(0, 56) == [(30, [0.0, *range(1, 7)]), (30, [float(n) for n in range(43)])]
    assert parts(34, 90) == [(13, [*map(float, range(5, 12))]), (0, [*map(float, range(7, 65))])]
    assert parts(0, 30) == parts(69, 90) == []


def test_core_s_nodes_take_what_ours_make(pack, comfyui):
    import nodes

    separate = of_core("nodes_lt", "LTXVSeparateAVLatent")
    for make in (models.ltxav, models.minimax_h3):
        tiny = make()
        codec = pack.codec.codec_for(tiny.vae)
        family = module("networks.settings").host_family_of(tiny.model)
        size = 2 * codec.grid.stride_hw, 4 * codec.grid.stride_hw
        frames = codec.grid.frames(12)
        canvas = module("sampling.sample").Canvas.blank(codec, frames, *size, codec.fps)
        canvas = canvas.with_sound(family.sound)
        rng = torch.Generator().manual_seed(1)
        canvas = canvas.pin_image(torch.rand(1, *size, 3, generator=rng), 0.0, "crop")
        latent = pack.latent.to_latent(canvas)
        made = tiny.sample(latent)
        known = streams_of(latent)[0][:, :, :1]
        assert torch.allclose(streams_of(made)[0][:, :, :1], known, atol=1e-5)
        assert [x.shape for x in streams_of(made)] == [x.shape for x in streams_of(latent)]
        ours = sampled(pack, tiny, tiny.positive, tiny.negative, latent)
        video, sound = separate(pack.latent.with_sampled(latent, ours)).args
        decoded = nodes.VAEDecode().decode(tiny.vae, video)[0]
        assert decoded.shape == (frames, *size, 3)
        assert tiny.decode_sound(sound).shape[-1] > 1000
        again = pack.latent.to_canvas(of_core("nodes_lt", "LTXVConcatAVLatent")(video, sound)[0])
        assert torch.equal(again.sound.latents, ours.sound.latents)
        assert again.fps == canvas.fps


@pytest.mark.parametrize("make", [models.wan21, models.wan22], ids=["text", "5B"])
def test_a_picture_in_the_prompts_of_a_model_for_text_is_refused(pack, comfyui, make):
    """Core leaves it out without a word."""
    tiny, fit = make(), module("sampling.fit")
    z = torch.zeros(1, tiny.vae.latent_channels, 3, 4, 4)
    shown = [[text, {**extras, "concat_latent_image": z}] for text, extras in tiny.positive]
    fit.check_fit(tiny.model, pack.conditioning.Prompts(tiny.positive, tiny.negative), z)
    with pytest.raises(InputError, match="has no channels for one: connect the prompts themselves"):
        fit.check_fit(tiny.model, pack.conditioning.Prompts(shown, tiny.negative), z)
    image = models.wan21_from_an_image()
    shown = pack.conditioning.Prompts(shown, tiny.negative)
    fit.check_fit(image.model, shown, z[:, :16])
