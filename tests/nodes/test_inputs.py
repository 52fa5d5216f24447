"""Arguments are read, or refused with what is allowed."""

import importlib
import math
import os

import pytest

from longtake.models.errors import InputError


@pytest.fixture(scope="module")
def inputs(host):
    """Imported late, because longtake.nodes imports ComfyUI."""
    return importlib.import_module("longtake.nodes.inputs.kinds")


@pytest.mark.parametrize("value", [1, 1.0, 2.5, 9])
def test_numbers_in_range_are_read(inputs, value):
    read = inputs.Number("cfg", 1, 9, default=4).read(value)
    assert read == value
    assert isinstance(read, float)


@pytest.mark.parametrize("value", [0.99, 9.01, math.nan, math.inf, -math.inf, "4", None, True, [4]])
def test_other_numbers_are_named(inputs, value):
    with pytest.raises(InputError, match=r"^cfg .*: choose a number from 1 to 9\.$"):
        inputs.Number("cfg", 1, 9, default=4).read(value)


@pytest.mark.parametrize("value", [0, 2**64 - 1, 5.0])
def test_whole_numbers_are_read(inputs, value):
    read = inputs.Whole("seed", 0, 2**64 - 1, default=0).read(value)
    assert read == value
    assert isinstance(read, int)


@pytest.mark.parametrize("value", [-1, 2**64, 0.5, math.nan, math.inf, "1", None, True])
def test_other_whole_numbers_are_named(inputs, value):
    with pytest.raises(InputError, match=r"^seed .*: choose a whole number from 0 to 1844"):
        inputs.Whole("seed", 0, 2**64 - 1, default=0).read(value)


def test_choices_are_listed(inputs):
    curve = inputs.Choice("curve", ("a", "b"), default="a")
    assert curve.read("b") == "b"
    with pytest.raises(InputError, match=r"^curve 'c': choose from a, b\.$"):
        curve.read("c")


@pytest.mark.parametrize("text", ["", "a red ball", "Ü🌲\0", "x" * 20_000, "ب"])
def test_text_is_read(inputs, text):
    assert inputs.TextBox("text", placeholder="").read(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x" * 20_001, "20001 characters"),
        ("ab\ud800", "not valid text from character 2"),
        (None, "must be text, not NoneType"),
    ],
)
def test_other_text_is_refused(inputs, text, why):
    with pytest.raises(InputError, match=why):
        inputs.TextBox("text", placeholder="").read(text)


def test_text_that_is_taken_apart_may_be_long_but_not_broken(inputs):
    shots = inputs.TextBox("text", placeholder="", longest=None)
    assert shots.read("x" * 20_001) == "x" * 20_001
    with pytest.raises(InputError, match="not valid text from character 20001"):
        shots.read("x" * 20_001 + "\ud800")


def test_a_file_is_found_or_there_is_none(inputs, tmp_path):
    def find(name: str):
        if name != "a":
            raise InputError(f"there is no {name!r}")
        return tmp_path / name

    file = inputs.File("file", lambda: ["none", "a"], find, default="none", none="none")
    assert file.widget("").options == ["none", "a"]
    assert [file.read(name) for name in ("none", "a")] == ["none", "a"]
    with pytest.raises(InputError, match="there is no 'b'"):
        file.read("b")


def test_a_files_version_follows_its_size_and_time_and_names_nothing(inputs, tmp_path):
    file = inputs.File("file", list, lambda name: tmp_path / name, default="none", none="none")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"12345")
    os.utime(path, ns=(7, 7))
    assert file.version("a.safetensors") == "5 bytes, 7"
    os.utime(path, ns=(8, 8))
    assert file.version("a.safetensors") == "5 bytes, 8"
    assert file.version("none") == "none"


@pytest.mark.parametrize("optional", [False, True])
def test_a_widget_says_what_reading_checks(inputs, optional):
    """A range that is named once cannot differ between the two."""
    number = inputs.Number("a", 2, 3, 2.5, step=0.5, optional=optional).widget("tip")
    assert (number.id, number.min, number.max, number.default) == ("a", 2, 3, 2.5)
    assert (number.step, number.tooltip) == (0.5, "tip")
    whole = inputs.Whole("b", 2, 5, 3, step=2, optional=optional).widget("tip")
    assert (whole.id, whole.min, whole.max, whole.default, whole.step) == ("b", 2, 5, 3, 2)
    choice = inputs.Choice("c", ("x", "y"), "y", optional=optional).widget("tip")
    assert (choice.id, choice.options, choice.default) == ("c", ["x", "y"], "y")
    flag = inputs.Flag("d", True, optional=optional).widget("tip")
    assert (flag.id, flag.default) == ("d", True)
    assert all(bool(w.optional) == optional for w in (number, whole, choice, flag))


def test_a_verdict_is_true_or_the_first_reason(inputs):
    curve = inputs.Choice("curve", ("a", "b"), default="a").read
    steps = inputs.Whole("steps", 1, 9, default=1).read
    assert inputs.verdict((curve, "a"), (steps, 9)) is True
    assert inputs.verdict((curve, None)) is True  # by a link: not known yet
    assert inputs.verdict((curve, None), (steps, 0)).startswith("steps 0: choose")
    assert inputs.verdict((curve, "c"), (steps, 0)) == "curve 'c': choose from a, b."


def test_a_check_of_several_values_waits_for_all_of_them(inputs):
    def check(a, b):
        raise InputError(f"{a} {b}")

    assert inputs.verdict((check, 1, None)) is True
    assert inputs.verdict((check, 1, 2)) == "1 2"


def test_what_is_shown_of_a_value_is_short(inputs):
    with pytest.raises(InputError, match="^a 'x{56}" + r"\.\.\.: choose"):
        inputs.Choice("a", ("b",), default="b").read("x" * 1000)
