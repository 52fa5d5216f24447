"""A language model as a second judge: what it is asked, and what is made of its answers."""

import pytest

from longtake.engine.policy.judge import LONGEST, REMEMBERED, RULE, Judge, pieces, question, rule_in
from longtake.engine.policy.policy import RULES, JudgePolicy, parsed
from longtake.engine.policy.rules import Verdict
from longtake.models.errors import ConfigError


class Model:
    """Answers with texts of its own, the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, instruction, texts):
        self.asked.append(texts)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        *(("none", "none"), ("None.", "none"), ("**violence**", "violence")),
        *(("minors", "minors"), ("The rule: Sexual", "sexual"), ("styles\n", "styles")),
        *(("", RULE), ("I cannot help with that.", RULE), ("none, or violence", RULE)),
        ("people and styles", RULE),
    ],
)
def test_an_answer_is_one_rule_or_unclear(answer, rule):
    assert rule_in(answer, ["minors", *RULES]) == rule


def test_it_is_asked_about_the_rules_that_hold_and_always_about_minors():
    asked = []
    judge = Judge(lambda instruction, _: asked.append(instruction) or "none", ("violence",))
    assert judge.broken_by(["two words"]) is None
    assert asked == [question(["minors", "violence"])]
    assert "- violence: gore" in asked[0]
    assert "sexual:" not in asked[0]


def test_what_it_names_is_the_verdict_and_minors_are_refused_in_every_mode():
    assert Judge(Model("violence"), RULES).broken_by(["a b"]) == Verdict("violence")
    assert Judge(Model("minors"), ()).broken_by(["a b"]) == Verdict("minors", always=True)
    assert Judge(Model("violence"), ("people",)).broken_by(["a b"]) == Verdict(RULE)


def test_what_goes_wrong_does_not_open_the_gate():
    assert Judge(Model(RuntimeError("out of memory")), RULES).broken_by(["a b"]) == Verdict(RULE)
    assert Judge(Model("as you wish"), RULES).broken_by(["a b"]) == Verdict(RULE)


def test_what_was_allowed_is_not_asked_about_again_and_what_was_not_is():
    model = Model("none", "violence", "none")
    judge = Judge(model, RULES)
    assert judge.broken_by(["a red ball", "euler", "a red ball"]) is None
    assert judge.broken_by(["a red ball", "a saw"]) == Verdict("violence")
    assert judge.broken_by(["a saw"]) is None
    assert model.asked == ["a red ball\n", "a saw\n", "a saw\n"]


def test_it_remembers_so_many_and_no_more():
    judge = Judge(Model("none"), RULES)
    judge.broken_by(f"text {n}" for n in range(REMEMBERED + 5))
    assert len(judge._allowed) == REMEMBERED


def test_long_texts_are_judged_in_pieces_and_no_letter_is_left_out():
    texts = ["a b " * 3000, "short one", "x" * LONGEST]
    made = list(pieces(texts))
    assert "".join(made).replace("\n", "") == "".join(texts)
    assert max(map(len, made)) <= LONGEST + 1
    model = Model("none", "none", "sexual")
    assert Judge(model, RULES).broken_by(texts) == Verdict("sexual")


def test_a_policy_names_the_model_and_its_type():
    asked = parsed({"judge": {"text_encoder": "writes.safetensors", "type": "ltxv"}}).judge
    assert asked == JudgePolicy("writes.safetensors", "ltxv")
    assert parsed({"judge": {"text_encoder": "w.safetensors"}}).judge.type == "stable_diffusion"
    assert parsed({"judge": None}).judge is parsed({}).judge is None
    wrong = ({}, {"text_encoder": ""}, {"text_encoder": 3}, {"text_encoder": "a", "type": 1})
    for given in (*wrong, {"file": "a"}, "gemma.safetensors"):
        with pytest.raises(ConfigError, match="judge"):
            parsed({"judge": given})
