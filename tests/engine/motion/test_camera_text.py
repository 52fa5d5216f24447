"""Camera paths as people write them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.motion.camera import DEGREES, FACTOR, MOVES, WIDTHS, CameraPath
from longtake.engine.motion.camera_text import parse_camera
from longtake.engine.motion.timed_lines import EASINGS, eased
from longtake.engine.written import WrittenError


def facts(line: str) -> tuple:
    (move,) = parse_camera(line)
    span = move.span
    return move.kind, move.sign, move.amount, move.unit, move.per_second, span.start, span.end


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[0s] pan right 20°", ("pan", 1, 20, DEGREES, False, 0, None)),
        ("[1s to 3s] tilt down 5 degrees", ("tilt", -1, 5, DEGREES, False, 1, 3)),
        ("[1 - 3] ROLL Left 5deg/s", ("roll", -1, 5, DEGREES, True, 1, 3)),
        ("[1s–3s] pan left 0.2w/s", ("pan", -1, 0.2, WIDTHS, True, 1, 3)),
        ("[0:01 to 1:05] dolly in .5 w per second", ("dolly", 1, 0.5, WIDTHS, True, 1, 65)),
        ("[0s until 2.5s] crane up 1 width a second", ("crane", -1, 1, WIDTHS, True, 0, 2.5)),
        ("[0s] zoom out 2x", ("zoom", -1, 2, FACTOR, False, 0, None)),
        ("  [0s]   zoom in 1.5 ×/s ease", ("zoom", 1, 1.5, FACTOR, True, 0, None)),
        ("[0s] orbit left 30°", ("orbit", -1, 30, DEGREES, False, 0, None)),
    ],
)
def test_a_line_is_a_move(line, expected):
    assert facts(line) == expected


def test_lines_have_easings_and_notes_are_left_out():
    text = "\ufeff# a note\n\n" + "\n".join(f"[0s] pan left 1° {easing}" for easing in EASINGS)
    assert [move.span.easing for move in parse_camera(text)] == list(EASINGS)
    assert parse_camera("# nothing else\n") == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pan right 20°", "line 1, column 1: a line begins with a time"),
        ("[0s pan right 20°", "line 1, column 1: this time has no closing bracket"),
        ("[] pan right 20°", "line 1, column 1: an empty time"),
        ("\n  [soon] pan right 20°", "line 2, column 4: 'soon' is no time"),
        ("[-1s] pan right 20°", "line 1, column 2: a time cannot be before 0s"),
        ("[0s 3s] pan right 20°", "line 1, column 5: '3s' cannot be read here"),
        ("[3s to 1s] pan right 20°", "line 1, column 8: it ends at 1s and begins at 3s"),
        ("[0s]", "line 1, column 5: a time without a move"),
        ("[0s] spin right 20°", "line 1, column 6: no move is called 'spin'"),
        ("[0s] push in 20°", "did you mean dolly?"),
        ("[0s] pna right 20°", "did you mean pan?"),
        ("[0s] pan up 20°", "line 1, column 10: say in which direction: pan right or pan left"),
        ("[0s] pan", "line 1, column 6: say in which direction"),
        ("[0s] pan right", "line 1, column 10: say how far, as 'pan right 20°'"),
        ("[0s] pan right far", "line 1, column 16: 'far' says no amount"),
        ("[0s] pan right 20", "line 1, column 16: '20': pan takes degrees (20°) or picture"),
        ("[0s] zoom in 20°", "line 1, column 14: '20°': zoom takes a factor (1.5x)"),
        ("[0s] zoom in 0x", "a zoom is by 0.01x to 100x"),
        ("[0s] pan right 20° bouncy", "line 1, column 16: '20° bouncy' says no amount"),
        (f"[{'9' * 50}s] pan right 20°", "has 51 digits"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, told):
    with pytest.raises(WrittenError) as error:
        parse_camera(text)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(alphabet="[]0149s:. panzoomleftinw°x/-#\n", max_size=50))
def test_any_text_is_moves_or_a_mistake(text):
    told, moves = "line 1", ()
    try:
        moves = parse_camera(text)
    except WrittenError as error:
        told = str(error)
    assert told.startswith(("line ", "the "))
    assert {move.kind for move in moves} <= set(MOVES)


@pytest.mark.parametrize("line", ["[0s to 6s] pan left 1°", "[5s] pan left 1°"])
def test_a_move_beyond_the_video_is_refused_with_its_line(line):
    moves = parse_camera(f"# note\n{line}")
    with pytest.raises(WrittenError, match="line 2, column 1: .* which lasts 5s"):
        CameraPath(moves, Fraction(5))


@pytest.mark.parametrize("easing", EASINGS)
def test_an_easing_begins_and_ends_where_it_should_and_never_goes_back(easing):
    way = [eased(n / 50, easing) for n in range(51)]
    assert (way[0], way[-1]) == (0, 1)
    assert way == sorted(way)
