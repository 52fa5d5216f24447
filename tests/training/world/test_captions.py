from dataclasses import replace
from random import Random

import pytest

from training.world import captions
from training.world.captions import (
    CAMERAS,
    COLOURS,
    EASY_WORLD,
    GROUNDS,
    HELD_OUT,
    MOTIONS,
    SHAPES,
    TIMES,
    WHOLE_WORLD,
    Mix,
    Scene,
    Shot,
    Thing,
    all_words,
    caption,
    held_out_scenes,
    sample_scene,
)

PLAIN = replace(WHOLE_WORLD, synonyms=0)


def samples(count, mix=WHOLE_WORLD):
    rng = Random(7)
    return [sample_scene(rng, mix) for _ in range(count)]


def test_training_never_shows_a_held_out_pair():
    assert not any(scene.held_out for scene in samples(2000))


def test_about_an_eighth_of_all_pairs_are_held_out():
    pairs = len(COLOURS) * (len(SHAPES) + len(MOTIONS))
    assert len(HELD_OUT) == pairs // 8
    for colour in COLOURS:  # every word is still learned from something
        assert sum((colour, shape) not in HELD_OUT for shape in SHAPES) >= 2
        assert sum((colour, motion) not in HELD_OUT for motion in MOTIONS) >= 7


def test_held_out_scenes_are_held_out_and_motions_take_turns():
    scenes = held_out_scenes(45, seed=3)
    assert all(scene.held_out for scene in scenes)
    for motion in MOTIONS:
        assert sum(scene.things[0].motion == motion for scene in scenes) == 5
    assert held_out_scenes(11, seed=3)[:9] == scenes[:9]


def test_the_whole_world_turns_up():
    scenes = samples(500)
    shots = [shot for scene in scenes for shot in scene.shots]
    assert {shot.ground for shot in shots} == set(GROUNDS)
    assert {shot.time for shot in shots} == set(TIMES)
    assert {shot.camera for shot in shots} == set(CAMERAS)
    assert {thing.motion for shot in shots for thing in shot.things} == set(MOTIONS)
    assert {len(shot.things) for shot in shots} == {1, 2}
    assert {len(scene.shots) for scene in scenes} == {1, 2}


def test_an_easy_world_is_easy():
    scenes = samples(300, EASY_WORLD)
    assert all(len(shot.things) == 1 for scene in scenes for shot in scene.shots)
    assert {thing.size for scene in scenes for thing in scene.things} == {"medium"}
    assert {thing.motion for scene in scenes for thing in scene.things} == set(EASY_WORLD.motions)


def test_two_objects_differ_in_colour_and_a_cut_changes_the_place():
    for scene in samples(300, Mix(two=1, cut=1)):
        first, second = scene.shots
        assert len({thing.colour for thing in first.things}) == 2
        assert (first.ground, first.time) != (second.ground, second.time)


def test_a_plain_caption_says_it_all():
    shot = Shot("snow", "sunset", (Thing("orange", "cone", "big", "spins"),), "zoom in")
    text = caption(Scene((shot,)), Random(0), PLAIN)
    assert text == "an big orange cone spins on the snow at sunset, the camera zooms in".replace(
        "an big", "a big"
    )


@pytest.mark.parametrize("unseen", [False, True])
def test_captions_are_short_lower_case_and_clean(unseen):
    rng = Random(1)
    for scene in samples(400):
        text = caption(scene, rng, unseen_order=unseen)
        assert text == text.lower()
        assert 3 < len(text.split()) <= 50
        assert "  " not in text
        assert ", ," not in text
        assert not text.startswith(",")
        assert not text.endswith((",", " "))
        assert " a orange" not in f" {text}"


def test_every_word_of_a_caption_is_in_the_list_of_words():
    known = {word for phrase in all_words() for word in phrase.split()}
    rng = Random(2)
    for scene in samples(300):
        assert set(caption(scene, rng).replace(",", "").split()) <= known


def test_wordings_vary_and_repeat_with_the_generator():
    scene = samples(1)[0]
    texts = [caption(scene, Random(seed)) for seed in range(30)]
    assert len(set(texts)) > 15
    assert texts == [caption(scene, Random(seed)) for seed in range(30)]


def test_unseen_orders_are_unseen():
    shot = Shot("sand", "night", (Thing("red", "ball", "medium", "left"),), "pan left")
    scene = Scene((shot,))

    def orders(unseen):
        rng, plain = Random(0), replace(WHOLE_WORLD, synonyms=1)
        marks = {"sand": "p", "beach": "p", "desert": "p", "night": "t", "dark": "t", "stars": "t"}
        marks |= {"camera": "c", "red": "s"}
        found = set()
        for _ in range(300):
            words = caption(scene, rng, plain, unseen_order=unseen).replace(",", " ,").split()
            found.add("".join(marks.get(w, w if w == "," else "") for w in words))
        return found

    assert not orders(True) & orders(False)


def test_a_post_is_named_wherever_one_stands():
    rng = Random(4)
    scenes = samples(200, Mix(post=0.5))
    named = ["behind a" in caption(scene, rng) for scene in scenes]
    assert named == [scene.shots[0].post for scene in scenes]
    assert 60 < sum(named) < 140
    passing = {
        thing.motion for scene, n in zip(scenes, named, strict=True) if n for thing in scene.things
    }
    assert passing == {"left", "right"}


def test_two_that_pass_one_another_are_never_a_held_out_pair():
    scenes = samples(300, Mix(two=1.0, cut=0.0, crossing=0.5))
    ways = [sorted(thing.motion for thing in scene.things) == ["left", "right"] for scene in scenes]
    assert 120 < sum(ways) < 190
    for scene in scenes:
        assert len({thing.colour for thing in scene.things}) == 2
        assert not scene.held_out


def test_wider_words_stand_for_plain_ones_only_when_asked_for():
    scene = Scene((Shot("sand", "night", (Thing("red", "ball", "big", "left"),), "pan left"),))
    wider = {word for words in captions._WIDER.values() for word in words}

    def found(mix):
        rng = Random(3)
        texts = [caption(scene, rng, mix) for _ in range(100)]
        return {word for word in wider if any(f" {word}" in f" {text}" for text in texts)}

    assert not found(WHOLE_WORLD)
    assert {"crimson", "orb", "giant", "at midnight", "at the beach"} <= found(Mix(wide=0.5))
