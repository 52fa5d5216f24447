"""Prompts expanded by rules, by a language model, shot by shot."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.sampling.host_presets import HOST_FAMILIES, host_family
from longtake.engine.sampling.presets import FAMILIES
from longtake.engine.take.storyboard_text import parse_storyboard, read_storyboard
from longtake.engine.words.answer import WORD, fault_of, missing_from, tidied
from longtake.engine.words.expand import expand
from longtake.engine.words.families import BUILT_IN, caption_families, caption_forms
from longtake.engine.words.slots import SLOTS, fills_for, says, slot_words
from longtake.engine.words.subject import subject_of
from longtake.models.errors import InputError

FORMS = tuple(caption_forms())
CAT = 'two cats say "good night" on a roof'
GOOD = (
    "Realistic style. Two grey cats with long tails sit side by side on the red tiles of a steep "
    'roof. The left one turns its head, blinks and says "good night", and the other one answers '
    "with a slow nod. Behind them are chimneys and a wide sky with thin clouds. Soft light of the "
    "last sun comes from one side and leaves long shadows. Medium shot at eye level; the camera "
    "moves slowly closer."
)


def test_every_model_that_is_known_has_captions_of_a_known_kind():
    named = [f.captions for f in (*FAMILIES, *HOST_FAMILIES.values(), host_family(["WAN22"]))]
    assert set(named) == set(caption_families())


@pytest.mark.parametrize("family", FORMS)
def test_rules_keep_the_prompt_and_add_what_is_missing(family):
    found = expand("a crimson orb", family, 1)
    assert "a crimson orb" in found.text
    assert all(says(found.text, slot) for slot in caption_forms()[family].fills if slot != "action")
    assert found == expand("a crimson orb", family, 1)
    assert len({expand("a crimson orb", family, seed).text for seed in range(9)}) > 3


def test_h3_is_told_scene_shots_and_sound():
    lines = expand("a crimson orb", "MiniMax H3", 1).text.split("\n")
    assert [line.split()[0] for line in lines] == ["Scene:", "Shots:", "Sound:"]
    silent = expand("a silent film of an orb", "MiniMax H3", 1)
    assert "Sound:" not in silent.text


@pytest.mark.parametrize(
    ("prompt", "slot"),
    [("a cat at night", "light"), ("a cat, close-up", "camera"), ("an anime cat", "style"),
     ("a cat in the kitchen", "place"), ("a cat without music", "sound"),
     ("a cat sleeps", "action"), ("a black and white cat film", "style")],
)  # fmt: skip
def test_what_is_said_is_not_said_again(prompt, slot):
    assert slot not in fills_for(prompt, SLOTS, 3)


@pytest.mark.parametrize(
    ("prompt", "never"),
    [("a statue, motionless", "movement"), ("a whale underwater", "daylight"),
     ("a ship in a storm", "low sun"), ("a satellite in orbit", "daylight"),
     ("a man in a cellar", "daylight"), ("a drawn cat", "Realistic")],
)  # fmt: skip
def test_nothing_is_added_that_contradicts(prompt, never):
    for seed in range(40):
        assert never not in " ".join(fills_for(prompt, SLOTS, seed).values())


def test_every_fill_says_something_of_its_slot():
    for slot in set(SLOTS) - {"action", "place"}:
        for row in slot_words()[slot]["fills"]:
            assert says(row["say"], slot), row


@given(st.text(max_size=80).filter(str.strip), st.sampled_from(caption_families()))
def test_any_text_is_expanded_or_told_in_a_line(text, family):
    told = ""
    try:
        made = expand(text, family, 7)
    except InputError as error:
        told = str(error)
    assert told or (made.text.strip() and made.notes)
    assert "\n" not in told


def test_blank_text_is_refused():
    with pytest.raises(InputError, match="write at least who or what"):
        expand(" \n", "Wan", 0)
    with pytest.raises(InputError, match="no shot"):
        expand("[all] snow", "Wan", 0)


def test_a_good_answer_is_used_and_a_bad_one_told_and_replaced():
    asked = []

    def write(instruction, prompt, most):
        asked.append((instruction, prompt, most))
        return answers.pop()

    answers = ["I'm sorry, I can't help with that.", f"<think>hm</think>\nPrompt: {GOOD}"]
    good, bad = (expand(CAT, "Wan", 1, write) for _ in range(2))
    assert good == (GOOD, ("written by the language model",))
    assert bad.notes[0] == "by rules: the model's answer was a refusal"
    assert bad.text == expand(CAT, "Wan", 1).text
    assert "80 to 100 words" in asked[0][0]
    assert asked[0][1] == CAT


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("", "no answer"),
        ("As an AI I cannot create this.", "a refusal"),
        ("**Scene** " + GOOD, "lists or Markdown"),
        ("- one\n- two\n" + GOOD, "lists or Markdown"),
        ("two cats on a roof", "5 words, not 45 to 160"),
        (f"{GOOD} " * 3, f"{3 * len(WORD.findall(GOOD))} words, not 45 to 160"),
        (GOOD.replace("good night", "good evening"), 'without the speech "good night"'),
        (GOOD.replace("Two", "Some"), "without the number two"),
        (GOOD.replace("cats", "dogs"), "without 'cats'"),
        (GOOD.replace("roof", "street"), "without 'roof'"),
        (GOOD, ""),
        (GOOD.replace("Two", "2"), ""),
    ],
)
def test_an_answer_is_looked_at(answer, fault):
    assert fault_of(CAT, answer, (45, 160)) == fault


def test_endings_do_not_matter_and_small_words_neither():
    assert missing_from("a bouncing ball that flies", "balls bounced and fly") == ""
    assert missing_from("the boxes of a lady", "a box; ladies") == ""
    assert tidied('"A cat."') == "A cat."
    assert tidied("Here is the prompt you asked for:\nA cat.") == "A cat."
    assert tidied("<think>never closed") == ""


def test_one_who_is_seen_in_all_shots_is_said_in_the_same_words():
    text = (
        "[0s] a red-haired woman in a green coat walks through the rain\n"
        "[3s cut] she opens a door\n[5s dissolve 0.5s seed 4] close-up of a clock"
    )
    made = read_storyboard(expand(text, "Wan", 3).text)
    before = parse_storyboard(text)
    assert [(s.start, s.transition, s.dissolve, s.seed) for s in made.shots] == [
        (s.start, s.transition, s.dissolve, s.seed) for s in before
    ]
    first, second, third = (shot.words for shot in made.shots)
    assert first.startswith("a red-haired woman in a green coat walks through the rain.")
    assert second.startswith("A red-haired woman in a green coat. She opens a door.")
    assert third.startswith("close-up of a clock.")
    light = "Even light with soft shadows."  # it rains in the first
    assert all(light in words for words in (first, second, third))


def test_what_holds_for_all_stays_and_is_not_said_again():
    made = read_storyboard(
        expand("[all] film noir, at night\n[0s] a cat\n[2s] it runs", "LTX", 1).text
    )
    assert made.standing == "film noir, at night"
    told = " ".join(shot.words for shot in made.shots)
    assert not says(told.replace("shot", ""), "light")
    assert not says(told, "style")


def test_in_the_little_world_it_becomes_a_part_of_each_shot():
    text = "[all] on the ice\n[0s] a crimson orb soars\n[2s] it twirls at dusk\n[4s] a navy crate"
    made = read_storyboard(expand(text, BUILT_IN, 1).text)
    assert made.standing == ""
    assert [shot.words for shot in made.shots][:2] == [
        "a red ball rises on the snow",
        "a red ball spins on the snow at sunset",
    ]
    assert made.shots[2].words.startswith("a blue cube ")


@pytest.mark.parametrize(
    ("text", "subject"),
    [("a tall man with a beard walks", "a tall man with a beard"), ("two dogs run", "two dogs"),
     ("she runs", None), ("in the rain a man walks", None),
     ("an old fisherman, at sea", "an old fisherman")],
)  # fmt: skip
def test_the_subject_stands_before_the_verb(text, subject):
    found = subject_of(text)
    assert (found.words if found else None) == subject


def test_long_texts_are_read_in_seconds():
    draw = Random(1)
    words = [word for slot in SLOTS for word in slot_words()[slot]["said"] if "*" not in word]
    text = " ".join(draw.choices(words, k=4000))[:20_000]
    for family in caption_families():
        assert expand(text, family, 1).text
