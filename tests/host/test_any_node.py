"""Nodes that change how a model samples, around every family that the host loads: what is done as
core does it, and what is refused in a line."""

from fractions import Fraction

import pytest
import torch

from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from tests import host_models as models
from tests.host.runs import module, windowed
from tests.host_models.build import as_the_host_takes_masks, streams_of

LEVELS = sigmas(2, 3.0)
WITH_SOUND = models.ltxav, models.minimax_h3
FAMILIES = (
    *(models.ltxv, models.hunyuan_video, models.hunyuan_video_15),
    *(models.wan21, models.wan21_from_an_image, models.wan22, *WITH_SOUND),
)


@pytest.fixture(params=FAMILIES, ids=lambda make: make.__name__)
def make(request, comfyui):
    return request.param


def blank(pack, make, tiny):
    """An empty LATENT of seven latent frames, with sound where the model makes some."""
    if make is models.minimax_h3:
        return models.minimax_latent(64, 64, 22)
    if make is models.ltxav:
        return models.ltxav_latent(64, 64, 49)
    codec = pack.codec.codec_for(tiny.vae)
    size = 2 * codec.grid.stride_hw, 2 * codec.grid.stride_hw
    canvas = module("sampling.sample").Canvas.blank(
        codec, codec.grid.frames(7), *size, Fraction(24)
    )
    return pack.latent.to_latent(canvas)


def sampled(pack, tiny, model, latent, sampler="euler", levels=LEVELS):
    prompts = pack.conditioning.Prompts(tiny.positive, tiny.negative)
    settings = pack.sample.Sampling(levels, 5, 1.5, sampler)
    canvas = pack.sample.sampled_canvas(model, prompts, pack.latent.to_canvas(latent), settings)
    return streams_of(pack.latent.with_sampled(latent, canvas))


def by_core(pack, tiny, model, latent, noise, levels=LEVELS):
    from comfy.samplers import CFGGuider, sampler_object
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    class Noise:
        seed = 5

        def generate_noise(self, latent):
            return latent["samples"] * 0 if noise is None else noise

    guider = CFGGuider(model)
    rate = module("sampling.sample").with_rate
    prompts = pack.conditioning.Prompts(tiny.positive, tiny.negative)
    guider.set_conds(*rate(prompts, tiny.model, pack.latent.to_canvas(latent).fps))
    guider.set_cfg(1.5)
    asked = Noise(), guider, sampler_object("euler"), levels, as_the_host_takes_masks(latent)
    return SamplerCustomAdvanced.execute(*asked)[0]


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # core's own
def test_core_s_context_windows_do_what_they_do_in_core(pack, make, runs):
    """Or are refused, where the host would leave sound, or the channels for a picture, whole."""
    import comfy.context_windows

    tiny = make()
    latent, model = blank(pack, make, tiny), windowed(tiny.model)
    pictures = models.hunyuan_video_15, models.wan21_from_an_image
    older = not hasattr(comfy.context_windows, "WindowingState")
    if make is models.minimax_h3 or (older and make in (models.ltxav, *pictures)):
        with pytest.raises(InputError, match="do not cut the (sound|picture) of .* to a window"):
            sampled(pack, tiny, model, latent)
        return
    ours = sampled(pack, tiny, model, latent)
    theirs = streams_of(by_core(pack, tiny, model, latent, runs[0][0]))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=2e-5)
    whole = sampled(pack, tiny, tiny.model, latent)
    assert not torch.allclose(ours[0], whole[0], atol=1e-3)


def test_diffusion_forcing_is_for_those_that_take_a_level_for_each_frame(pack, make):
    tiny = make()
    latent = blank(pack, make, tiny)
    sampler = module("sampling.forcing").forcing(1, 1, 0.0)
    if make is models.wan22:
        (made,) = sampled(pack, tiny, tiny.model, latent, sampler)
        assert made.isfinite().all()
        assert made.std() > 0.1
        return
    with pytest.raises(
        InputError, match=r"this model \(.*\) was not made for that: choose another"
    ):
        sampled(pack, tiny, tiny.model, latent, sampler)


def test_experts_are_wan_s(pack, make, runs):
    """Of core's own, one run of both is what core samples in two, where nothing is known."""
    pair = module("sampling.experts").pair
    tiny = make()
    if not make.__name__.startswith("wan"):
        with pytest.raises(InputError, match="is no video model of the Wan family"):
            pair(tiny.model, tiny.model, 0.0, 1.5, 1.5)
        return
    low, latent, levels = make(seed=7), blank(pack, make, tiny), sigmas(4, 3.0)
    both = pair(tiny.model, low.model, float(levels[2]) + 0.01, 1.5, 1.5)
    (ours,) = sampled(pack, tiny, both, latent, levels=levels)
    half = by_core(pack, tiny, tiny.model, latent, runs[0][0], levels[:3])
    theirs = by_core(pack, low, low.model, half, None, levels[2:])["samples"]
    assert torch.allclose(ours, theirs, atol=2e-5)
    assert not torch.allclose(ours, sampled(pack, tiny, tiny.model, latent, levels=levels)[0])
