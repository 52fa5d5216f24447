"""Models that the host loads, through all that ours go through: core's own classes, tiny."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.canvas.noise import video_noise
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.storyboard import Shot
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError
from tests.host.peak import Peak
from tests.host.runs import module
from tests.host_models import (
    hunyuan_video,
    hunyuan_video_15,
    ltxav,
    ltxv,
    minimax_h3,
    wan21,
    wan21_from_an_image,
    wan22,
)

LEVELS = sigmas(2, 3.0)
# of each: its grid, what it is called, whether it is told the frame rate
KINDS = {
    ltxv: (CausalGrid(128, 8, 32, 1), "LTX-Video", True),
    hunyuan_video: (CausalGrid(16, 4, 8, 2), "HunyuanVideo", False),
    hunyuan_video_15: (CausalGrid(32, 4, 16, 1), "HunyuanVideo 1.5", False),
    wan21: (CausalGrid(16, 4, 8, 2), "Wan T2V 1.3B", False),
    wan22: (CausalGrid(48, 4, 16, 2), "Wan 2.2 TI2V 5B", False),
}


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def make(request, comfyui):
    return request.param


@pytest.fixture
def tiny(make):
    return make()


def blank(pack, tiny, latent_frames, fps=24, cells=(2, 4)):
    """An empty canvas of so many latent frames."""
    codec = pack.codec.codec_for(tiny.vae)
    height, width = (n * codec.grid.stride_hw for n in cells)
    frames = codec.grid.frames(latent_frames)
    return Canvas.blank(codec, frames, height, width, Fraction(fps))


def prompts(pack, tiny):
    return pack.conditioning.Prompts(tiny.positive, tiny.negative)


def sampling(pack, seed=5, cfg=1.5, sampler="euler"):
    return pack.sample.Sampling(LEVELS, seed, cfg, sampler)


def picture(canvas, seed):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(1, *canvas.size, 3, generator=rng)


def test_its_grid_and_what_it_was_made_for_are_found_out(pack, make, tiny):
    grid, title, _ = KINDS[make]
    codec = pack.codec.codec_for(tiny.vae)
    assert codec.grid == grid
    assert codec.grid.as_clip(codec.window) == codec.window
    assert 1 <= codec.past(codec.window) < codec.window
    said = pack.settings.described(tiny.model)
    assert said.startswith(f"{title}, loaded by the host")
    settings = pack.settings.settings_of(tiny.model)
    assert f"{settings.frames} frames at {settings.fps} fps" in said
    assert grid.latent_frames(settings.frames) > 1
    assert settings.width % grid.multiple == settings.height % grid.multiple == 0


def test_the_shift_is_that_of_its_levels(pack, make, tiny):
    """LTX's is a logarithm: at the same shift, the levels are those of core's own scheduler."""
    import comfy.samplers

    shift = pack.settings.shift_for(tiny.model)
    levels = tiny.model.get_model_object("model_sampling")
    core = comfy.samplers.calculate_sigmas(levels, "simple", 4)
    if make not in (ltxv, hunyuan_video, hunyuan_video_15):  # of Wan's, core sets another for all
        return
    assert torch.allclose(sigmas(4, shift), core, atol=3e-3)


def test_sampled_by_us_it_is_as_sampled_by_core_from_the_same_noise(pack, make, tiny):
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    canvas = blank(pack, tiny, 3)
    ours = pack.sample.sample(tiny.model, prompts(pack, tiny), canvas, sampling(pack))

    class Noise:
        seed = 5

        def generate_noise(self, latent):
            return video_noise(5, range(3), tuple(np.array(latent["samples"].shape)[[1, 3, 4]]))

    guider = module("sampling.sample").comfy.samplers.CFGGuider(tiny.model)
    rate = {"frame_rate": 24.0} if KINDS[make][2] else {}
    guider.set_conds(*prompts(pack, tiny).with_values(rate))
    guider.set_cfg(1.5)
    sampler = module("sampling.sample").comfy.samplers.sampler_object("euler")
    latent = pack.latent.to_latent(canvas)
    core = SamplerCustomAdvanced.execute(Noise(), guider, sampler, LEVELS, latent)[0]["samples"]
    assert torch.allclose(ours, core, atol=1e-5)
    assert ours.std() > 0.1


@pytest.mark.parametrize(
    "make_one",
    [ltxv, ltxav, hunyuan_video, hunyuan_video_15, wan21, wan21_from_an_image, minimax_h3],
)
def test_a_region_is_sampled_and_what_is_around_it_stays(pack, comfyui, make_one):
    tiny, regions = make_one(), module("video.regions")
    grid = pack.codec.codec_for(tiny.vae).grid
    height, width = 2 * grid.multiple, 3 * grid.multiple
    frames, rng = grid.frames(grid.as_clip(3)), torch.Generator().manual_seed(4)
    clip = torch.rand(frames, height, width, 3, generator=rng)
    mask = torch.zeros(height, width)
    mask[: grid.multiple // 2, : grid.multiple] = 1
    canvas = regions.with_region(regions.clip_of(clip, tiny.vae, 24.0), tiny.vae, mask)
    sampled = pack.sample.sampled_canvas(tiny.model, prompts(pack, tiny), canvas, sampling(pack))
    before, after = canvas.video.latents, sampled.video.latents
    kept = (canvas.video.mask == 0).expand_as(before)
    assert kept.float().mean() == pytest.approx(5 / 6)
    assert torch.equal(after[kept], before[kept])
    assert (after[~kept] - before[~kept]).abs().mean() > 0.1


def test_it_is_told_the_frame_rate_of_the_canvas(pack, make, tiny):
    made = [
        pack.sample.sample(
            tiny.model, prompts(pack, tiny), blank(pack, tiny, 3, fps), sampling(pack)
        )
        for fps in (24, 12)
    ]
    assert torch.equal(*made) != KINDS[make][2]


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_a_clip_is_made_longer_and_stays_as_it_was(pack, make, tiny, direction):
    canvas = blank(pack, tiny, 4)
    canvas = canvas.pin_image(picture(canvas, 1), 0.0, "crop")
    clip = pack.sample.sample(tiny.model, prompts(pack, tiny), canvas, sampling(pack))
    assert torch.equal(clip[:, :, :1], canvas.video.latents[:, :, :1])

    codec = canvas.codec
    clip = pack.latent.to_canvas({"samples": clip}, codec)
    second = float(codec.grid.stride_t * 3 / clip.timeline.fps)
    window = float(codec.grid.stride_t * 4 / clip.timeline.fps)
    longer = clip.extend(direction, second, overlap=window / 2, window=window)
    assert len(longer.windows) > 1
    made = pack.sample.sample(tiny.model, prompts(pack, tiny), longer, sampling(pack))
    known = longer.video.known
    assert torch.equal(made[:, :, known], longer.video.latents[:, :, known])
    anew = [k for k in range(made.shape[2]) if k not in known]
    assert made[:, :, anew].std() > 0.1
    assert made.isfinite().all()


def test_a_gap_and_a_bridge_see_both_sides(pack, make, tiny):
    canvas = blank(pack, tiny, 5)
    clip = pack.sample.sample(tiny.model, prompts(pack, tiny), canvas, sampling(pack))
    clip = pack.latent.to_canvas({"samples": clip}, canvas.codec)
    seconds = float(canvas.codec.grid.stride_t / clip.timeline.fps)
    for longer in (clip.bridge(clip, seconds), clip.loop(seconds)):
        made = pack.sample.sample(tiny.model, prompts(pack, tiny), longer, sampling(pack))
        known = longer.video.known
        assert torch.equal(made[:, :, known], longer.video.latents[:, :, known])
        assert len(known) < made.shape[2]


def test_decoded_at_once_it_is_as_core_decodes_it(pack, make, tiny):
    decoder = module("video.decoder").VideoDecoder(tiny.vae)
    canvas = blank(pack, tiny, 4)
    z = pack.sample.sample(tiny.model, prompts(pack, tiny), canvas, sampling(pack))
    frames = torch.cat(list(decoder.frames([z], z.shape[2])))
    core = tiny.decode({"samples": z})
    assert frames.shape == core.shape
    assert (frames.float() - core * 255).abs().max() <= 1.5
    assert not decoder.note
    assert torch.allclose(pack.vae.decode_frames(tiny.vae, z), core, atol=2e-3)


def test_decoded_in_pieces_the_seams_are_measured(pack, make, tiny):
    video = module("video.decoder")
    z = torch.randn(
        1, tiny.vae.latent_channels, 40, 2, 2, generator=torch.Generator().manual_seed(0)
    )
    whole, pieces = video.VideoDecoder(tiny.vae), video.VideoDecoder(tiny.vae)
    at_once = torch.cat(list(whole.frames([z], 40))).float()
    parts = torch.cat(list(pieces.frames(z.split([14, 13, 13], dim=2), 40))).float()
    assert parts.shape == at_once.shape
    if pack.vae.streams(tiny.vae):
        assert torch.equal(parts, at_once)
        assert not pieces.note
    else:
        assert pieces.seams.count == 2
        assert "decoded in 3 pieces; where they meet they differ by" in pieces.note
        apart = (parts - at_once).abs()
        assert apart.mean() <= 3 * pieces.seams.mean


def test_where_memory_does_not_suffice_it_is_decoded_in_tiles(pack, make, tiny, monkeypatch):
    """A card says so; a CPU's system would end us, so its estimate counts."""
    video = module("video.decoder")
    if video.pours(tiny.vae) or pack.vae.streams(tiny.vae):
        pytest.skip("it holds a few frames only")
    stride = tiny.vae.spacial_compression_decode()
    size = (1, tiny.vae.latent_channels, 3, 4, 320 // stride)
    z = torch.randn(size, generator=torch.Generator().manual_seed(0))
    network, calls = tiny.vae.first_stage_model, []
    real = network.decode
    by_card = video.VideoDecoder(tiny.vae)

    def decode(z):
        calls.append(z.shape[4])
        if z.shape[4] > 256 // stride:
            raise torch.cuda.OutOfMemoryError
        return real(z)

    whole = torch.cat(list(video.VideoDecoder(tiny.vae).frames([z], 3)))
    monkeypatch.setattr(network, "decode", decode)
    monkeypatch.setattr(video.mm, "get_total_memory", lambda *_: 1.0)
    tiled = [torch.cat(list(video.VideoDecoder(tiny.vae).frames([z], 3)))]
    assert calls == [256 // stride] * 2
    monkeypatch.setattr(video.VideoDecoder, "_fits", lambda *_: True)
    tiled.append(torch.cat(list(by_card.frames([z], 3))))
    assert calls[2:] == [320 // stride, *calls[:2]]
    assert "short of memory: in tiles, which differ by" in by_card.note
    assert torch.equal(*tiled)
    assert (tiled[0].float() - whole).abs().mean() < 3 * by_card.tiles.mean + 1


@pytest.mark.parametrize("of", [ltxv, minimax_h3], ids=lambda of: of.__name__)
def test_a_network_that_pours_is_tried_whatever_core_estimates(pack, comfyui, of, monkeypatch):
    """Core's estimate is of the whole video; without pieces it would hold all pixels as numbers."""
    video, tiny = module("video.decoder"), of()
    if not video.pours(tiny.vae):
        pytest.skip("this host's gives all pixels at once")
    size = (1, tiny.vae.latent_channels, 12, 2, 4)
    z = torch.randn(size, generator=torch.Generator().manual_seed(0))

    def decoded():
        return torch.cat(list(video.VideoDecoder(tiny.vae).frames([z], 12)))

    fits = decoded()
    monkeypatch.setattr(tiny.vae, "memory_used_decode", lambda *_: float("inf"))
    with Peak() as peak:  # of this thread; the network works in another one
        made = decoded()
    assert torch.equal(made, fits)
    assert peak.most < 3 * made.nbytes  # of which numbers, 4 bytes each, would take 4 alone


def test_a_longer_video_takes_no_more_memory_to_decode(pack, make, tiny):
    video = module("video.decoder")
    if video.pours(tiny.vae):
        return  # in a thread, where nothing counts

    def most(length):
        z = torch.zeros(1, tiny.vae.latent_channels, length, 2, 2)
        with Peak() as peak:
            for _ in video.VideoDecoder(tiny.vae).frames(z.split(7, dim=2), length):
                pass
        return peak.most

    most(7)
    assert most(42) < 1.05 * most(21)


@pytest.fixture
def studio(pack, make, tiny, tmp_path):
    """Takes of three windows in two shots, sampled into a folder of their own."""
    recipes, boards, takes = (
        module(f"take.{name}") for name in ("recipe", "storyboards", "long_take")
    )
    grid = KINDS[make][0]
    size = recipes.TakeSize(Fraction(0), Fraction(0), 4 * grid.stride_hw, 2 * grid.stride_hw)

    def recipe(vae=tiny.vae, seed=5, **more):
        length = Fraction(grid.frames(9), 24)
        shots = tuple(
            Shot(start, f"shot {i}", where=f"shot {i}")
            for i, start in enumerate((Fraction(0), length * 2 / 3))
        )
        texts = (tiny.positive, tiny.negative)
        board = boards.Board(shots, texts, texts[0], length, Fraction(24))
        asked = recipes.WindowsAsked(grid.frames(4), grid.frames(2), **more)
        levels = sampling(pack, seed)
        return recipes.recipe_for(tiny.model, vae, board, tiny.negative, size, asked, levels)

    def sampler(made):
        return takes.TakeSampler(made, WindowStore(tmp_path))

    recipe.sampler = sampler
    return recipe


def test_a_take_of_shots_and_windows_goes_on_where_it_was(pack, studio):
    made = studio()
    assert made.take.windows == 4
    first = [torch.cat(list(studio.sampler(made).windows(n)), dim=2) for n in range(2)]
    again = studio.sampler(studio())
    assert again.missing == 0
    assert all(torch.equal(torch.cat(list(again.windows(n)), dim=2), first[n]) for n in range(2))
    assert studio.sampler(studio(seed=6)).missing == 4
    frames = torch.cat(list(again.frames(0)))
    assert len(frames) >= made.take.clips[0].frames
    assert frames.float().std() > 1


def test_shots_that_share_a_window_need_a_model_that_hears_them_apart(studio):
    with pytest.raises(InputError, match="one text for all frames"):
        studio(sharing="together")


def test_a_model_and_a_vae_of_two_kinds_are_refused_before_sampling(pack, make, tiny, studio):
    other = wan22() if make is not wan22 else ltxv()
    canvas = blank(pack, other, 2)
    said = rf"{canvas.codec.grid.channels} channels, but this model \(.*\) generates"
    with pytest.raises(InputError, match=said):
        pack.sample.sample(tiny.model, prompts(pack, tiny), canvas, sampling(pack))
    with pytest.raises(InputError, match=said):
        studio(vae=other.vae)


# Pictures between latent frames


def between(pack, tiny, latent_frames=4, fps=24):
    """A canvas with a picture inside its third latent frame, and where it is."""
    canvas = blank(pack, tiny, latent_frames, fps)
    frame = canvas.codec.grid.first_frame(2) + 1
    return canvas.pin_image(picture(canvas, 1), frame / fps, "crop"), frame


def test_a_picture_that_fills_no_latent_frame_is_a_guide_as_core_s_node_makes_it(pack, comfyui):
    """LTX: the same conditioning, latents and result as with core's LTXVAddGuide and CropGuides."""
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
    from comfy_extras.nodes_lt import LTXVAddGuide, LTXVCropGuides

    tiny = ltxv()
    canvas, frame = between(pack, tiny)
    ours = pack.sample.sample(tiny.model, prompts(pack, tiny), canvas, sampling(pack))

    empty = {"samples": torch.zeros(1, 128, 4, 2, 4)}
    positive, negative, latent = LTXVAddGuide.execute(
        tiny.positive, tiny.negative, tiny.vae, empty, picture(canvas, 1), frame, 1.0
    )
    noise = video_noise(5, range(4), (128, 2, 4))

    class Noise:
        seed = 5

        def generate_noise(self, latent):
            return torch.cat((noise, torch.zeros(1, 128, 1, 2, 4)), dim=2)

    samplers = module("sampling.sample").comfy.samplers
    guider = samplers.CFGGuider(tiny.model)
    both = pack.conditioning.Prompts(positive, negative)
    guider.set_conds(*both.with_values({"frame_rate": 24.0}))
    guider.set_cfg(1.5)
    euler = samplers.sampler_object("euler")
    core = SamplerCustomAdvanced.execute(Noise(), guider, euler, LEVELS, latent)[0]
    core = LTXVCropGuides.execute(positive, negative, core)[2]["samples"]
    assert core.shape == ours.shape
    assert torch.allclose(ours, core, atol=1e-5)
    plain = pack.sample.sample(
        tiny.model, prompts(pack, tiny), blank(pack, tiny, 4), sampling(pack)
    )
    assert not torch.allclose(ours, plain, atol=1e-3)


def test_a_guide_is_shown_in_the_windows_that_hold_its_frame(pack, comfyui):
    tiny = ltxv()
    canvas, frame = between(pack, tiny, 8)
    guides = module("sampling.guides").guides_for(tiny.model, canvas.pins)
    assert list(guides.pictures) == [frame]
    shown = {}
    for start in range(6):
        window = range(start, start + 3)
        asked, beside = guides.beside(window, prompts(pack, tiny))
        if beside is None:
            assert asked == prompts(pack, tiny)
            continue
        assert beside.latents.shape == (1, 128, 1, 2, 4)
        where = asked.positive[0][1]["keyframe_idxs"][0, 0]
        shown[start] = where.min().item() + 8 * start
    # Shown from the window that ends with its latent frame to the one whose first, of which a model
    # is shown the last pixel frame only, is the one before.
    assert shown == dict.fromkeys(range(2), frame)


def test_a_shot_s_picture_and_a_guide_are_kept_apart_in_a_take(pack, comfyui, tmp_path):
    recipes, boards, takes = (
        module(f"take.{name}") for name in ("recipe", "storyboards", "long_take")
    )
    tiny = ltxv()
    canvas, _ = between(pack, tiny, 7)
    board = boards.Board(
        (Shot(Fraction(0), "one", where="one"),),
        (tiny.positive,),
        tiny.positive,
        Fraction(canvas.timeline.frames, 24),
        Fraction(24),
    )
    size = recipes.TakeSize(Fraction(0), Fraction(0), 128, 64)
    asked = recipes.WindowsAsked(25, 9)

    def sampled(latent):
        made = recipes.recipe_for(
            tiny.model, tiny.vae, board, tiny.negative, size, asked, sampling(pack), canvas=latent
        )
        sampler = takes.TakeSampler(made, WindowStore(tmp_path))
        return torch.cat(list(sampler.windows(0)), dim=2), sampler

    with_guide, sampler = sampled(pack.latent.to_latent(canvas))
    assert sampler.recipe.known[0].latents == {}
    plain, other = sampled(pack.latent.to_latent(blank(pack, tiny, 7)))
    assert with_guide.shape == plain.shape
    assert not torch.allclose(with_guide, plain, atol=1e-3)
    assert set(sampler.keys[0].values()).isdisjoint(other.keys[0].values())
    again, _ = sampled(pack.latent.to_latent(canvas))
    assert torch.equal(again, with_guide)


def test_the_vae_of_another_maker_is_refused_for_a_take_though_its_latents_are_alike(pack, comfyui):
    """HunyuanVideo's and Wan 2.1's have 16 channels on one grid each."""
    check = module("take.recipe").check_maker
    hunyuan, wan = hunyuan_video(), wan21()
    check(hunyuan.model, hunyuan.vae)
    check(wan.model, wan.vae)
    with pytest.raises(InputError, match="one of Wan's, and HunyuanVideo was trained with another"):
        check(hunyuan.model, wan.vae)
    with pytest.raises(InputError, match="not one of Wan's, and Wan T2V 1.3B was trained with one"):
        check(wan.model, hunyuan.vae)


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        (None, "Wan 2.2 I2V A14B, loaded by the host\n40 steps, shift 5, cfg 3.5"),
        (0, "Wan 2.1 I2V 14B, loaded by the host\n40 steps, shift 5 (3 at 480p), cfg 5"),
        (514, "Wan 2.1 FLF2V 14B, loaded by the host\n50 steps, shift 16, cfg 5"),
    ],
)
def test_wan_s_checkpoints_for_images_are_told_apart_by_what_they_read(
    pack, comfyui, positions, said
):
    """Those of 2.2 have no layers for CLIP vision; 2.1's for first and last frames read two."""
    from comfy.ldm.wan.model import MLPProj

    tiny = wan21_from_an_image()
    if positions is not None:
        operations = {"operations": torch.nn, "device": None, "dtype": None}
        vision = MLPProj(1280, 48, positions or None, operation_settings=operations)
        tiny.model.model.diffusion_model.img_emb = vision
    assert pack.settings.described(tiny.model).startswith(said)


def test_two_experts_that_core_has_loaded_are_wan_22_s(pack, comfyui):
    """Their levels, and what a cfg of 0 is; one of them alone could be 2.1's."""
    high, low = (wan21().model for _ in range(2))
    for model in (high, low):
        model.model.diffusion_model.dim = 5120
    assert pack.settings.shift_for(high) == 5.0
    both = pack.experts.pair(high, low, 0, 0, 0)
    assert pack.settings.shift_for(both) == 12.0
    experts = pack.experts.experts_of(both)
    assert (experts.boundary, experts.cfg_high, experts.cfg_low) == (0.875, 4.0, 3.0)
    image = wan21_from_an_image().model
    experts = pack.experts.experts_of(pack.experts.pair(image, image.clone(), 0, 0, 0))
    assert (experts.boundary, experts.cfg_high, experts.cfg_low) == (0.9, 3.5, 3.5)
