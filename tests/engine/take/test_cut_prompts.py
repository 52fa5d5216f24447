"""Cuts in the words of a prompt."""

from random import Random

import pytest

from longtake.engine.take.cut_prompts import even_starts, shots_of
from training.world.captions import Mix, caption, sample_scene


@pytest.mark.parametrize(
    ("prompt", "shots"),
    [
        ("a red ball, then cut to a blue cube", ["a red ball", "a blue cube"]),
        ("a red ball. Cut to a blue cube", ["a red ball", "a blue cube"]),
        ("a, then a cut to b, then the scene cuts to c", ["a", "b", "c"]),
        ("one\nCUT TO two", ["one", "two"]),
        ("then cut to a blue cube", ["a blue cube"]),
        ("grass cut to the ground", ["grass", "the ground"]),
        ("a shortcut to the road", ["a shortcut to the road"]),
        ("the road, cut", ["the road, cut"]),
        ("", [""]),
    ],
)
def test_each_shot_has_its_own_words(prompt, shots):
    assert shots_of(prompt) == shots


def test_every_way_of_saying_it_in_training_is_read():
    rng = Random(5)
    scenes = [sample_scene(rng, Mix(cut=0.5)) for _ in range(200)]
    for scene in scenes:
        assert len(shots_of(caption(scene, rng))) == len(scene.shots)


@pytest.mark.parametrize(
    ("shots", "frames", "starts"),
    [(1, 5, [0]), (2, 5, [0, 3]), (2, 4, [0, 2]), (3, 7, [0, 3, 5]), (3, 2, [0, 1, 2])],
)
def test_shots_share_a_clip(shots, frames, starts):
    assert even_starts(shots, frames) == starts
