"""What breaks a rule however it is written, what does not, and a policy that is wrong."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.policy.audit import hash_of, note
from longtake.engine.policy.normalise import forms
from longtake.engine.policy.policy import MODES, FramesPolicy, Policy, parsed, read_policy
from longtake.engine.policy.rules import LONGEST, Rules, Verdict, shipped
from longtake.models.errors import ConfigError

RULES = Rules(
    Policy(
        people=("Jane Placeholder",),
        artists=("listed artistname",),
        patterns={"logos": re.compile(r"acme\s+corp")},
        sexual=("обнажённая",),
        allow=("nude descending a staircase",),
    )
)


@pytest.mark.parametrize(
    "text",
    [
        *("a nude woman", "NUDE", "n u d e", "n.u.d.e", "n-u_d*e", "nu\u200bde", "nu\u00adde"),
        *("ｎｕｄｅ", "nuԁе", "ｎud3", "nuuuude", "ńúdè", "a p0rn film", "$ex", "1girl_nude_beach"),
        *("s3xual", "a  n u d e  w o m a n", "line one\nline two, topless", "ОБНАЖЁННАЯ"),
    ],
)
def test_a_word_is_found_however_it_is_written(text):
    assert RULES.broken_by([text]) == Verdict("sexual")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a prisoner is tortured", "violence"),
        ("killing people", "violence"),
        ("jane   placeholder waves", "people"),
        ("by Listed Artistname", "styles"),
        ("a town in the style of Some Body", "styles"),
        ("style of a Some Body film", "styles"),
        ("directed by Some Body", "styles"),
        ("ACME Corp on a wall", "logos"),
        ("x" * (LONGEST + 1), "length"),
    ],
)
def test_each_rule_has_its_name(text, rule):
    assert RULES.broken_by([text]) == Verdict(rule)


@pytest.mark.parametrize(
    "text",
    [
        *("shoot a scene", "the naked eye", "a blue tit", "king people", "Essex", "4k, 3d"),
        *("children play in the snow", "a soldier fires a gun", "nude descending a staircase"),
        *("in the style of Film Noir", "in the style of Vincent van Gogh", "style of watercolour"),
        *("", " ", "🎬🎥", "\ud800", "a" * 5000),
    ],
)  # fmt: skip
def test_what_films_are_made_of_is_left_alone(text):
    assert RULES.broken_by([text]) is None


@pytest.mark.parametrize(
    "texts",
    [
        ["a naked child"],
        ["a schoolgirl", "nude"],  # joined by a node, perhaps
        ["a sexy teen"],
        ["a 15 year old in lingerie"],
        ["a 15 ye4r 0ld in lingerie"],
        ["aged 16, topless"],
        ["17yo, lingerie"],
        ["loli"],
    ],
)
def test_minors_are_refused_in_whatever_mode(texts):
    assert RULES.broken_by(texts) == Verdict("minors", always=True)
    assert Rules(Policy(rules=())).broken_by(texts) == Verdict("minors", always=True)


def test_minors_with_a_word_of_another_text_that_only_suggests_are_not():
    assert RULES.broken_by(["children in a park", "a seductive tango"]) is None


def test_rules_can_be_left_out():
    lax = Rules(Policy(rules=("violence",)))
    assert lax.broken_by(["a nude woman"]) is None
    assert lax.broken_by(["gore"]) == Verdict("violence")


@given(st.text(max_size=200))
def test_any_text_has_forms(text):
    assert all(re.fullmatch(r"(\S+( \S+)*)?", form.strip()) for form in forms(text))
    RULES.broken_by([text])


def test_every_entry_of_the_lists_is_found_by_itself():
    lists, rules = shipped(), Rules(Policy())
    for name in ("sexual", "violence", "minors_alone"):
        missed = [t for t in lists[name] if not rules.broken_by([t.replace("*", "")])]
        assert not missed


def test_a_policy_is_a_mode_or_a_file(tmp_path):
    assert [read_policy(mode).mode for mode in MODES] == list(MODES)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"mode": "withhold", "people": ["A B"], "frames": {"threshold": 1}}))
    policy = read_policy(file)
    assert (policy.mode, policy.people, policy.frames) == (
        "withhold",
        ("A B",),
        FramesPolicy(threshold=1),
    )
    assert parsed({}) == Policy()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "JSON object"),
        ({"mod": "off"}, "no 'mod'"),
        ({"mode": "on"}, "choose from off, log, refuse, withhold"),
        ({"mode": ["off"]}, "choose from"),
        ({"rules": ["minors"]}, "choose from sexual"),
        ({"people": "A B"}, "list of texts"),
        ({"people": [1]}, "list of texts"),
        ({"patterns": {"x": "("}}, "regular expression"),
        ({"patterns": ["x"]}, "object"),
        ({"frames": {"detector": "other"}}, "nudenet"),
        ({"frames": {"threshold": 0}}, "from 0 to 1"),
        ({"frames": {"threshold": True}}, "from 0 to 1"),
        ({"frames": True}, "JSON object"),
    ],
)
def test_a_mistake_in_a_policy_is_an_error_that_names_it(given, says):
    with pytest.raises(ConfigError, match=says):
        parsed(given)


@pytest.mark.parametrize("text", ["", "{", "refuse", "[" * 100_000, "\ufeff{}"])
def test_a_file_that_is_no_json_is_an_error(tmp_path, text):
    file = tmp_path / "policy.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(str(tmp_path / "none.json"))


def test_the_log_has_no_word_of_a_prompt(tmp_path):
    file = tmp_path / "new" / "log.jsonl"
    note(file, "sexual", hash_of(["a nude woman"]), "prompt", "refused")
    note(file, "violence", hash_of(["gore", "\ud800"]), "PromptNode", "logged")
    first, second = map(json.loads, file.read_text().splitlines())
    assert (first["rule"], first["done"], len(first["prompt"])) == ("sexual", "refused", 64)
    assert second["where"] == "PromptNode"
    assert "nude" not in file.read_text()
