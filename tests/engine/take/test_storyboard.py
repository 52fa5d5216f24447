"""What a storyboard's text means, and that every mistake is told by line and column."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.take.layout import check_end
from longtake.engine.take.storyboard import (
    MOST_SHOTS,
    Shot,
    StoryboardError,
    checked,
    joint_prompt,
    merged,
    moved,
    with_standing,
)
from longtake.engine.take.storyboard_text import parse_storyboard, read_storyboard
from longtake.engine.written import WrittenError

CASES = json.loads(Path(__file__).with_name("storyboards.json").read_text(encoding="utf-8"))
TEXT = """
# the opening
[0s] a red ball bounces on the grass
    at sunset
[4s cut] a blue cube on the snow

[1:05.5 dissolve 0.5s seed 7] the cube again,
  closer
"""


def read(text: str, end: Fraction) -> dict:
    """The shots in a text, or what is wrong with it, as the table has them."""
    try:
        shots, standing = read_storyboard(text)
        check_end(checked(shots), end)
    except WrittenError as error:
        return {"error": str(error)}
    found = {"shots": [[*map(plain, facts(shot))] for shot in shots]}
    return found | ({"standing": standing} if standing else {})


def plain(value):
    """JavaScript's numbers hold no seed of 64 bits."""
    return float(value) if isinstance(value, Fraction) else value if value is None else str(value)


def facts(shot: Shot) -> tuple:
    return shot.start, shot.words, shot.transition, shot.dissolve, shot.seed


def test_blocks_become_shots():
    assert [facts(shot) for shot in checked(parse_storyboard(TEXT))] == [
        (0, "a red ball bounces on the grass at sunset", "cut", 0, None),
        (4, "a blue cube on the snow", "cut", 0, None),
        (Fraction(131, 2), "the cube again, closer", "dissolve", Fraction(1, 2), 7),
    ]


def test_what_is_said_of_all_begins_every_prompt_and_is_none_of_its_own_words():
    shots = parse_storyboard("[0s] she opens a door\n[all] A woman in red.\n[4s] she leaves")
    assert [shot.prompt for shot in shots] == [
        "A woman in red. she opens a door",
        "A woman in red. she leaves",
    ]
    assert [shot.words for shot in shots] == ["she opens a door", "she leaves"]
    assert parse_storyboard("[all] on snow\n[0s] a ball")[0].prompt == "on snow, a ball"
    assert with_standing(with_standing(shots, "x"), "y")[0].prompt == "y, she opens a door"


def test_text_without_blocks_is_one_shot_and_blank_text_none():
    assert [facts(shot) for shot in parse_storyboard("a ball\nbounces")] == [
        (0, "a ball bounces", "cut", 0, None)
    ]
    assert parse_storyboard(" \n# nothing\n") == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"]))
def test_what_is_written_is_read_or_told_where_it_is_wrong(case):
    """tests/browser/test_strip.py holds the strip in the browser to the same table."""
    assert read(case["text"], Fraction(case["end"])) == {
        key: case[key] for key in ("shots", "standing", "error") if key in case
    }
    assert "\n" not in case.get("error", "")


def test_a_text_may_be_long_but_not_endless():
    told = read("[0s] " + "x" * 200_001, Fraction(10))["error"]
    assert told == "the text: 200006 characters: a storyboard has at most 200000."


@given(st.text(alphabet="[]0149s:. cutdisolve=\n#-", max_size=60))
def test_any_text_is_shots_or_a_mistake_with_its_place(text):
    told = ""
    try:
        shots = checked(parse_storyboard(text))
        check_end(shots, Fraction(10))
    except WrittenError as error:
        told = str(error)
    assert told.startswith(("line ", "the ")) or shots[0].start == 0


def block(shot):
    """A shot as it is written."""
    soft = f" dissolve {float(shot.dissolve)}s" if shot.dissolve else ""
    own = "" if shot.seed is None else f" seed {shot.seed}"
    return f"[{float(shot.start)}s{soft}{own}] {shot.prompt}"


words = st.text(alphabet="abc, ", min_size=1, max_size=9).filter(str.strip)


@given(
    st.lists(st.tuples(st.integers(1, 999), words, st.booleans(), st.none() | st.integers(0, 9)))
)
def test_written_out_and_read_again_it_is_the_same(parts):
    shots, start = [Shot(Fraction(0), "x")], Fraction(0)
    for step, prompt, soft, seed in parts:
        start += Fraction(step, 100)
        dissolve = Fraction(1, 100) if soft else Fraction(0)
        kind = "dissolve" if soft else "cut"
        shots.append(Shot(start, " ".join(prompt.split()), kind, dissolve, seed))
    again = parse_storyboard("\n".join(block(shot) for shot in shots))
    assert [facts(shot) for shot in again] == [facts(shot) for shot in shots]


def test_what_an_editor_puts_in_front_is_no_part_of_it():
    assert [shot.prompt for shot in parse_storyboard("\ufeff[0s] a\r\n[1s] b\r\n")] == ["a", "b"]


def test_shots_that_are_no_text_are_looked_at_too():
    for bad, what in (
        (Shot(Fraction(0), "x", "wipe", where="shot 1"), "no transition is called 'wipe'"),
        (Shot(Fraction(0), "x", "cut", Fraction(1), where="shot 1"), "a cut of 1s"),
        (Shot(Fraction(0), "x", seed=-1, where="shot 1"), "seed -1"),
    ):
        with pytest.raises(StoryboardError, match=f"shot 1: .*{what}"):
            checked([bad])
    with pytest.raises(StoryboardError, match=f"at most {MOST_SHOTS}"):
        checked([Shot(Fraction(n), "x") for n in range(MOST_SHOTS + 1)])


def test_shots_from_text_and_nodes_are_sorted_together():
    shots = merged(parse_storyboard("[0s] a\n[6s] c"), [Shot(Fraction(3), "b")])
    assert [shot.prompt for shot in shots] == ["a", "b", "c"]
    assert joint_prompt(shots) == "a, then cut to b, then cut to c"


def test_moved_shots_keep_dissolves_that_fit():
    shots = parse_storyboard("[0s] a\n[4s dissolve 2s] b\n[9s] c")
    starts = [Fraction(0), Fraction(5), Fraction(6)]
    assert [shot.dissolve for shot in checked(moved(shots, starts))] == [0, 1, 0]
