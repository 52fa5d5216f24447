"""Our network as MODEL, under core's own nodes."""

from itertools import pairwise

import pytest
import torch

from longtake.models.errors import InputError
from longtake.models.wan.dit import WanDiT
from tests.host.runs import SHAPE, FrameNoise, ksampler, latents, prompt, seen


def keep_first(frames: int = SHAPE[2]) -> torch.Tensor:
    mask = torch.ones(1, 1, frames, 1, 1)
    mask[:, :, :1] = 0
    return mask


def by_hand(model, noise, sigmas, positive, negative, cfg):
    """Euler's method on the bare network, in a few lines that owe nothing to core."""
    network = model.model.diffusion_model
    texts = [WanDiT.read_text(network, context) for context in (positive, negative)]
    x = noise.clone()
    for sigma, following in pairwise(sigmas):
        level = sigma.reshape(1) * 1000
        go, avoid = (WanDiT.forward(network, x, level, text) for text in texts)
        x = x + (following - sigma) * (avoid + cfg * (go - avoid))
    return x


def test_ksampler_follows_the_flow(model):
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 4)
    noise = torch.randn(SHAPE, generator=torch.manual_seed(11))
    positive, negative = prompt(model, 1), prompt(model, 2)

    ours = by_hand(model, noise, sigmas, positive[0][0], negative[0][0], 3.0)

    torch.testing.assert_close(ksampler(model), ours, rtol=1e-4, atol=1e-4)


def test_the_built_in_model_has_its_own_shift(model, pack):
    from longtake.engine.sampling.presets import NANO

    assert model.get_model_object("model_sampling").shift == NANO.shift


def test_the_shift_goes_by_the_latents_at_hand_and_not_by_what_they_were(pack):
    grown = {"samples": torch.zeros(1, 16, 3, 90, 160), "longtake": {"width": 832, "height": 480}}
    assert pack.settings.pixels_of(grown) == (1280, 720)
    assert pack.settings.pixels_of({"samples": torch.zeros(1, 48, 3, 44, 80)}) == (1280, 704)
    assert pack.settings.pixels_of(None) == (1280, 720)


def test_ksampler_advanced_in_two_stages_is_one_run(model):
    import nodes

    settings = {
        "noise_seed": 11,
        "steps": 4,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "positive": prompt(model, 1),
        "negative": prompt(model, 2),
    }
    run = nodes.KSamplerAdvanced().sample
    empty = {"samples": torch.zeros(SHAPE)}
    half = run(
        model,
        "enable",
        latent_image=empty,
        start_at_step=0,
        end_at_step=2,
        return_with_leftover_noise="enable",
        **settings,
    )[0]
    whole = run(
        model,
        "disable",
        latent_image=half,
        start_at_step=2,
        end_at_step=10_000,
        return_with_leftover_noise="disable",
        **settings,
    )[0]

    torch.testing.assert_close(whole["samples"], ksampler(model), rtol=1e-4, atol=1e-4)


def custom(model, latent, sampler="euler", steps=4, noise=None, seed=11):
    """Core's SamplerCustomAdvanced and the nodes around it."""
    from comfy_extras import nodes_custom_sampler as core

    noise = noise or core.RandomNoise.execute(seed)[0]
    guider = core.CFGGuider.execute(model, prompt(model, 1), prompt(model, 2), 3.0)[0]
    method = core.KSamplerSelect.execute(sampler)[0]
    sigmas = core.BasicScheduler.execute(model, "simple", steps, 1.0)[0]
    return core.SamplerCustomAdvanced.execute(noise, guider, method, sigmas, latent)[0]["samples"]


def test_sampler_custom_advanced_is_ksampler(model):
    assert torch.equal(custom(model, {"samples": torch.zeros(SHAPE)}), ksampler(model))


def test_our_noise_in_cores_sampler(model, pack):
    noise = FrameNoise(11)
    latent = {"samples": torch.zeros(SHAPE)}

    once = custom(model, latent, noise=noise)

    assert torch.equal(once, custom(model, latent, noise=noise))
    assert not torch.equal(once, custom(model, latent, noise=FrameNoise(12)))


def test_known_frames_are_at_noise_level_zero(model):
    source = latents(5)
    with seen(model, lambda x, timestep, *_, **__: (x[:, :, 0].clone(), timestep)) as calls:
        out = custom(model, {"samples": source, "noise_mask": keep_first()})

    for known, levels in calls:
        assert levels.shape == (2, 3)  # both prompts, three latent frames
        assert not levels[:, 0].any()
        assert (levels[:, 1:] == levels[:1, 1:2]).all()
        assert levels[0, 1] > 0
        torch.testing.assert_close(known, source[:, :, 0].expand(2, -1, -1, -1))
    torch.testing.assert_close(out[:, :, :1], source[:, :, :1], rtol=0, atol=1e-6)
    assert (out[:, :, 1:] - source[:, :, 1:]).abs().mean() > 0.1


