"""Grids, ticks and the cutting of other makers' latents, against diffusers' own classes.

Its networks are tiny and of random weights. None of ComfyUI is used: what is compared is where a
frame lies in the latents, which ticks of sound belong to it, and what pieces of a video decode to.
"""

import importlib
import warnings
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from longtake.engine.canvas.sound_track import Ticks
from longtake.engine.frames.overlapped import Seams, context_of, overlapped
from longtake.engine.sampling.host_presets import H3_GRID, H3_SOUND, LTX_GRID, LTX_SOUND
from tests.models.tiny import randomised

TINY_H3 = {
    "block_out_channels": (8, 8, 8, 8, 8, 8),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "decoder_num_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_attention_head_dim": 16,
}
TINY_LTX = {
    "block_out_channels": (8, 16, 32, 64),
    "decoder_block_out_channels": (8, 16, 32),
    "layers_per_block": (1, 1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1),
}


def of_diffusers(name: str, where: str = "diffusers"):
    """A class or module of diffusers; the test is skipped where this one has none."""
    with warnings.catch_warnings():
        # torchvision's compiled half may be missing beside a CPU build of torch.
        warnings.filterwarnings("ignore", "Failed to load image Python extension", UserWarning)
        try:
            return getattr(importlib.import_module(where), name)
        except (ImportError, AttributeError):
            pytest.skip(f"this diffusers has no {name}")


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def h3(rng):
    return randomised(of_diffusers("AutoencoderKLMiniMaxH3")(**TINY_H3), rng).eval()


@pytest.fixture
def ltx2(rng):
    return randomised(of_diffusers("AutoencoderKLLTX2Video")(**TINY_LTX), rng).eval()


def pixels(frames: int, rng: torch.Generator, side: int = 32) -> Tensor:
    return torch.rand(1, 3, frames, side, side, generator=rng) * 2 - 1


def encoded(vae, x: Tensor) -> Tensor:
    return vae.encode(x).latent_dist.mean


def test_minimax_h3_packs_so_many_frames_into_so_many_latents(h3, rng):
    for frames in (1, 5, 22, 39):
        z = encoded(h3, pixels(frames, rng))
        assert z.shape[2] == H3_GRID.latent_frames(frames)
        if frames > 5:  # it decodes no shorter one
            assert h3.decode(z).sample.shape[2] == H3_GRID.frames(z.shape[2]) == frames


def test_a_frame_of_minimax_h3_first_tells_in_the_latent_that_holds_it(h3, rng):
    """Its encoder looks back, and never beyond a block."""
    x = pixels(39, rng)
    z = encoded(h3, x)
    for frame in (0, 1, 4, 5, 16, 17, 18, 33, 34, 38):
        other = x.clone()
        other[:, :, frame] = -other[:, :, frame]
        changed = (encoded(h3, other) != z).flatten(3).any(-1)[0].any(0).nonzero().flatten()
        block = frame // H3_GRID.block_frames * H3_GRID.block
        assert int(changed[0]) == H3_GRID.latent_frame_of(frame)
        assert int(changed[-1]) < block + H3_GRID.block


def test_minimax_h3_is_cut_and_joined_at_blocks_to_the_bit(h3, rng):
    x, other = pixels(39, rng), pixels(22, rng)
    z = encoded(h3, x)
    assert torch.equal(z[:, :, 5:], encoded(h3, x[:, :, 17:]))
    joined = torch.cat((x[:, :, :34], other), dim=2)
    assert torch.equal(torch.cat((z[:, :, :10], encoded(h3, other)), dim=2), encoded(h3, joined))


@pytest.mark.parametrize("sizes", [[12, 5], [5, 5, 7], [9, 8]])
def test_pieces_of_minimax_h3_decode_to_what_the_whole_does(h3, rng, sizes):
    z, seams = torch.randn(1, 24, 17, 2, 2, generator=rng), Seams()

    def clip(part: Tensor):
        yield h3.decode(part).sample

    pieces = overlapped(clip, H3_GRID, z.split(sizes, dim=2), 17, context_of(H3_GRID), seams)
    assert torch.equal(torch.cat(list(pieces), dim=2), h3.decode(z).sample)
    assert not seams.count


def test_times_of_minimax_h3_are_those_of_its_transformer():
    """A latent frame begins as many ticks in as its first pixel frame, and a keyframe with it."""
    where = "diffusers.modular_pipelines.minimax_h3"
    times_of = of_diffusers("_temporal_position_grid", f"{where}.before_denoise")
    latents_of = of_diffusers("video_latent_num_frames", f"{where}.modular_pipeline")
    ticks_of = of_diffusers("audio_latent_num_frames", f"{where}.modular_pipeline")
    aligned = of_diffusers("align_num_frames", f"{where}.modular_pipeline")
    per_frame = Fraction(H3_SOUND.rate, 24)
    ticks, times = Ticks(H3_GRID, per_frame), times_of(57, 0.0)
    for k, time in enumerate(times.tolist()):
        assert time == pytest.approx(float(H3_GRID.first_frame(k) * per_frame), abs=1e-9)
    for frames in range(5, 400, 17):
        latent_frames = H3_GRID.latent_frames(frames)
        assert latent_frames == latents_of(frames, 17, 5)
        assert ticks.count(latent_frames) == ticks_of(frames)
        assert aligned(frames - 3, 17, 5) == frames


def test_ltx_2_packs_so_many_frames_into_so_many_latents(ltx2, rng):
    x = pixels(17, rng, 64)
    z = encoded(ltx2, x)
    assert z.shape == (1, *LTX_GRID.latent_shape(17, 64, 64)[1:])
    assert ltx2.decode(z).sample.shape[2] == LTX_GRID.frames(z.shape[2]) == 17
    for frame in (0, 1, 8, 9, 16):
        other = x.clone()
        other[:, :, frame] = -other[:, :, frame]
        changed = (encoded(ltx2, other) != z).flatten(3).any(-1)[0].any(0).nonzero().flatten()
        assert int(changed[0]) == LTX_GRID.latent_frame_of(frame)


@pytest.mark.parametrize("fps", [24, 25, 30, 50])
def test_times_of_ltx_2_are_those_of_its_transformer(fps):
    """Where its latent frames begin and end in pixels, and how much sound a video of them has."""
    where = "diffusers.models.transformers.transformer_ltx2"
    rope = of_diffusers("LTX2AudioVideoRotaryPosEmbed", where)
    video = rope(dim=12, patch_size=1, patch_size_t=1, base_height=2048, base_width=2048)
    coordinates = video.prepare_video_coords(1, 9, 2, 2, "cpu", fps=fps)[0, 0, ::4] * fps
    for k, (start, end) in enumerate(coordinates.tolist()):
        assert start == pytest.approx(LTX_GRID.first_frame(k), abs=1e-4)
        assert end == pytest.approx(LTX_GRID.first_frame(k + 1), abs=1e-4)
    ticks = Ticks(LTX_GRID, LTX_SOUND.rate / Fraction(fps))
    for latent_frames in range(2, 40):
        exact = LTX_GRID.frames(latent_frames) / fps * 16000 / 160 / 4
        assert abs(ticks.count(latent_frames) - exact) <= 0.5 + 1e-9
