"""The Sample node's function."""

from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.noise import video_noise
from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError, NotFiniteError
from tests.host import runs
from tests.host.runs import SHAPE, ksampler, latents, prompt


def sample(pack, model, latent=None, levels=None, **settings):
    latent = latent or {"samples": torch.zeros(SHAPE)}
    given = {
        "positive": prompt(model, 1),
        "negative": prompt(model, 2),
        "seed": 11,
        "cfg": 3.0,
        **settings,
    }
    levels = sigmas(4, 3.0, "simple") if levels is None else levels
    return runs.sample(pack, model, latent=latent, sigmas=levels, **given)


def test_it_is_core_on_our_noise(pack, model, monkeypatch):
    import comfy.sample

    noise = video_noise(11, range(SHAPE[2]), (SHAPE[1], *SHAPE[3:]))
    monkeypatch.setattr(comfy.sample, "prepare_noise", lambda *_: noise)
    assert torch.equal(sample(pack, model)["samples"], ksampler(model))


def test_the_same_seed_twice_is_the_same_video(pack, model):
    once, again = sample(pack, model)["samples"], sample(pack, model)["samples"]
    assert torch.equal(once, again)
    assert not torch.equal(once, sample(pack, model, seed=12)["samples"])


def test_facts_and_mask_travel_on(pack, model):
    mask = torch.ones(1, 1, 3, 1, 1)
    mask[:, :, 1] = 0
    latent = {"samples": latents(4), "noise_mask": mask, "longtake": {"fps": Fraction(8)}}
    out = sample(pack, model, latent)
    assert out["longtake"] == {"fps": 8}
    assert out["noise_mask"] is mask
    assert torch.equal(latent["samples"], latents(4))


def test_pixels_kept_inside_a_frame(pack, model):
    mask = torch.ones(1, 1, *SHAPE[2:])
    mask[..., :3] = 0
    source = latents(4)
    out = sample(pack, model, {"samples": source, "noise_mask": mask})["samples"]
    assert torch.equal(out[..., :3], source[..., :3])
    assert (out[..., 3:] - source[..., 3:]).abs().mean() > 0.1


def test_what_the_mask_keeps_in_part_is_sampled_in_part(pack, model):
    """A mask between 0 and 1, as a soft brush draws it: only where it is 0 all comes back."""
    mask = torch.ones(1, 1, *SHAPE[2:])
    mask[..., :2], mask[..., 2:4] = 0, 0.5
    source = latents(4)
    out = sample(pack, model, {"samples": source, "noise_mask": mask})["samples"]
    moved = (out - source).abs().mean(dim=(0, 1, 2, 3))
    assert torch.equal(out[..., :2], source[..., :2])
    assert moved[2:4].min() > 0.02
    assert moved[2:4].max() < moved[4:].min()


def test_cfg_1_never_asks_for_the_negative(pack, model):
    other = sample(pack, model, cfg=1.0, negative=prompt(model, 99))["samples"]
    assert torch.equal(sample(pack, model, cfg=1.0)["samples"], other)


def test_a_batch_is_several_videos(pack, model):
    out = sample(pack, model, {"samples": torch.zeros(3, *SHAPE[1:])})["samples"]
    assert out.shape == (3, *SHAPE[1:])
    torch.testing.assert_close(out[:1], sample(pack, model)["samples"], rtol=1e-4, atol=1e-4)


def test_empty_latents_of_other_channels_are_made_to_fit(pack, model):
    """Core's own empty latents have 16 channels; being empty, they mean a size only."""
    other = {"samples": torch.zeros(1, 16, *SHAPE[2:])}
    assert torch.equal(sample(pack, model, other)["samples"], sample(pack, model)["samples"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "eular"}, "there is no sampler 'eular': choose from euler"),
        ({"levels": torch.tensor([0.0, 1.0])}, "SIGMAS must be two or more numbers that decrease"),
        ({"levels": torch.tensor([1.0])}, "SIGMAS must be"),
        ({"levels": torch.tensor([1.0, torch.nan])}, "SIGMAS must be"),
        ({"cfg": float("nan")}, "cfg nan"),
        ({"seed": -1}, "seed -1"),
        ({"positive": [[torch.zeros(1, 5, 4096), {}]]}, "4096 channels wide"),
        ({"latent": {"samples": torch.ones(1, 16, 3, 5, 7)}}, "16 channels"),
    ],
)
def test_refusals_come_before_any_weight_is_moved(pack, model, monkeypatch, settings, words):
    import comfy.model_management as mm

    def move(*_, **__):
        raise AssertionError("weights were moved")

    monkeypatch.setattr(mm, "load_models_gpu", move)
    with pytest.raises(InputError, match=words):
        sample(pack, model, **settings)


def test_not_a_number_never_leaves(pack, model):
    clone = model.clone()
    clone.set_model_sampler_cfg_function(lambda args: args["cond"] * torch.nan)
    with pytest.raises(NotFiniteError, match="cfg 3"):
        sample(pack, clone)


def test_not_a_number_never_enters(pack, model):
    with pytest.raises(NotFiniteError, match="LATENT"):
        sample(pack, model, {"samples": torch.full(SHAPE, torch.nan)})
