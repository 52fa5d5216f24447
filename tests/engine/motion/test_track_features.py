"""Tracks in image channels, beside core's functions."""

import importlib
from fractions import Fraction

import numpy as np
import pytest
import torch

from longtake.engine.motion.brush import tracks_of
from longtake.engine.motion.brush_text import parse_brush
from longtake.engine.motion.track_features import ati_features, moved_features

pytestmark = pytest.mark.usefixtures("comfyui")
SIZE = WIDTH, HEIGHT = 112, 80
APART = "[0s] 0.25,0.5 -> 0.6,0.55 ease\n[0s] 0.1,0.1 right 0.5w\n[0s] 0.9,0.9 still"


def tracks(frames: int, moments: int, text: str = APART):
    """Of so many frames at 4 a second, at so many moments."""
    seconds = Fraction(frames, 4)
    times = [(frames - 1) / 4 * n / (moments - 1) for n in range(moments)]
    return tracks_of(parse_brush(text), None, times, seconds, SIZE, 1, 1)


def latents(t: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(t)
    return torch.randn(1, 16, t, HEIGHT // 8, WIDTH // 8, generator=rng)


def core(name: str):
    return pytest.importorskip(f"comfy_extras.{name}", reason="not in this ComfyUI")


@pytest.mark.parametrize("strength", [1.0, 0.3, 2.0])
def test_wan_move_s_are_core_s(strength):
    node, own, z = core("nodes_wanmove"), tracks(13, 13), latents(4)
    places = node.create_pos_embeddings(own.path, own.visible, [4, 8, 8], HEIGHT, WIDTH)
    expected = node.replace_feature(z.clone(), places[None], strength)
    torch.testing.assert_close(moved_features(z, own, strength, 5), expected, rtol=0, atol=1e-5)


def test_what_they_are_made_of_stays_as_it_is():
    z = latents(4)
    before = z.clone()
    assert not torch.equal(moved_features(z, tracks(13, 13), 1.0, 5), before)
    assert torch.equal(z, before)


def test_which_track_is_on_top_is_the_seed_s_and_only_where_they_cross():
    ends = ("0.1,0.5", "0.9,0.5", "0.5,0.1")
    text = "\n".join(f"[0s to 3s] {end} -> 0.5,0.5" for end in ends)
    own, z = tracks(13, 13, text), latents(4)
    made = [moved_features(z, own, 1.0, seed) for seed in range(8)]
    assert torch.equal(made[0], moved_features(z, own, 1.0, 0))
    apart = [(one != made[0]).any(1).sum() for one in made]
    assert 0 < max(apart) <= 3


@pytest.mark.parametrize("frames", [5, 13, 81])
def test_ati_s_are_core_s(frames):
    node = importlib.import_module("comfy_extras.nodes_wan")
    own, z = tracks(frames, 121), latents(1 + (frames - 1) // 4)
    points = [[{"x": float(x), "y": float(y)} for x, y in track] for track in own.path.unbind(1)]
    stacked = np.stack([node.pad_pts(track) for track in points])
    processed = node.process_tracks(stacked, SIZE, frames - 1)[None]
    mask, expected = node.patch_motion([processed], z)
    ours, held = ati_features(z, own.path, SIZE)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(held, mask, rtol=0, atol=1e-5)


def test_ati_has_121_frames_too_where_core_s_lacks_one():
    z = latents(31)
    ours, held = ati_features(z, tracks(121, 121).path, SIZE)
    assert ours.shape == z.shape
    assert held.shape == (1, 4, *z.shape[2:])
