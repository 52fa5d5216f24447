"""The built-in model's words: its captions are read as meant, other words put into them."""

from random import Random

import pytest

from longtake.engine.words.little_world import (
    KINDS,
    caption_of,
    phrases,
    read_scenes,
    recaption,
    without_camera,
    world_words,
)
from training.exam.paraphrase import paraphrased
from training.exam.words import measure_text
from training.world import captions
from training.world.captions import Mix, caption, sample_scene

TABLES = {
    "colour": captions._COLOUR_WORDS,
    "shape": captions._SHAPE_WORDS,
    "size": captions._SIZE_WORDS,
    "motion": captions._MOTION_WORDS,
    "ground": captions._GROUND_WORDS,
    "time": captions._TIME_WORDS,
    "camera": captions._CAMERA_WORDS,
}


def told(scene) -> tuple:
    things = {(t.colour, t.shape, t.size or "medium", t.motion) for t in scene.things}
    return things, scene.ground, scene.time or "day", scene.camera or "static", scene.post


def flat(row) -> list[str]:
    words = [word for each in row for word in ((each,) if isinstance(each, str) else each)]
    return [word for word in dict.fromkeys(words) if word]


@pytest.mark.parametrize("kind", TABLES)
def test_what_was_trained_is_what_captions_say(kind):
    rows = {value: row["trained"] for value, row in world_words()[kind].items()}
    assert rows == {value: flat(row) for value, row in TABLES[kind].items()}


def test_every_caption_is_read_as_it_was_meant():
    for k in range(400):
        rng = Random(k)
        scene = sample_scene(rng, Mix(post=0.05))
        text = caption(scene, rng)
        found = read_scenes(text)
        assert [told(shot) for shot in found] == [told(shot) for shot in scene.shots], text
        assert not any(shot.left_out for shot in found), text


def test_a_caption_stays_and_is_read_again_as_the_same():
    for k in range(100):
        rng = Random(k)
        scene = sample_scene(rng)
        text = caption(scene, rng)
        assert recaption(text, k) == (text, (), (), True)
        if len(scene.shots) == 1:
            plain = caption_of(read_scenes(text)[0])
            assert told(read_scenes(plain)[0]) == told(scene.shots[0]), plain


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ("a crimson sphere drifts left on the beach at dusk",
         "a red ball moves left on the sand at sunset"),
        ("A colossal sky-blue crate plummets under a clear blue sky, on a green field.",
         "a big cyan cube falls on the grass"),
        ("the camera pulls back while a (lilac:1.3) party hat twirls on the ice at midnight, 4k",
         "a purple cone spins on the snow at night, the camera zooms out"),
        ("a ruby marble hops on the highway; smash cut to an azure dice that swells on the dunes",
         "a red ball bounces on the road, then cut to a blue cube growing on the sand"),
        ("an emerald orb ascends and a magenta block is motionless, in the desert at noon",
         "a green ball rises and a pink cube stays still on the sand"),
    ],
)  # fmt: skip
def test_other_peoples_words_are_put_into_its_own(asked, made):
    found = recaption(asked, 0)
    assert found.text == made
    assert not found.filled


def test_what_is_left_open_is_drawn_by_the_seed_and_what_is_unknown_named():
    found = {recaption("a crimson orb with a hat in Venice", seed) for seed in range(20)}
    assert len(found) > 10
    assert all(f.text.startswith("a red ball ") for f in found)
    assert {f.left_out for f in found} == {("hat", "venice")}
    assert {len(f.filled) for f in found} == {2}  # a motion and a place
    assert recaption("a crimson orb", 3) == recaption("a crimson orb", 3)


def test_a_prompt_of_another_world_stays():
    assert recaption("a dog runs in the forest", 1) == (
        "a dog runs in the forest",
        ("dog", "runs", "forest"),
        (),
        False,
    )


def test_measured_on_prompts_in_other_words():
    asked = paraphrased(60, 5)
    found = measure_text(asked, [recaption(prompt, 0).text for _, prompt in asked])
    assert found["before"]["all"] <= 5
    assert found["after"]["all"] >= 95


def test_what_is_said_of_the_camera_can_be_taken_out():
    assert without_camera("a red ball, the camera pans left, at night") == "a red ball, at night"
    assert without_camera("slow push-in: a red ball") == "a red ball"


def test_no_phrase_means_two_things_and_none_is_written_twice():
    patterns = [p.pattern.pattern for p in phrases()]
    assert len(patterns) == len(set(patterns))
    assert {p.kind for p in phrases()} == set(KINDS)
