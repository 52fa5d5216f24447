"""Two experts in one run: which of them paints what, and that masks and LoRAs survive it."""

from types import SimpleNamespace

import pytest
import torch

from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from tests.host.conftest import write_dit
from tests.host.networks.test_lora import deltas, with_lora  # noqa: F401
from tests.host.runs import SHAPE, ksampler, latents, prompt, sample, seen
from tests.host.sampling.test_routes import IMAGE, built, pinned_canvas

LEVELS = sigmas(6, 5.0)  # 1, 0.962, 0.909, 0.834, 0.715, 0.501, 0: three at 0.9 and above
SAMPLERS = ["euler", "uni_pc", "dpmpp_2m", "heun", "dpmpp_2s_ancestral"]


@pytest.fixture
def two(pack, comfyui):
    """The built-in MODEL, and one of other weights."""
    import comfy.model_management as mm

    mm.unload_all_models()
    folder = comfyui.base / "models" / "diffusion_models"
    folder.mkdir(exist_ok=True)
    path = write_dit(folder / "other.safetensors", seed=5)
    yield pack.load.load_model(pack.folders.BUILT_IN), pack.load.load_model("other.safetensors")
    path.unlink()


def guider_of(pack, pair, prompts, latent=None):
    canvas = latent and pack.latent.to_canvas(latent)
    return pack.experts.guider(pair, pack.conditioning.Prompts(*prompts), canvas)


def custom(guider, levels=LEVELS, sampler="euler", latent=None, noise=True):
    """Core's SamplerCustomAdvanced."""
    from comfy_extras import nodes_custom_sampler as core

    source = core.RandomNoise if noise else core.DisableNoise
    drawn = source.execute(*([7] if noise else []))[0]
    chosen = core.KSamplerSelect.execute(sampler)[0]
    latent = latent or {"samples": torch.zeros(SHAPE)}
    return core.SamplerCustomAdvanced.execute(drawn, guider, chosen, levels.clone(), latent)[0]


def plain(model, positive, negative, cfg):
    from comfy_extras import nodes_custom_sampler as core

    return core.CFGGuider.execute(model, positive, negative, cfg)[0]


def one_after_the_other(high, low, at, prompts, cfgs):
    """The definition, for a sampler without memory and a video without a mask: two runs."""
    first = custom(plain(high, *prompts, cfgs[0]), LEVELS[: at + 1])
    return custom(plain(low, *prompts, cfgs[1]), LEVELS[at:], latent=first, noise=False)["samples"]


def test_the_expert_that_rests_keeps_no_text(pack, two):
    high, low = two
    kept = []

    def record(*_, **__):
        kept.append([len(m.model.diffusion_model.texts._rows) for m in two])

    pair = pack.experts.pair(high, low, 0.9, 3.0, 2.0)
    with seen(low, record):
        custom(guider_of(pack, pair, prompts_for(high)))
    assert kept == [[0, 0], [0, 2], [0, 2]]  # before each step of the second one


def level(x, timestep, *_, **__):
    return float(timestep.max())


def prompts_for(model):
    return prompt(model, 1), prompt(model, 2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_expert_paired_with_itself_paints_as_alone(pack, two, sampler):
    model, _ = two
    prompts = prompts_for(model)
    pair = pack.experts.pair(model, model.clone(), 0.9, 3.0, 3.0)
    alone = custom(plain(model, *prompts, 3.0), sampler=sampler)["samples"]
    both = custom(guider_of(pack, pair, prompts), sampler=sampler)["samples"]
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-6)


def test_the_change_is_at_the_boundary_with_a_cfg_for_each(pack, two):
    high, low = two
    prompts = prompts_for(high)
    pair = pack.experts.pair(high, low, 0.9, 3.0, 1.5)
    expected = one_after_the_other(high, low, 3, prompts, (3.0, 1.5))
    got = custom(guider_of(pack, pair, prompts))["samples"]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert (got - custom(plain(high, *prompts, 3.0))["samples"]).abs().max() > 0.01


def test_each_expert_is_asked_at_its_own_levels(pack, two):
    high, low = two
    pair = pack.experts.pair(high, low, 0.9, 1.0, 1.0)
    with seen(pair, level) as above, seen(low, level) as below:
        custom(guider_of(pack, pair, prompts_for(high)))
    expected = (1000 * LEVELS[:-1]).tolist()
    assert above == pytest.approx(expected[:3])
    assert below == pytest.approx(expected[3:])


