"""What a VAE gives back, against errors known by hand."""

from math import log10

import pytest
import torch
from torch import nn

from training import reconstruction
from training.reconstruction import HARD, decibels, hard_clips
from training.world.render import Clips


class Off(nn.Module):
    """A VAE that is wrong by `error` where the first pixel column is, and right elsewhere."""

    def __init__(self, error):
        super().__init__()
        self.error = nn.Parameter(torch.tensor(error))

    def encode(self, pixels):
        return pixels

    def decode(self, latents):
        back = latents.clone()
        back[..., 0] += self.error
        return back


def clips(count=2):
    masks = torch.zeros(count, 5, 4, 8)
    masks[..., 0] = 1
    return Clips(torch.zeros(count, 3, 5, 4, 8), masks, torch.full((count,), 5))


def test_objects_are_weighed_by_their_masks():
    score = reconstruction.reconstruction(Off(0.5), clips())
    assert score.objects == pytest.approx(10 * log10(4 / 0.25), abs=1e-3)
    assert score.whole == pytest.approx(10 * log10(4 / (0.25 / 8)), abs=1e-3)


def test_pixels_out_of_range_are_clipped_as_a_video_is():
    score = reconstruction.reconstruction(Off(3.0), clips())
    assert score.objects == pytest.approx(10 * log10(4 / 1.0), abs=1e-3)


def test_the_mean_is_of_decibels():
    one = clips()
    one.masks[1] = 0  # nothing to see: right, whatever is there
    score = reconstruction.reconstruction(Off(0.5), one)
    right = decibels(0.0)
    assert score.objects == pytest.approx((10 * log10(4 / 0.25) + right) / 2, abs=1e-3)


def test_half_of_the_clips_are_hard(monkeypatch):
    asked = []
    monkeypatch.setattr(reconstruction, "render", lambda scenes, *_: asked.append(scenes))
    hard_clips()
    (scenes,) = asked
    assert len(scenes) == 12
    assert sum(any(t.motion in HARD for t in scene.things) for scene in scenes) >= 6
