"""The same weights, loaded by core and by us: core's nodes must give the same video.

Sizes are such as core recognises: heads of 128 channels, text of 4096.
"""

from dataclasses import replace

import pytest
import torch

from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.host.conftest import random_weights
from tests.host.runs import ksampler, latents, prompt

SMALL = DiTConfig(width=256, depth=1, heads=2, mlp_width=96, text_length=7)
T2V = SMALL
TI2V = replace(SMALL, in_channels=48, out_channels=48, frame_levels=True)
I2V = replace(SMALL, in_channels=36)
I2V_CLIP = replace(I2V, image_width=1280)


def pair(pack, config, seed=7):
    """MODELs of the same random weights: core's and ours."""
    import comfy.sd

    weights = random_weights(WanDiT(config), seed)
    core = comfy.sd.load_diffusion_model_state_dict(dict(weights))
    latent_format = pack.latent_format.format_for(config, built_in=False)
    ours = pack.transformer.build_model(config, weights, latent_format, torch.float32, "test")
    return core, ours


def assert_same_video(pair, shape, latent=None, **extras):
    core, ours = pair
    settings = {
        "latent_image": latent or {"samples": torch.zeros(shape)},
        "positive": prompt(ours, 1, **extras),
        "negative": prompt(ours, 2, **extras),
        "steps": 3,
    }
    expected, got = ksampler(core, **settings), ksampler(ours, **settings)
    error = (got - expected).norm() / expected.norm()
    assert error < 1e-5


def test_text_to_video(pack):
    assert_same_video(pair(pack, T2V), (1, 16, 3, 5, 6))


def test_known_frames_of_text_to_video(pack):
    shape = (1, 16, 3, 5, 6)
    mask = torch.ones(1, 1, 3, 5, 6)
    mask[:, :, 1:2] = 0
    assert_same_video(pair(pack, T2V), shape, {"samples": latents(3, shape), "noise_mask": mask})


def test_noise_level_per_frame(pack):
    shape = (2, 48, 3, 4, 6)
    mask = torch.ones(2, 1, 3, 4, 6)
    mask[:, :, :1] = 0
    assert_same_video(pair(pack, TI2V), shape, {"samples": latents(3, shape), "noise_mask": mask})


def test_image_to_video(pack):
    shape = (1, 16, 3, 4, 6)
    mask = torch.ones(1, 1, 3, 4, 6)
    mask[:, :, :1] = 0
    image = {"concat_latent_image": latents(4, shape), "concat_mask": mask}
    assert_same_video(pair(pack, I2V), shape, **image)


def test_image_to_video_without_an_image(pack):
    """Core would show the network nothing; ours is shown what the mask keeps, and grey."""
    from longtake.engine.canvas.known import GREY

    shape = (1, 16, 3, 4, 6)
    canvas, mask = latents(3, shape), torch.ones(1, 1, 3, 4, 6)
    mask[:, :, :1] = 0
    core, ours = pair(pack, I2V)
    grey = torch.tensor(GREY).T[None, :, :, None, None].expand(shape)
    grey = ours.model.latent_format.process_out(grey)
    extras = {"concat_latent_image": torch.where(mask == 0, canvas, grey), "concat_mask": mask}
    latent = {"samples": canvas, "noise_mask": mask}

    expected = ksampler(
        core,
        latent_image=latent,
        positive=prompt(ours, 1, **extras),
        negative=prompt(ours, 2, **extras),
        steps=3,
    )
    got = ksampler(
        ours, latent_image=latent, positive=prompt(ours, 1), negative=prompt(ours, 2), steps=3
    )
    assert (got - expected).norm() / expected.norm() < 1e-5


def test_image_to_video_with_clip(pack):
    from types import SimpleNamespace

    shape = (1, 16, 3, 4, 6)
    seen = SimpleNamespace(penultimate_hidden_states=latents(5, (1, 5, 1280)))
    image = {"concat_latent_image": latents(4, shape), "clip_vision_output": seen}
    assert_same_video(pair(pack, I2V_CLIP), shape, **image)


def test_reference_frames_behind_the_video(pack):
    reference = latents(6, (1, 16, 1, 4, 6))
    assert_same_video(pair(pack, T2V), (1, 16, 3, 4, 6), time_dim_concat=reference)


def test_scale_rope(pack):
    from comfy_extras.nodes_rope import ScaleROPE

    scales = {"scale_x": 1.5, "shift_x": 3.0, "scale_y": 0.7, "shift_y": -2.0}
    both = pair(pack, T2V)
    scaled = [ScaleROPE.execute(m, **scales, scale_t=2.5, shift_t=5.0)[0] for m in both]
    assert_same_video(scaled, (1, 16, 3, 4, 6))
    empty = {"samples": torch.zeros(1, 16, 3, 4, 6)}
    plain, stretched = (ksampler(m, steps=1, latent_image=empty) for m in (both[1], scaled[1]))
    assert (plain - stretched).norm() > 1e-3 * plain.norm()


@pytest.mark.parametrize("config", [T2V, TI2V])
def test_formats_and_shift_are_cores(pack, config):
    core, ours = pair(pack, config)
    assert type(ours.model.latent_format) is type(core.model.latent_format)
    assert ours.model.model_sampling.shift == core.model.model_sampling.shift
    assert set(ours.model_state_dict()) == set(core.model_state_dict())
