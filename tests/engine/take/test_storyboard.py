"""What a storyboard's text means, and that every mistake is told by line and column."""

from fractions import Fraction

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
)
from longtake.engine.take.storyboard_text import parse_storyboard

TEXT = """
# the opening
[0s] a red ball bounces on the grass
    at sunset
[4s cut] a blue cube on the snow

[1:05.5 dissolve 0.5s seed 7] the cube again,
  closer
"""


def facts(shot: Shot) -> tuple:
    return shot.start, shot.prompt, shot.transition, shot.dissolve, shot.seed


def test_blocks_become_shots():
    assert [facts(shot) for shot in checked(parse_storyboard(TEXT))] == [
        (0, "a red ball bounces on the grass at sunset", "cut", 0, None),
        (4, "a blue cube on the snow", "cut", 0, None),
        (Fraction(131, 2), "the cube again, closer", "dissolve", Fraction(1, 2), 7),
    ]


@pytest.mark.parametrize(
    ("block", "read"),
    [
        ("[0]", (0, "cut", 0, None)),
        ("[ 4.25S , cut ]", (Fraction(17, 4), "cut", 0, None)),
        ("[9s dissolve]", (9, "dissolve", Fraction(1, 2), None)),
        ("[9s dissolve seed=5]", (9, "dissolve", Fraction(1, 2), 5)),
        ("[9s dissolve 2 seed = 5]", (9, "dissolve", 2, 5)),
        ("[2:03]", (123, "cut", 0, None)),
        ("[seed", None),
    ],
)
def test_the_forms_of_a_block(block, read):
    if read is None:
        with pytest.raises(StoryboardError, match="closing bracket"):
            parse_storyboard(block)
        return
    (shot,) = parse_storyboard(f"{block} x")
    assert (shot.start, shot.transition, shot.dissolve, shot.seed) == read


def test_text_without_blocks_is_one_shot_and_blank_text_none():
    assert [facts(shot) for shot in parse_storyboard("a ball\nbounces")] == [
        (0, "a ball bounces", "cut", 0, None)
    ]
    assert parse_storyboard(" \n# nothing\n") == ()


BAD = [  # text, where, what is told
    ("[4s] x", "line 1, column 1", "the first shot starts at 4s: it must start at 0s"),
    ("[0s dissolve] x", "line 1, column 1", "the first shot cannot dissolve"),
    ("[0s] x\n[4s] y\n[4s cut] z", "line 3, column 1", "starts at 4s, but the one before it"),
    ("[0s] x\n[4s] y\n  [3s cut] z", "line 3, column 3", "they would overlap"),
    ("[0s] x\n[10s] y", "line 2, column 1", "past the end at 10s"),
    ("[0s] x\n[4s disolve 1s] y", "line 2, column 5", "'disolve' means nothing here: did you mean"),
    ("[0s] x\n[4s fade] y", "line 2, column 5", "did you mean dissolve?"),
    ("[0s] x\n[4s wipe] y", "line 2, column 5", "'wipe' means nothing here: a block is"),
    ("[0s] x\n[4s cut cut] y", "line 2, column 9", "'cut' stands where it cannot"),
    ("[0s] x\n[4s 5s] y", "line 2, column 5", "a second time comes only after dissolve"),
    ("[0s] x [4s cut] y", "line 1, column 8", "put '[4s cut]' on the next one"),
    ("[0s] x\n  y [1:05] z", "line 2, column 5", "a block begins a line of its own"),
    ("[0s] x\n[4s seed] y", "line 2, column 5", "a whole number"),
    ("[0s] x\n[4s seed x] y", "line 2, column 10", "a whole number"),
    ("[0s] x\n[4s seed 18446744073709551616] y", "line 2, column 1", "seed 18446744073709551616"),
    ("[0s] x\n[-4s] y", "line 2, column 2", "a time cannot be before 0s"),
    ("[0s] x\n[1:75] y", "line 2, column 2", "'1:75' is no time"),
    ("[0s] x\n[soon] y", "line 2, column 2", "'soon' is no time"),
    ("[0s] x\n[cut 4s] y", "line 2, column 2", "a block begins with its time"),
    ("[0s] x\n[] y", "line 2, column 1", "an empty block"),
    ("[0s] x\n[4s y", "line 2, column 1", "no closing bracket"),
    ("[0s]\n[4s] y", "line 1, column 1", "this shot has no prompt"),
    ("hello\n[0s] x", "line 1, column 1", "text before the first shot"),
    ("[0s] x\n[4s dissolve 3s] y\n[6s] z", "line 2, column 1", "take at most 2s"),
    ("[0s] x\n[8s dissolve 3s] y", "line 2, column 1", "not over at the end, 10s: take at most 2s"),
    ("[0s] x\n[4s dissolve 0s] y", "line 2, column 5", "a dissolve of 0 seconds"),
    ("", "the storyboard", "there is no shot in it"),
    ("[0s] " + "x" * 200_001, "the text", "200006 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "what"), BAD)
def test_a_mistake_is_told_where_it_is(text, where, what):
    with pytest.raises(StoryboardError) as error:
        check_end(checked(parse_storyboard(text)), Fraction(10))
    assert str(error.value).startswith(f"{where}: ")
    assert what in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(alphabet="[]0149s:. cutdisolve=\n#-", max_size=60))
def test_any_text_is_shots_or_a_mistake_with_its_place(text):
    told = ""
    try:
        shots = checked(parse_storyboard(text))
        check_end(shots, Fraction(10))
    except StoryboardError as error:
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