@pytest.mark.filterwarnings("ignore")  # core's own, about how its samplers use torch and scipy
def test_every_sampler_of_core_runs(model, pack):
    for name in pack.sample.SAMPLERS:
        out = ksampler(model, sampler_name=name, steps=3, cfg=1.5)
        assert out.isfinite().all(), name


def test_model_sampling_sd3_sets_the_shift(model):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    shifted = ModelSamplingSD3().patch(model, 9.0)[0]

    with seen(shifted, lambda x, timestep, *_, **__: timestep[0].item()) as levels:
        ksampler(shifted, steps=2)
    assert levels == pytest.approx([1000.0, 900.0], rel=1e-4)  # 9·½ / (1 + 8·½)


def test_names_of_parameters_are_official(model):
    names = WanDiT(model.model.diffusion_model.config).state_dict().keys()
    assert model.model.diffusion_model.state_dict().keys() == names
    assert {name.removeprefix("diffusion_model.") for name in model.model_state_dict()} >= names


def test_attention_can_be_overridden(model):
    calls = []

    def override(attention, *args, **kwargs):
        calls.append((kwargs["transformer_options"]["block_index"], kwargs["heads"]))
        return attention(*args, **kwargs)

    plain = ksampler(model, steps=1)
    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override

    torch.testing.assert_close(ksampler(clone, steps=1), plain, rtol=1e-4, atol=1e-4)
    assert calls == [(0, 2), (0, 2), (1, 2), (1, 2)]  # itself, then text, in each block


@pytest.mark.parametrize(
    ("flag", "calls"), [("use_split_cross_attention", 4), ("use_quad_cross_attention", 4), ("", 0)]
)
def test_the_hosts_attention_is_used_where_it_was_chosen(model, pack, monkeypatch, flag, calls):
    heads = []
    real = pack.forward.optimized_attention

    def counted(*args, **kwargs):
        heads.append(kwargs["heads"])
        return real(*args, **kwargs)

    plain = ksampler(model, steps=1)
    monkeypatch.setattr(pack.forward, "optimized_attention", counted)
    if flag:
        monkeypatch.setattr(pack.forward.args, flag, True)

    torch.testing.assert_close(ksampler(model, steps=1), plain, rtol=1e-4, atol=1e-4)
    assert heads == [2] * calls


def test_blocks_can_be_replaced(model):
    def through(args, extra):
        assert args["img"].shape == (2, 3 * 3 * 4, 32)  # as core's: all tokens in one axis
        return extra["original_block"](args)

    def skipped(args, extra):
        return {"img": args["img"]}

    def patched(replacement):
        clone = model.clone()
        clone.set_model_patch_replace(replacement, "dit", "double_block", 1)
        return ksampler(clone, steps=2)

    plain = ksampler(model, steps=2)
    assert torch.equal(patched(through), plain)
    assert (patched(skipped) - plain).abs().max() > 1e-3


def test_text_of_another_encoder_is_refused(model):
    wide = [[torch.zeros(1, 5, 4096), {}]]
    with pytest.raises(InputError, match=r"4096 channels wide.*reads text of 24"):
        ksampler(model, positive=wide, negative=wide)


def test_latents_of_another_vae_are_refused(model):
    other = {"samples": torch.ones(1, 16, 3, 5, 7)}
    with pytest.raises(InputError, match=r"16 channels, but this model generates 6"):
        ksampler(model, latent_image=other)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp8_e4m3fn"])
def test_weights_of_fewer_bits(pack, dtype):
    exact = ksampler(pack.load.load_model(pack.folders.BUILT_IN, "fp32"), steps=2, cfg=1.0)
    model = pack.load.load_model(pack.folders.BUILT_IN, dtype)
    stored = model.model.diffusion_model.blocks[0].ffn[0].weight.dtype

    error = (ksampler(model, steps=2, cfg=1.0) - exact).norm() / exact.norm()

    assert stored == pack.dtypes.DTYPES[dtype]
    if dtype == "fp8_e4m3fn":
        assert 1e-4 < error < 0.1
    else:
        assert error < 1e-3  # the file is in bf16, and arithmetic in fp32
