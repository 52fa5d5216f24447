"""Values are let through, or named with what is allowed."""

import importlib
import math

import pytest

from longtake.models.errors import InputError


@pytest.fixture(scope="module")
def checks(host):
    """Imported late, because longtake.nodes imports ComfyUI."""
    return importlib.import_module("longtake.nodes.checks")


@pytest.mark.parametrize("value", [1, 1.0, 2.5, 9])
def test_numbers_in_range_are_let_through(checks, value):
    assert checks.number("cfg", value, 1, 9) == value


@pytest.mark.parametrize("value", [0.99, 9.01, math.nan, math.inf, -math.inf, "4", None, True, [4]])
def test_other_numbers_are_named(checks, value):
    with pytest.raises(InputError, match=r"^cfg .*: choose a number from 1 to 9\.$"):
        checks.number("cfg", value, 1, 9)


@pytest.mark.parametrize("value", [0, 2**64 - 1, 5.0])
def test_whole_numbers_are_let_through(checks, value):
    number = checks.whole("seed", value, 0, 2**64 - 1)
    assert number == value
    assert isinstance(number, int)


@pytest.mark.parametrize("value", [-1, 2**64, 0.5, math.nan, math.inf, "1", None, True])
def test_other_whole_numbers_are_named(checks, value):
    with pytest.raises(InputError, match=r"^seed .*: choose a whole number from 0 to 1844"):
        checks.whole("seed", value, 0, 2**64 - 1)


def test_choices_are_listed(checks):
    assert checks.one_of("curve", "b", ["a", "b"]) == "b"
    with pytest.raises(InputError, match=r"^curve 'c': choose from a, b\.$"):
        checks.one_of("curve", "c", ["a", "b"])


@pytest.mark.parametrize("text", ["", "a red ball", "Ü🌲\0", "x" * 20_000, "ب"])
def test_text_is_let_through(checks, text):
    assert checks.prompt("the text", text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x" * 20_001, "20001 characters"),
        ("ab\ud800", "not valid text from character 2"),
        (None, "must be text, not NoneType"),
    ],
)
def test_other_text_is_refused(checks, text, why):
    with pytest.raises(InputError, match=why):
        checks.prompt("the text", text)


def test_a_verdict_is_true_or_the_reason(checks):
    curves = ("a", "b")
    assert checks.verdict(checks.one_of, "curve", "a", curves) is True
    assert checks.verdict(checks.one_of, "curve", None, curves) is True  # by a link: not known yet
    assert checks.verdict(checks.one_of, "curve", "c", curves) == "curve 'c': choose from a, b."


def test_what_is_shown_of_a_value_is_short(checks):
    assert checks.shown("x" * 1000) == "'" + "x" * 56 + "..."
    assert checks.shown(math.nan) == "nan"