@pytest.mark.parametrize("run", ["whole", "broken"])
def test_what_each_expert_was_given_is_cleaned_up(pack, two, run, monkeypatch):
    """A ControlNet in the prompts is loaded for either expert, and let go of after the run."""
    import comfy.sampler_helpers

    cleaned, real = [], comfy.sampler_helpers.cleanup_models

    def cleanup(prompts, models):
        cleaned.append(models)
        real(prompts, models)

    monkeypatch.setattr(comfy.sampler_helpers, "cleanup_models", cleanup)
    high, low = two
    ended, own = [], type(low).cleanup
    monkeypatch.setattr(type(low), "cleanup", lambda model: (ended.append(model), own(model)))
    pair = pack.experts.pair(high, low, 0.9, 3.0, 1.5)
    guider = guider_of(pack, pair, prompts_for(high))
    if run == "broken":

        def fail(*_, **__):
            raise RuntimeError("the low-noise expert fails")

        low.set_model_sampler_cfg_function(fail)
        with pytest.raises(RuntimeError, match="low-noise expert fails"):
            custom(guider)
    else:
        custom(guider)
    # Core cleans up after the high-noise expert, if the run did not fail.
    assert len(cleaned) == (1 if run == "broken" else 2)
    assert low in ended


def test_core_ksampler_and_our_sample_change_as_well(pack, two):
    high, low = two
    pair = pack.experts.pair(high, low, 0.9, 3.0, 1.5)
    with seen(low, level) as below:
        ksampler(pair, steps=6)
        assert below
        before = len(below)
        empty = {"samples": torch.zeros(SHAPE)}
        go, avoid = prompts_for(high)
        painted = sample(pack, pair, go, avoid, empty, LEVELS, seed=3, cfg=3.0)
        assert len(below) > before
    assert painted["samples"].isfinite().all()
    with seen(low, level) as below:  # the wrappers are on the pair only
        ksampler(high, steps=2)
    assert not below


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_known_frames_are_kept_exactly(pack, two, sampler):
    high, low = two
    pair = pack.experts.pair(high, low, 0.9, 3.0, 1.5)
    clip, mask = latents(4), torch.ones(1, 1, *SHAPE[2:])
    mask[:, :, :1] = 0
    latent = {"samples": clip, "noise_mask": mask}
    painted = custom(guider_of(pack, pair, prompts_for(high)), sampler=sampler, latent=latent)
    kept = painted["samples"][:, :, :1] - clip[:, :, :1]
    assert kept.abs().max() < 1e-5
    go, avoid = prompts_for(high)
    ours = sample(pack, pair, go, avoid, latent, LEVELS, seed=3, cfg=3.0, sampler=sampler)
    assert torch.equal(ours["samples"][:, :, :1], clip[:, :, :1])


def test_pinned_pixels_reach_both_experts_of_an_image_checkpoint(pack, vae, tmp_path):
    """Through core's SamplerCustomAdvanced as through Sample."""
    halves = [write_dit(tmp_path / f"{n}.safetensors", IMAGE, seed=n) for n in (1, 2)]
    high, low = (built(pack, path, IMAGE) for path in halves)
    pair = pack.experts.pair(high, low, 0.9, 1.0, 1.0)
    rng = torch.Generator().manual_seed(3)
    latent = pinned_canvas(pack, vae, {f: torch.rand(1, 32, 48, 3, generator=rng) for f in (0, 5)})
    prompts = prompts_for(high)

    def channels(x, *_, **__):
        return x[:1, 6:].clone()

    with seen(pair, channels) as above, seen(low, channels) as below:
        sample(pack, pair, *prompts, latent, LEVELS, seed=3, cfg=1.0)
        by_sample = [*above, *below]
        above.clear(), below.clear()
        made = custom(guider_of(pack, pair, prompts, latent), latent=latent)["samples"]
        by_core = [*above, *below]
        above.clear(), below.clear()
        custom(guider_of(pack, pair, prompts), latent=latent)
    assert len(by_sample) == len(by_core) == 6
    for ours, cores in zip(by_sample, by_core, strict=True):
        assert torch.equal(ours, by_sample[0])
        assert torch.equal(cores, ours)
    assert (above[0] - by_core[0]).abs().max() > 0.1  # of latents alone
    assert (made - latent["samples"])[:, :, :1].abs().max() < 1e-5


def test_loras_of_its_own_for_each_half_of_one_file(pack, two, deltas):  # noqa: F811
    model, _ = two
    prompts = prompts_for(model)
    high, low = with_lora(model, deltas, 0.7), with_lora(model, deltas, -0.4)
    pair = pack.experts.pair(high, low, 0.9, 2.0, 2.0)
    before = {k: v.clone() for k, v in model.model.state_dict().items()}

    got = custom(guider_of(pack, pair, prompts))["samples"]
    again = custom(guider_of(pack, pair, prompts))["samples"]

    expected = one_after_the_other(high, low, 3, prompts, (2.0, 2.0))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(again, got, rtol=0, atol=1e-6)
    ksampler(model, steps=1)  # loads it without a LoRA
    assert all(torch.equal(before[k], v) for k, v in model.model.state_dict().items())


