"""A VAE and its own videos: a projection onto what it can show stands for the round trip."""

import pytest
import torch
from torch.nn import functional as F

from longtake.engine.recognition.reproduction import (
    describe_reproduction,
    gathered,
    middle_part,
    reproduction,
    starts,
)
from tests.engine.recognition.test_ledger import video


def through(frames: torch.Tensor) -> torch.Tensor:
    """Blurs in space, and within the latent frames: the first alone, then four at a time.

    Each round takes away a little more, as that of a VAE does.
    """
    pixels = frames.float().movedim(3, 1)
    small = F.interpolate(pixels, scale_factor=0.5, mode="area")
    pixels = F.interpolate(small, frames.shape[1:3], mode="bilinear")
    groups = [pixels[:1], *pixels[1:].split(4)]
    meant = torch.cat([0.2 * g + 0.8 * g.mean(0, keepdim=True) for g in groups])
    return meant.round().clamp(0, 255).to(torch.uint8).movedim(1, 3).contiguous()


def looked_at(frames: torch.Tensor):
    return reproduction(lambda at: frames[at : at + 9], starts(len(frames), 9, 4), through)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_its_own_are_told_from_others_wherever_they_begin(cut):
    plain = video(3, 33, (64, 96))
    own = through(through(plain))
    assert looked_at(own[cut:]).shift == (-cut) % 4
    assert looked_at(own[cut:]).ratio < looked_at(plain[cut:]).ratio / 2


def test_nothing_to_be_seen_is_no_sign():
    assert not looked_at(torch.full((9, 64, 64, 3), 9, dtype=torch.uint8)).own


def test_the_words_say_which_it_is():
    own, other = (type(looked_at(video(3, 9)))(ratio, 0) for ratio in (1.2, 6.0))
    assert "looks like a video of this VAE" in describe_reproduction(own)
    assert "no sign of this VAE" in describe_reproduction(other)
    assert describe_reproduction(None) == ""


def test_windows_lie_within_the_video():
    assert starts(9, 9, 4) == ([0], [])
    assert starts(11, 9, 4) == ([0, 1, 2], [])
    assert starts(49, 9, 4) == ([0, 1, 2, 3], [12, 24])


def test_the_middle_lies_on_the_grid():
    frames = torch.arange(300 * 500).reshape(1, 300, 500, 1)
    cut = middle_part(frames, 16)
    assert cut.shape[1:3] == (256, 256)
    assert divmod(int(cut[0, 0, 0, 0]), 500) == (16, 112)


def test_frames_are_gathered_by_number():
    frames = torch.arange(20)[:, None, None, None]
    found = gathered(frames.split(3), {2, 3, 11})
    assert {n: int(frame) for n, frame in found.items()} == {2: 2, 3: 3, 11: 11}
