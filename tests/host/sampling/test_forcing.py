"""Diffusion forcing as core's SAMPLER: which level each frame is told, and what comes of it."""

import importlib

import pytest
import torch

from longtake.engine.sampling.forcing import reference_noise, wave
from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from tests.host.runs import SHAPE, latents, prompt
from tests.host.sampling.test_routes import files, mask_for, plain_model  # noqa: F401

LEVELS = sigmas(4, 3.0)


@pytest.fixture
def forced(pack):
    """Core's SamplerCustomAdvanced with our SAMPLER, or one of core's by name."""
    from comfy_extras import nodes_custom_sampler as core

    forcing = importlib.import_module("longtake.host.sampling.forcing").forcing

    def run(model, lag=0, block=1, noise=0.0, latent=None, name=None):
        guider = core.CFGGuider.execute(model, prompt(model, 1), prompt(model, 2), 3.0)[0]
        sampler = core.KSamplerSelect.execute(name)[0] if name else forcing(lag, block, noise)
        drawn = core.RandomNoise.execute(7)[0]
        latent = latent or {"samples": torch.zeros(SHAPE)}
        return core.SamplerCustomAdvanced.execute(drawn, guider, sampler, LEVELS.clone(), latent)[
            0
        ]["samples"]

    return run


@pytest.fixture
def calls(model, monkeypatch):
    """(x, timestep) of every call, as the network itself gets them."""
    network, found = model.model.diffusion_model, []
    real = network._velocity

    def record(x, timestep, *rest, **more):
        found.append((x.clone(), timestep.clone()))
        return real(x, timestep, *rest, **more)

    monkeypatch.setattr(network, "_velocity", record)
    return found


def canvas(*known: int) -> dict:
    return {"samples": latents(4), "noise_mask": mask_for(*known)}


@pytest.mark.parametrize("latent", [None, canvas(0), canvas(1)], ids=["text", "first", "middle"])
def test_without_a_lag_it_is_euler(model, forced, latent):
    plain = forced(model, name="euler", latent=latent)
    torch.testing.assert_close(forced(model, latent=latent), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("lag", "block", "known"), [(1, 1, 0), (2, 1, 1), (3, 3, 0), (4, 1, 2)])
def test_each_frame_is_told_its_own_level(model, forced, calls, lag, block, known):
    """By the reference's matrix, which tests/engine holds `wave` to."""
    latent = canvas(*range(known)) if known else None
    out = forced(model, lag, block, latent=latent)
    plan = wave(3, 4, lag=lag, known=known, block=block)
    assert len(calls) == len(plan.before)
    for (_, told), done in zip(calls, plan.before, strict=True):
        expected = 1000 * LEVELS[torch.from_numpy(done).clamp(min=0)]
        torch.testing.assert_close(told, expected.expand(2, -1), rtol=1e-5, atol=1e-2)
    assert out.isfinite().all()
    for k in range(known):
        torch.testing.assert_close(out[:, :, k], latents(4)[:, :, k], rtol=0, atol=1e-5)
    finished = plan.before[-1] == 4  # frames that do not move any more are as they will be
    x, _ = calls[-1]
    for k in finished.nonzero()[0]:
        shown = model.model.process_latent_out(x[:1, :, k : k + 1])
        torch.testing.assert_close(shown, out[:, :, k : k + 1], rtol=0, atol=1e-5)


def test_known_frames_are_shown_with_a_little_noise_and_come_out_without(model, forced, calls):
    out = forced(model, 2, noise=20.0, latent=canvas(0))
    clean = model.model.process_latent_in(latents(4))
    expected = reference_noise(clean, 0, 7, 20.0)[:, :, 0]
    for x, told in calls:
        assert told[:, 0].tolist() == pytest.approx([20.0, 20.0], abs=1e-3)
        torch.testing.assert_close(x[:1, :, 0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(out[:, :, 0], latents(4)[:, :, 0], rtol=0, atol=1e-5)


def test_what_no_wave_passes_is_refused(model, forced, plain_model):  # noqa: F811
    with pytest.raises(InputError, match="a noise level of its own"):
        forced(plain_model, 1)
    with pytest.raises(InputError, match="do not divide into blocks of 2"):
        forced(model, 1, 2)
