"""Styles, camera, motion: what is added to a prompt, and tables that people have changed."""

import json

import pytest

from longtake.engine.take.storyboard_text import parse_storyboard, read_storyboard
from longtake.engine.words.amend import amended, joined_lists
from longtake.engine.words.camera import MOTIONS, filmed, read_camera, row_called
from longtake.engine.words.families import BUILT_IN, caption_families
from longtake.engine.words.little_world import read_scenes, understood
from longtake.engine.words.slots import says
from longtake.engine.words.styles import read_styles, style_called, styled
from longtake.models.errors import InputError

SORA = ("balloon world", "stop motion", "archival", "film noir", "cardboard & papercraft")
STYLES, CAMERA = read_styles(), read_camera()
BALL = "a red ball rises"


def test_soras_looks_are_there_and_every_look_does_something():
    assert set(SORA) <= set(STYLES)
    for name, style in STYLES.items():
        if name != "none":
            text = styled("a cat on a roof", style, "Wan").text
            assert "a cat on a roof" in text
            assert style.suffix in text
            assert style.negative


def test_a_storyboard_has_its_style_and_camera_in_every_shot():
    text = "[all] at night\n[0s] a cat\n[2s dissolve 0.5s seed 3] she runs"
    made = styled(text, STYLES["anime"], "Wan").text
    assert all(shot.prompt.startswith("Anime style: at night.") for shot in parse_storyboard(made))
    assert read_storyboard(made).shots[1].seed == 3
    closer = filmed(text, CAMERA.moves["zoom in"], {}, {}, "Wan").text
    assert read_storyboard(closer).standing == "at night. The camera zooms in."
    assert amended("[0s] a", "b") == "[all] b\n[0s] a"


@pytest.mark.parametrize("name", STYLES)
def test_the_built_in_model_is_told_what_it_knows(name):
    made = styled(BALL, STYLES[name], BUILT_IN).text
    assert understood(made), made
    said = read_scenes(made)[0]
    assert {kind: getattr(said, kind) for kind in STYLES[name].built_in} == STYLES[name].built_in


def test_what_a_prompt_names_is_not_named_again():
    noir, day = STYLES["film noir"], "a red ball rises during the day"
    assert styled(day, noir, BUILT_IN) == (day, "the text names a time: nothing was added")
    assert styled("an anime cat", noir, "Wan").note == "the text names a style, too"


@pytest.mark.parametrize("family", caption_families())
def test_every_move_and_size_is_said_in_each_familys_words(family):
    for name, row in CAMERA.moves.items():
        made = filmed(BALL, row, {}, {}, family)
        assert says(made.text, "camera") or (family == BUILT_IN and made.notes), name
    for name, row in CAMERA.sizes.items():
        made = filmed(BALL, {}, row, {}, family)
        assert (made.text == BALL) == (family == BUILT_IN), name


def test_the_built_in_models_camera_takes_the_place_of_another():
    made = filmed(f"{BALL}, the camera pans left", CAMERA.moves["push in"], {}, {}, BUILT_IN)
    assert made == (f"{BALL}, the camera zooms in", "", ())
    moved = {filmed(BALL, row, {}, {}, BUILT_IN).text for row in CAMERA.moves.values()}
    assert len(moved) == 1 + 5


def test_motion_is_said_both_ways_round():
    slow, fast = (CAMERA.motion[str(level)] for level in (MOTIONS[0], MOTIONS[-1]))
    assert "Almost nothing moves." in filmed(BALL, {}, {}, slow, "Wan").text
    assert "static" in filmed(BALL, {}, {}, fast, "Wan").negative
    assert set(CAMERA.motion) == {str(level) for level in MOTIONS}
    assert joined_lists("text, static", "static, blur", "") == "text, static, blur"


def test_a_users_table_adds_changes_and_takes_away(tmp_path):
    own = tmp_path / "longtake" / "styles.json"
    assert read_styles(own) == STYLES
    own.parent.mkdir()
    own.write_text('\ufeff{"mine": {"suffix": "grey"}, "vhs": null, "anime": {"cfg": 2}}', "utf-8")
    found = read_styles(own)
    assert found["mine"].suffix == "grey"
    assert "vhs" not in found
    assert (found["anime"].prefix, found["anime"].cfg) == ("", 2)
    camera = tmp_path / "camera.json"
    camera.write_text('{"moves": {"roll": null, "mine": {"words": "Twice around"}}}')
    assert set(read_camera(camera).moves) == {*CAMERA.moves, "mine"} - {"roll"}


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ('{"a": ', "longtake/styles.json cannot be read: Expecting value in line 1, column 7."),
        ("[]", "is no table"),
        ('{"a": 5}', "the style 'a' in styles.json must have parts"),
        ('{"a": {"sufix": "x"}}', "a part 'sufix', which means nothing: 'suffix'?"),
        ('{"a": {"suffix": 5}}', "'suffix' must be text"),
        ('{"a": {"cfg": "5"}}', "'cfg' must be a number"),
        ('{"a": {"cfg": true}}', "'cfg' must be a number"),
        ('{"a": {"cfg": 99}}', "'cfg' must be from 0.1 to 5"),
        ('{"a": {"cfg": NaN}}', "'cfg' must be from 0.1 to 5"),
        ('{"a": {"built_in": {"time": "noon"}}}', "choose from day, sunset, night"),
        ('{"a": {"built_in": {"shape": "dog"}}}', "choose from time, ground"),
        ("[" * 100_000, "cannot be read: RecursionError."),
        (b"\xff\xfe\x00", "cannot be read: UnicodeDecodeError."),
        (b" " * 1_000_001, "larger than 1,000,000 bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_table_is_told_in_a_line(tmp_path, written, what):
    own = tmp_path / "longtake" / "styles.json"
    own.parent.mkdir()
    own.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(InputError) as told:
        read_styles(own)
    assert what in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("rows", [{"zooms": {}}, {"moves": []}, {"moves": {"a": {"wrods": "x"}}}])
def test_a_broken_camera_table_is_told(tmp_path, rows):
    own = tmp_path / "camera.json"
    own.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"camera.json"):
        read_camera(own)


def test_what_there_is_not_is_told_with_the_nearest():
    with pytest.raises(InputError, match="no style 'film nor'.*Nearest: 'film noir'"):
        style_called("film nor", STYLES)
    with pytest.raises(InputError, match="no camera move 'pan lft'. Nearest: 'pan left'"):
        row_called("pan lft", CAMERA.moves, "camera move")
