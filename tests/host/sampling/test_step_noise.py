"""Samplers that add noise on the way add that of the frames, drawn on the CPU."""

import pytest
import torch

from longtake.engine.canvas.noise import WindowNoise, frame_noise
from longtake.engine.canvas.plan import Window
from longtake.engine.sampling.schedule import sigmas
from tests.host.runs import SHAPE, prompt, sample

LEVELS = sigmas(4, 3.0, "simple")
QUIET = {"dpm_fast", "dpm_adaptive"}  # multiply by zero what they draw


@pytest.fixture
def drawn(monkeypatch):
    """Every noise that samplers ask for; core's own ways to draw it fail."""
    import comfy.k_diffusion.sampling as core

    def refuse(*_, **__):
        raise AssertionError("noise was drawn on the device")

    asked = []
    real = WindowNoise.drawn

    def recorded(noise, number=0, **more):
        asked.append(number)
        return real(noise, number, **more)

    monkeypatch.setattr(core, "default_noise_sampler", lambda *_, **__: refuse)
    monkeypatch.setattr(core, "BrownianTreeNoiseSampler", lambda *_, **__: refuse)
    monkeypatch.setattr(WindowNoise, "drawn", recorded)
    return asked


def run(pack, model, sampler, latent=None):
    latent = latent or {"samples": torch.zeros(SHAPE)}
    prompts = prompt(model, 1), prompt(model, 2)
    settings = {"seed": 11, "cfg": 2.0, "sampler": sampler}
    return sample(pack, model, *prompts, latent, LEVELS.clone(), **settings)["samples"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of core's sa_solver
def test_no_sampler_draws_on_the_device(pack, model, drawn):
    noisy = set()
    for name in sorted({*pack.sample.SAMPLERS} - QUIET):
        drawn.clear()
        run(pack, model, name)
        assert drawn == list(range(len(drawn))), name  # one after the other, and none twice
        if len(drawn) > 1:
            noisy.add(name)
    assert {"lcm", "euler_ancestral", "dpmpp_sde_gpu", "dpmpp_2m_sde", "sa_solver"} <= noisy
    assert not {"euler", "uni_pc", "dpmpp_2m", "heun"} & noisy


@pytest.mark.filterwarnings("ignore:To copy construct")  # core's, too
def test_dpm_adaptive_takes_it_too(pack, model, drawn):
    import comfy.samplers

    sampler = comfy.samplers.ksampler("dpm_adaptive", {"eta": 0.5, "rtol": 0.5, "atol": 0.5})
    run(pack, model, sampler)
    assert len(drawn) > 1


@pytest.mark.parametrize("name", ["lcm", "dpmpp_2m_sde_gpu"])
def test_it_is_the_frames_own(pack, comfyui, name):
    import comfy.samplers

    from longtake.host.sampling.step_noise import with_step_noise

    frames = [(7, 3), (7, 4), (9, 0)]
    noise, cell = WindowNoise(frames, SHAPE[1:2] + SHAPE[3:], 2), SHAPE[1:2] + SHAPE[3:]
    seen = []

    def core(model, x, sigmas, noise_sampler=None, eta=1.0):
        seen.append((noise_sampler(0.9, 0.5), noise_sampler(0.9, 0.5), eta))

    sampler = comfy.samplers.KSAMPLER(core, {"eta": 0.3})
    for _ in range(2):  # one SAMPLER may be used for several runs
        drawing = with_step_noise(sampler, noise)
        x = torch.zeros(2, 6, 3, 5, 7, dtype=torch.bfloat16)
        drawing.sampler_function(None, x, LEVELS, **drawing.extra_options)
    assert sampler.sampler_function is core
    for first, second, eta in seen:
        assert eta == 0.3
        assert first.dtype is x.dtype
        for video, (at, frame) in ((0, (0, (7, 3))), (1, (2, (9, 0)))):
            for number, out in ((1, first), (2, second)):
                expected = frame_noise(*frame, cell, video, number).bfloat16()
                assert torch.equal(out[video, :, at], expected)


def test_noise_that_a_node_brought_stays(comfyui):
    import comfy.samplers

    from longtake.host.sampling.step_noise import with_step_noise

    own = comfy.samplers.ksampler("lcm", {"noise_sampler": lambda *_: 0})
    assert with_step_noise(own, WindowNoise([(1, 0)], (1, 1, 1))) is own


def test_a_window_has_the_noise_of_its_frames(pack, model, drawn):
    """As on a canvas that is sampled at once: all that the second window adds is its own."""
    plan = (Window((0, 1, 2)), Window((2, 3, 4), context=1))
    latent = {"samples": torch.zeros(1, 6, 5, 5, 7), "longtake": {"plan": plan}}
    both = run(pack, model, "lcm", latent)
    assert torch.equal(both[:, :, :3], run(pack, model, "lcm"))
