"""Long Take as SVI 2.0 Pro's LoRAs were trained: against its clips made one by one by core."""

import importlib
from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.noise import video_noise
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.anchor import SVI
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError
from tests.host_models import hunyuan_video_15, wan21, wan21_from_an_image
from tests.host_models.build import as_the_host_takes_masks

LEVELS = sigmas(2, 3.0)
CELL = 16, 2, 4


@pytest.fixture
def take(pack, tmp_path):
    recipes, boards, samplers = (
        importlib.import_module(f"longtake.host.take.{name}")
        for name in ("recipe", "storyboards", "sampler")
    )

    def of(tiny, frames=33, canvas=None, window=13, overlap=0, anchor=SVI):
        size = recipes.TakeSize(Fraction(frames, 16), Fraction(16), 32, 16)
        made = recipes.recipe_for(
            tiny.model,
            tiny.vae,
            boards.one_shot(tiny.positive),
            tiny.negative,
            size,
            recipes.WindowsAsked(window, overlap, anchor=anchor),
            pack.sample.Sampling(LEVELS, 5, 1.5),
            canvas=canvas,
        )
        return samplers.TakeSampler(made, WindowStore(tmp_path))

    return of


def with_picture(pack, tiny):
    codec = pack.codec.codec_for(tiny.vae)
    canvas = Canvas.blank(codec, 33, 16, 32, Fraction(16))
    picture = torch.rand(1, 16, 32, 3, generator=torch.Generator().manual_seed(1))
    return canvas.pin_image(picture, 0.0, "crop")


def clip_by_core(tiny, frames, anchor, before=None, known=False):
    """One clip by core's own sampler, with channels as the author of SVI 2.0 Pro describes them.

    Args:
        frames: whose noise it begins with.
        anchor: (1, 16, 1, 2, 4) latents of the picture.
        before: (1, 16, n, 2, 4), the last latents of the clip before; None for the first clip.
        known: the picture stays as it is, as Long Take has it.
    """
    from comfy.latent_formats import Wan21
    from comfy.samplers import CFGGuider, sampler_object
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    shown = anchor if before is None else torch.cat((anchor, before), dim=2)
    rest = Wan21().process_out(torch.zeros(1, 16, len(frames) - shown.shape[2], 2, 4))
    unknown = torch.ones(1, 1, len(frames), 2, 4)
    unknown[:, :, 0] = 0
    values = {"concat_latent_image": torch.cat((shown, rest), dim=2), "concat_mask": unknown}
    prompts = ([[t, {**e, **values}] for t, e in p] for p in (tiny.positive, tiny.negative))

    class Noise:
        seed = 5

        def generate_noise(self, _):
            return video_noise(5, frames, CELL)

    latent = {"samples": torch.zeros(1, 16, len(frames), 2, 4)}
    if known:
        latent["samples"][:, :, :1] = anchor
        latent["noise_mask"] = unknown
    guider = CFGGuider(tiny.model)
    guider.set_conds(*prompts)
    guider.set_cfg(1.5)
    asked = Noise(), guider, sampler_object("euler"), LEVELS, as_the_host_takes_masks(latent)
    return SamplerCustomAdvanced.execute(*asked)[0]["samples"]


@pytest.mark.parametrize("overlap", [0, 9])
def test_windows_are_the_clips_that_core_makes_one_by_one(pack, take, overlap):
    tiny = wan21_from_an_image()
    canvas, back = with_picture(pack, tiny), 3 if overlap else 2
    anchor = canvas.video.latents[:, :, :1]
    sampler = take(tiny, canvas=pack.latent.to_latent(canvas), overlap=overlap)
    made = torch.cat(list(sampler.windows(0)), dim=2)

    joined = clip_by_core(tiny, range(4), anchor, known=True)
    while joined.shape[2] < 9:
        start = joined.shape[2] - back
        more = clip_by_core(tiny, range(start, start + 4), anchor, joined[:, :, 1 - back :])
        joined = torch.cat((joined, more[:, :, back:]), dim=2)
    assert made.shape == joined.shape
    assert torch.allclose(made, joined, atol=1e-5)
    assert torch.equal(made[:, :, :1], anchor)


def test_all_windows_are_as_long_and_a_take_ends_where_it_should(pack, take):
    """The last is not slid back, which would show the LoRA a longer past than it knows."""
    sampler = take(wan21_from_an_image(), frames=33)
    (clip,) = sampler.recipe.take.clips
    assert [(len(w.frames), w.context) for w in clip.windows] == [(4, 0), (4, 2), (4, 2), (4, 2)]
    assert (clip.latent_frames, clip.frames) == (10, 33)
    short = take(wan21_from_an_image(), frames=9).recipe.take.clips[0]
    assert [(len(w.frames), w.context) for w in short.windows] == [(3, 0)]


def test_without_a_picture_the_first_frame_that_was_sampled_is_the_anchor(take, monkeypatch):
    import comfy.samplers

    shown, real = [], comfy.samplers.CFGGuider.set_conds

    def set_conds(self, positive, negative):
        shown.append(positive[0][1])
        return real(self, positive, negative)

    monkeypatch.setattr(comfy.samplers.CFGGuider, "set_conds", set_conds)
    tiny = wan21_from_an_image()
    made = torch.cat(list(take(tiny).windows(0)), dim=2)
    zeros = tiny.model.model.process_latent_in(shown[0]["concat_latent_image"])
    assert zeros.abs().max() < 1e-5
    assert shown[0]["concat_mask"].eq(1).all()
    for n, extras in enumerate(shown[1:]):
        image, mask = extras["concat_latent_image"], extras["concat_mask"]
        assert torch.equal(image[:, :, 0], made[:, :, 0])
        assert torch.equal(image[:, :, 1], made[:, :, 3 + 2 * n])
        assert mask.amax(dim=(0, 1, 3, 4)).tolist() == [0, 1, 1, 1]


def test_core_s_start_image_is_the_anchor(pack, take):
    from comfy_extras.nodes_wan import WanImageToVideo

    tiny = wan21_from_an_image()
    pinned = with_picture(pack, tiny)
    canvas = pack.latent.to_latent(pinned)
    by_pin = torch.cat(list(take(tiny, canvas=canvas).windows(0)), dim=2)
    picture = torch.rand(1, 16, 32, 3, generator=torch.Generator().manual_seed(1))
    given = WanImageToVideo.execute(
        tiny.positive, tiny.negative, tiny.vae, 32, 16, 33, 1, start_image=picture
    ).args
    tiny.positive, tiny.negative = given[:2]
    # Encoded with what follows it, or by itself: equal but for rounding, as it is causal.
    by_core = torch.cat(list(take(tiny, canvas=canvas).windows(0)), dim=2)
    assert torch.allclose(by_core, by_pin, atol=1e-3)


def test_it_is_for_wan_s_image_to_video_files(take):
    for make in (wan21, hunyuan_video_15):
        with pytest.raises(InputError, match="SVI 2.0 Pro is for Wan's image-to-video files"):
            take(make())
    with pytest.raises(InputError, match="nothing to go on from: choose 5"):
        take(wan21_from_an_image(), overlap=1)