def test_all_or_none_of_the_steps(pack, two):
    high, low = two
    prompts = prompts_for(high)
    for boundary, alone in ((0.001, high), (1.0, low)):
        pair = pack.experts.pair(high, low, boundary, 2.0, 2.0)
        levels = LEVELS if alone is high else LEVELS * 0.99
        got = custom(guider_of(pack, pair, prompts), levels)["samples"]
        expected = custom(plain(alone, *prompts, 2.0), levels)["samples"]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_a_cancelled_run_leaves_nothing_behind(pack, two):
    high, low = two
    pair = pack.experts.pair(high, low, 0.9, 2.0, 2.0)

    def cancel(*_, **__):
        raise InterruptedError

    with pytest.raises(InterruptedError), seen(low, cancel):
        custom(guider_of(pack, pair, prompts_for(high)))
    for model in two:
        assert not model.model.diffusion_model.texts._open
    assert custom(guider_of(pack, pair, prompts_for(high)))["samples"].isfinite().all()


@pytest.mark.parametrize(
    ("steps", "shift", "boundary", "high"),
    [
        (40, 12.0, 0.875, 26),  # Wan 2.2 T2V A14B
        (40, 5.0, 0.9, 15),  # Wan 2.2 I2V A14B
        (20, 5.0, 0.875, 9),
        (20, 5.0, 0.9, 8),
        (20, 12.0, 0.875, 13),
        (20, 8.0, 0.9, 10),
        (4, 5.0, 0.9, 2),  # few-step LoRAs
    ],
)
@pytest.mark.parametrize("curve", ["linear", "simple", "wan"])
def test_the_steps_are_shared_as_the_reference_shares_them(
    pack, steps, shift, boundary, high, curve
):
    assert pack.experts.high_steps(sigmas(steps, shift, curve), boundary) == high


def test_a_boundary_of_0_is_what_they_were_made_for(pack, two):
    pair = pack.experts.pair(*two, 0.0, 0.0, 0.0)
    assert pack.experts.experts_of(pair).boundary == 0.875
    assert pack.experts.experts_of(pair).cfg_high == 4.0  # the built-in model's
    assert pack.experts.experts_of(pair).cfg_low == 4.0
    assert pack.experts.experts_of(two[0]) is None


def named(pack, monkeypatch, high, low):
    for model, source in ((high, "wan_high_noise.safetensors"), (low, "wan_low_noise.safetensors")):
        monkeypatch.setattr(model.model, "source", source)


def test_experts_in_each_others_place_are_refused(pack, two, monkeypatch):
    high, low = two
    named(pack, monkeypatch, high, low)
    pack.experts.pair(high, low, 0.9, 1.0, 1.0)
    with pytest.raises(InputError, match=r"in each other's place: high is 'wan_low_noise"):
        pack.experts.pair(low, high, 0.9, 1.0, 1.0)
    with pytest.raises(InputError, match=r"both experts are the high-noise half, .* as low\."):
        pack.experts.pair(high, high.clone(), 0.9, 1.0, 1.0)


def test_other_pairs_are_refused_in_a_line(pack, two, monkeypatch):
    high, low = two
    other = SimpleNamespace(title="Wan 2.2 I2V A14B", settings="14b-i2v-2.2")
    monkeypatch.setattr(low.model, "family", other)
    with pytest.raises(InputError, match="high is Longtake nano .* low is Wan 2.2 I2V") as caught:
        pack.experts.pair(high, low, 0.9, 1.0, 1.0)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(low.model.latent_format, "latent_channels", 16)
    with pytest.raises(InputError, match="high takes 6 channels and gives 6"):
        pack.experts.pair(high, low, 0.9, 1.0, 1.0)
    image = SimpleNamespace(model=SimpleNamespace(diffusion_model=torch.nn.Linear(1, 1)))
    with pytest.raises(InputError, match="no video model of the Wan family"):
        pack.experts.pair(high, image, 0.9, 1.0, 1.0)


def test_pages_of_the_second_expert_are_read_ahead(pack, two, monkeypatch):
    high, low = two
    read = []
    monkeypatch.setattr(pack.experts, "touch", lambda weight: read.append(weight.numel()))
    pair = pack.experts.pair(high, low, 0.9, 1.0, 1.0)
    custom(guider_of(pack, pair, prompts_for(high)))
    assert read
    read.clear()
    twice = pack.experts.pair(high, high.clone(), 0.9, 1.0, 1.0)
    custom(guider_of(pack, twice, prompts_for(high)))
    assert not read


@pytest.mark.parametrize("room", [0, 2**50])
def test_where_both_fit_both_are_on_the_card_before_the_first_step(pack, two, monkeypatch, room):
    import comfy.model_management as mm

    high, low = two
    loaded = []
    monkeypatch.setattr(mm, "load_models_gpu", lambda models, **_: loaded.append(models))
    monkeypatch.setattr(mm, "is_device_cpu", lambda device: False)
    monkeypatch.setattr(mm, "get_free_memory", lambda *_: room)
    run = SimpleNamespace(guider=SimpleNamespace(model_patcher=high), needed=lambda model: 0)
    with pack.experts.Prefetch(low, run):
        assert loaded == ([[high, low]] if room else [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_touching_reads_and_changes_nothing(pack, dtype):
    for weight in (torch.ones(5000, 3), torch.ones(()), torch.ones(0), torch.ones(7, 5).T):
        pack.experts.touch(weight.to(dtype))
