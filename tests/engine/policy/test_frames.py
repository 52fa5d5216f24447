"""Which frames a detector is shown, and what of its answers counts."""

from fractions import Fraction

import torch

from longtake.engine.policy.frames import frames_to_look_at, seen_in
from longtake.engine.policy.policy import FramesPolicy


def stripes(shade: int, frames: int) -> torch.Tensor:
    image = torch.arange(40).mul(5 * shade).remainder(251).to(torch.uint8)
    return image[None, None, :, None].expand(frames, 30, 40, 3).contiguous()


def test_one_a_second_and_the_first_of_each_shot():
    video = torch.cat((stripes(1, 21), stripes(3, 12)))
    shown = [int(frame[0, 1, 0]) for frame in frames_to_look_at(video.split(5), Fraction(8))]
    assert shown == [5, 5, 5, 15, 15]  # 0, 8, 16; the cut at 21; 29


def test_what_is_barred_counts_if_it_is_sure():
    frames = [torch.zeros(2, 2, 3, dtype=torch.uint8)]
    policy = FramesPolicy(threshold=0.6)
    assert seen_in(frames, lambda f: [("BUTTOCKS_EXPOSED", 0.7)], policy) == "BUTTOCKS_EXPOSED"
    assert seen_in(frames, lambda f: [("BUTTOCKS_EXPOSED", 0.5)], policy) is None
    assert seen_in(frames, lambda f: [("FEET_EXPOSED", 0.9), ("FACE_FEMALE", 1)], policy) is None
    only = FramesPolicy(labels=("FEET_EXPOSED",))
    assert seen_in(frames, lambda f: [("FEET_EXPOSED", 0.9)], only) == "FEET_EXPOSED"
