"""ComfyUI 0.3.75's known faults around video models, and that ours stay clear of them."""

import pytest
import torch

from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.host import runs
from tests.host.conftest import random_weights
from tests.host.runs import SHAPE, ksampler, latents, prompt, seen, windowed

FIVE = (1, 6, 7, 4, 6)


def keeping(source, *frames):
    mask = torch.ones(1, 1, source.shape[2], 1, 1)
    mask[:, :, list(frames)] = 0
    return {"samples": source, "noise_mask": mask}


def test_easycache_leaves_the_samplers_tensor_alone(model):
    """It adds to the network's input in place, which in float32 is the sampler's own tensor."""
    from comfy.patcher_extension import WrappersMP

    def spoil(executor, x, *args, **kwargs):
        out = executor(x, *args, **kwargs)
        x += 100.0
        return out

    clone = model.clone()
    clone.model_options["transformer_options"]["easycache"] = None  # as if it were on
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "spoil", spoil)
    assert torch.equal(ksampler(clone), ksampler(model))


def test_easycache_skips_steps_and_comes_close(model):
    from comfy_extras.nodes_easycache import EasyCacheNode

    cached = EasyCacheNode.execute(model, 0.2, 0.1, 0.95, False)[0]
    with seen(cached, lambda *_, **__: None) as calls:
        quick = ksampler(cached, steps=12, cfg=1.0)

    exact = ksampler(model, steps=12, cfg=1.0)
    assert len(calls) <= 12
    assert (quick - exact).norm() / exact.norm() < 0.2


indexing = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # core's own


@indexing
@pytest.mark.parametrize("schedule", ["standard_static", "batched"])
def test_context_windows_with_known_frames(model, schedule):
    patched, source = windowed(model, schedule), latents(8, FIVE)
    with seen(patched, lambda x, level, *_, **__: (x.shape[2], level)) as calls:
        out = ksampler(patched, latent_image=keeping(source, 0), steps=2)

    assert {frames for frames, _ in calls} == {3} or schedule == "batched"
    assert all(level.shape[1] == frames for frames, level in calls)
    assert any(not level[:, 0].any() for _, level in calls)  # the window with the known frame
    assert any(level.all() for _, level in calls)  # and those without
    torch.testing.assert_close(out[:, :, :1], source[:, :, :1], rtol=0, atol=1e-6)


def wan_like(pack, **sizes):
    """A MODEL of random weights with latents of 16 channels."""
    config = DiTConfig(
        width=32, depth=1, heads=2, mlp_width=16, text_width=24, text_length=8, **sizes
    )
    weights = random_weights(WanDiT(config), 4)
    latent_format = pack.latent_format.format_for(config, built_in=False)
    return pack.transformer.build_model(config, weights, latent_format, torch.float32, "test")


def empty_windowed(model, **values):
    """Core's sampler on seven empty latent frames, in context windows, both prompts with values."""
    prompts = {"positive": prompt(model, 1, **values), "negative": prompt(model, 2, **values)}
    return ksampler(
        model, steps=1, latent_image={"samples": torch.zeros(1, 16, 7, 4, 6)}, **prompts
    )


@indexing
def test_context_windows_with_image_channels(pack):
    patched = windowed(wan_like(pack, in_channels=36))
    shape = (1, 16, 7, 4, 6)
    image = {"concat_latent_image": latents(4, shape), "concat_mask": torch.zeros(1, 1, 7, 4, 6)}
    with seen(patched, lambda x, *_, **__: x.shape) as shapes:
        empty_windowed(patched, **image)
    assert set(shapes) == {(2, 36, 3, 4, 6)}


@indexing
def test_context_windows_with_references(pack):
    """Reference frames, as Phantom's nodes give them, follow every window whole."""
    patched = windowed(wan_like(pack, in_channels=16))
    reference = latents(4, (1, 16, 1, 4, 6))
    with seen(patched, lambda x, t, text, clip, references, *_, **__: references) as calls:
        empty_windowed(patched, time_dim_concat=reference)
    assert len(calls) > 1
    assert all(found.shape == (2, 16, 1, 4, 6) for found in calls)


def sample(pack, model, latent, steps=4, sampler="euler", cfg=3.0, **settings):
    from longtake.engine.sampling.schedule import sigmas

    levels = settings.pop("sigmas", None)
    levels = sigmas(steps, 3.0) if levels is None else levels
    pair = prompt(model, 1), prompt(model, 2)
    given = {"seed": 11, "cfg": cfg, "sampler": sampler, **settings}
    return runs.sample(pack, model, *pair, latent, levels, **given)["samples"]


def test_uni_pc_does_not_change_our_sigmas(pack, model):
    from longtake.engine.sampling.schedule import sigmas

    levels = sigmas(5, 3.0)
    before = levels.clone()
    sample(pack, model, {"samples": torch.zeros(SHAPE)}, sampler="uni_pc", sigmas=levels)
    assert torch.equal(levels, before)


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpmpp_2m", "euler_ancestral"])
def test_known_frames_come_back_bit_for_bit(pack, model, sampler):
    source = latents(8, FIVE)
    out = sample(pack, model, keeping(source, 0, 3, 6), sampler=sampler)
    assert torch.equal(out[:, :, [0, 3, 6]], source[:, :, [0, 3, 6]])
    assert (out[:, :, [1, 2, 4, 5]] - source[:, :, [1, 2, 4, 5]]).abs().mean() > 0.1


def test_known_frames_survive_two_stages(pack, model):
    """As Wan 2.2's two experts are run: core's pair of KSamplerAdvanced destroys them."""
    from comfy_extras import nodes_custom_sampler as core

    from longtake.engine.sampling.schedule import sigmas

    source, levels = latents(8, FIVE), sigmas(4, 3.0)
    first = sample(pack, model, keeping(source, 0), sigmas=levels[:3])
    guider = core.CFGGuider.execute(model, prompt(model, 1), prompt(model, 2), 3.0)[0]
    second = core.SamplerCustomAdvanced.execute(
        core.DisableNoise.execute()[0],
        guider,
        core.KSamplerSelect.execute("euler")[0],
        levels[2:],
        keeping(first, 0),
    )[0]["samples"]

    torch.testing.assert_close(second[:, :, :1], source[:, :, :1], rtol=0, atol=1e-5)
    whole = sample(pack, model, keeping(source, 0), sigmas=levels)
    torch.testing.assert_close(second, whole, rtol=1e-3, atol=1e-3)


def test_a_mask_on_pixels_keeps_what_it_says(pack, model):
    """Core stretches it in time, and the one kept frame of 9 is lost."""
    import comfy.utils

    import nodes

    source = latents(8, SHAPE)
    pixels = torch.ones(9, 40, 56)
    pixels[0] = 0
    latent = nodes.SetLatentNoiseMask().set_mask({"samples": source}, pixels)[0]

    assert comfy.utils.reshape_mask(latent["noise_mask"], SHAPE)[:, :, 0].min() > 0.3  # core
    out = sample(pack, model, latent)
    assert torch.equal(out[:, :, :1], source[:, :, :1])
    assert (out[:, :, 1:] - source[:, :, 1:]).abs().mean() > 0.1


def test_process_output_works_in_place(vae):
    """Newer hosts ignore what it returns."""
    pixels = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    vae.process_output(pixels)
    assert pixels.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
