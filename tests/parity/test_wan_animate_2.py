"""Wan-Animate 2 as Drive has it sampled, against diffusers' transformer with the same weights.

Core's network has them; what it is shown is ours. So both are compared at once: what stands where
in the channels and beside the video, and what core makes of it.
"""

import importlib
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask

from longtake.engine.canvas.driving import Driving, FollowedClip, seen_frames
from longtake.engine.canvas.guidance import Guidance
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.noise import WindowNoise
from tests.host_models import wan_animate_2
from tests.host_models.wan import SIZES

pytestmark = [
    pytest.mark.usefixtures("comfyui"),
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
]
WIDTH, HEIGHT, FRAMES, LATENT = 48, 32, 33, 9
SEED, LEVELS = 7, torch.tensor([1.0, 0.0])


def pictures(seed: int, frames: int = 1):
    return torch.rand(frames, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(seed))


POSES, WHO, BEFORE = pictures(1, FRAMES), pictures(3), pictures(5)


@pytest.fixture(scope="module")
def tiny(comfyui):
    return wan_animate_2()


@pytest.fixture(scope="module")
def theirs(tiny):
    """diffusers' transformer with the weights of core's."""
    diffusers = pytest.importorskip("diffusers")
    from diffusers.loaders import single_file_utils

    kind = getattr(diffusers, "WanAnimate2Transformer3DModel", None)
    if kind is None:
        pytest.skip("this diffusers has no Wan-Animate 2")
    names = ("dim", "ffn_dim", "freq_dim", "text_dim", "num_heads", "num_layers")
    network = kind(
        **{name: SIZES[name] for name in names}, text_len=tiny.positive[0][0].shape[1]
    ).eval().requires_grad_(False)  # fmt: skip
    weights = dict(tiny.model.model.diffusion_model.state_dict())
    renamed = single_file_utils.convert_wan_animate_2_transformer_to_diffusers(weights)
    network.load_state_dict(renamed)
    return network


def encoded(tiny, frames):
    """(16, t, h, w) in the transformer's numbers, as core's VAE and core's model make them."""
    return tiny.model.model.process_latent_in(tiny.vae.encode(frames))[0]


def uncompiled(*args, _compile, **more):
    return create_block_mask(*args, **more)


@torch.no_grad()
def velocity(theirs, tiny, noise, channels, clip, vision):
    """What diffusers' pipeline calls: the driving clip once, then a step of the video."""
    from diffusers.models.transformers import transformer_wan_animate_2 as module

    mask = torch.ones(4, *clip.shape[1:])
    grid = torch.tensor([[clip.shape[1], HEIGHT // 16, WIDTH // 16]])
    tokens = HEIGHT * WIDTH // 256
    more = {
        "timestep": LEVELS[:1] * 1000,
        "encoder_hidden_states": [tiny.positive[0][0][0]],
        "encoder_hidden_states_image": vision.penultimate_hidden_states,
        "kv_cache": module.WanAnimate2KVCache(SIZES["num_layers"]),
    }
    theirs(
        [clip], condition_latents=[torch.cat((mask, clip))], kv_cache_mode="extract",
        seq_len=clip.shape[1] * tokens, offset_grid_sizes=grid, **more,
    )  # fmt: skip
    with patch.object(module, "create_block_mask", uncompiled):
        return theirs(
            [noise], condition_latents=[channels], kv_cache_mode="cached",
            seq_len=noise.shape[1] * tokens, reference_grid_sizes=grid,
            origin_len=4 * (clip.shape[1] - 1) + 1, origin_area=[HEIGHT, WIDTH], **more,
        ).sample[0]  # fmt: skip


@pytest.mark.parametrize("window", [range(LATENT), range(3, 8)], ids=["first", "later"])
def test_a_step_is_diffusers(tiny, theirs, same, window):
    """The first latent frame of a later window is known, and handed on as latents."""
    from diffusers.modular_pipelines.wan_animate_2.encoders import get_i2v_mask

    driven, sample, prompts, codecs = (
        importlib.import_module(f"longtake.host.{name}")
        for name in ("sampling.driven", "sampling.sample", "comfyui.conditioning", "networks.codec")
    )
    codec = codecs.codec_for(tiny.vae)
    seen, size = seen_frames(window, codec.grid), (HEIGHT // 8, WIDTH // 8)
    seeing = torch.randn(1, 257, 1280, generator=torch.Generator().manual_seed(2))
    vision = SimpleNamespace(penultimate_hidden_states=seeing)
    clip = FollowedClip(FRAMES, lambda numbers: POSES[list(numbers)], "a stamp")
    driving = Driving(clip, WHO[0], clip_vision=vision)
    road, lead = driven.road_for(tiny.model, None, Guidance(codec, driving=driving), LATENT)
    part, handed = MaskedLatents(torch.zeros(1, 16, len(window), *size)), tiny.vae.encode(BEFORE)
    known = 1 if window.start else 0
    part = part.with_known({0: handed}) if known else part
    both = road.beside(window, prompts.Prompts(tiny.positive, tiny.negative), part)
    noise = WindowNoise([(SEED, k) for k in window], (16, *size))
    sampling, quiet = sample.Sampling(LEVELS, SEED, 1.0), sample.Playback(1)
    with quiet:
        ours, _ = sample.run(tiny.model, both, part, noise, sampling, quiet, lead=lead)

    drawn = noise.led_by(lead).drawn()[0]
    video = encoded(tiny, torch.full((len(seen), HEIGHT, WIDTH, 3), 0.5))
    if known:
        video[:, :1] = encoded(tiny, BEFORE)
    masks = [get_i2v_mask(t, *size, length, "cpu") for t, length in ((1, 1), (len(window), known))]
    channels = [torch.cat(pair) for pair in zip(masks, (encoded(tiny, WHO), video), strict=True)]
    poses = encoded(tiny, POSES[seen.start : seen.stop])
    moved = velocity(theirs, tiny, drawn, torch.cat(channels, dim=1), poses, vision)
    expected = tiny.model.model.process_latent_out((drawn - moved)[None])
    same(ours[:, :, known:], expected[:, :, lead + known :])
    assert not known or torch.equal(ours[:, :, :1], handed)
