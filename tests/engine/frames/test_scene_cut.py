"""Cuts are found, and motion is not taken for one."""

from dataclasses import astuple, replace
from functools import cache
from random import Random

import pytest
import torch
from torch import Tensor

from longtake.engine.frames.scene_cut import NEAR, detect_cuts, seam_is_cut, thresholds
from longtake.models.errors import InputError
from training.world.captions import MOTIONS, Scene, Shot, Thing, sample_scene
from training.world.render import render

HEIGHT, WIDTH = 47, 61


def shots(count: int, seed: int) -> list[Scene]:
    """Scenes of one shot each."""
    rng = Random(seed)
    return [Scene(sample_scene(rng).shots[:1]) for _ in range(count)]


@cache
def clips(count: int, frames: int, fps: float, seed: int) -> Tensor:
    """(count, frames, h, w, 3) uint8 from the procedural world, no cuts in them."""
    return filmed(shots(count, seed), frames, fps, seed)


def filmed(scenes: list[Scene], frames: int, fps: float = 8, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    pixels = render(scenes, frames, rng, height=HEIGHT, width=WIDTH, fps=fps).pixels
    return pixels.add(1).mul(127.5).round().byte().permute(0, 2, 3, 4, 1)


def found(frames: Tensor, sensitivity: float = 0.5) -> list[int]:
    """First frames of the shots that are found after the first."""
    return [i for i, (_, cut) in enumerate(detect_cuts(iter(frames), sensitivity)) if cut]


def test_twenty_cuts_between_random_shots_are_found_and_nothing_else():
    shots = clips(21, 7, 8, 3)
    assert found(shots.flatten(0, 1)) == list(range(7, 21 * 7, 7))


def test_cuts_between_views_of_one_place_are_found():
    """Same ground, same time of day: only the things, the hills and the clouds differ."""
    first = shots(7, 5)
    second = [
        Scene((replace(b.shots[0], ground=a.shots[0].ground, time=a.shots[0].time),))
        for a, b in zip(first, shots(7, 6), strict=True)
    ]
    one, other = filmed(first, 7), filmed(second, 7, seed=1)
    assert [found(torch.cat(pair)) for pair in zip(one, other, strict=True)] == [[7]] * 7


@pytest.mark.parametrize(("fps", "sensitivity"), [(8, 0.5), (4, 1.0), (2, 0.5), (2, 1.0)])
def test_motion_is_no_cut_even_when_it_is_fast(fps, sensitivity):
    """At 2 frames a second things cross an eighth of the picture in one step."""
    for clip in clips(7, 7, fps, 11):
        assert found(clip, sensitivity) == []


@pytest.mark.parametrize("camera", ["pan left", "pan right", "zoom in", "zoom out"])
def test_camera_moves_are_no_cuts(camera):
    things = (Thing("red", "ball", "big", "bounces"), Thing("cyan", "cube", "small", "right"))
    scene = Scene((Shot("road", "day", things, camera),))
    assert found(filmed([scene], 11, fps=2)[0]) == []


@pytest.mark.parametrize("motion", MOTIONS)
def test_frames_shown_three_times_are_no_cuts(motion):
    """As animation is drawn, and as slow video is carried in fast files."""
    scene = Scene((Shot("grass", "day", (Thing("red", "ball", "big", motion),)),))
    assert found(filmed([scene], 7, fps=4)[0].repeat_interleave(3, 0)) == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_flash_is_no_cut(length, at):
    """Unless the clip ends with it: then nobody can know."""
    for clip in clips(5, 7, 8, 11):
        lit = clip.clone()
        lit[at : at + length] = (lit[at : at + length].float() * 0.3 + 0.7 * 255).byte()
        assert found(lit) == []


def test_a_dissolve_is_no_cut():
    one, other = clips(2, 13, 8, 7).float()
    share = torch.linspace(0, 1, 13).view(-1, 1, 1, 1)
    assert found((one * (1 - share) + other * share).byte()) == []


@pytest.mark.parametrize("length", [3, 5])
def test_short_shots_are_shots(length):
    """Shorter ones may pass for a flash."""
    pieces = clips(5, 7, 8, 3)[:, :length]
    assert found(pieces.flatten(0, 1)) == [n * length for n in range(1, 5)]


def test_two_frames_are_enough():
    one, other = clips(2, 7, 8, 3)[:, 0]
    assert found(torch.stack((one, other))) == [1]
    assert found(torch.stack((one, one))) == []
    assert found(one[None]) == []


def test_every_frame_comes_out_once_and_soon():
    frames, taken = clips(1, 9, 8, 3)[0], []

    def source():
        for number, frame in enumerate(frames):
            taken.append(number)
            yield frame

    for number, (frame, _) in enumerate(detect_cuts(source())):
        assert torch.equal(frame, frames[number])
        assert len(taken) <= number + NEAR + 2


def test_off_finds_nothing_and_looks_at_nothing():
    frames = clips(2, 7, 8, 3).flatten(0, 1)
    assert found(frames, 0) == []
    assert thresholds(0) is None


def test_more_sensitivity_finds_more():
    low, usual, high = (astuple(thresholds(value)) for value in (0.25, 0.5, 1))
    assert all(a > b > c for a, b, c in zip(low, usual, high, strict=True))


@pytest.mark.parametrize("sensitivity", [-0.1, 1.1, float("nan")])
def test_nonsense_is_named(sensitivity):
    with pytest.raises(InputError, match="choose a number from 0"):
        thresholds(sensitivity)


def test_a_seam_may_be_a_cut():
    one, other = clips(2, 7, 8, 3)
    assert seam_is_cut(one[-1], other[0], 0.5)
    assert not seam_is_cut(one[-1], one[0], 0.5)
    assert not seam_is_cut(one[-1], other[0], 0)
