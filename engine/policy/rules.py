"""Which rule a text breaks.

The lists are in words.json. Whoever wants to get around a list of words will: this keeps honest
people from what a service does not offer, and makes the rest take an effort. It secures nothing.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .normalise import any_of, forms, plain_letters, visible
from .policy import Policy

MINORS = "minors"
LONGEST = 200_000  # characters of a text that is looked at; a longer one is refused
TOO_LONG = "length"
# A number below 18 as somebody's age.
NUMBER = (
    r"(?:\d|1[0-7]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|"
    r"fourteen|fifteen|sixteen|seventeen)"
)
AGE = re.compile(
    rf"(?<!\w){NUMBER}[\s-]*(?:(?:years?|yrs?)[\s-]*old|y[\s./]*o(?!\w))|"
    rf"(?<!\w)age[ds]?(?:\sof)?[\s:]+{NUMBER}(?!\w)"
)
FOLDED_AGE = re.compile(AGE.pattern.replace("l", "i"))  # as in `forms`
STYLE = re.compile(
    r"(?i:\bstyle\s+of|\bstyled?\s+(?:like|after)|\bpainted\s+by|\bdirected\s+by|\bà\s+la)\s+"
    r"(?i:an?\s+)?(?i:(?:the\s+)?(?:artist|painter|director|photographer|illustrator|animator)\s+)?"
    r"((?:[A-Z][\w.'’-]*\s+){1,3}[A-Z][\w'’-]+)"
)


class Verdict(NamedTuple):
    """A rule that a text breaks.

    Attributes:
        rule: its name.
        always: whether it is refused in whatever mode.
    """

    rule: str
    always: bool = False


@cache
def shipped() -> dict[str, list[str]]:
    """The lists that come with the pack."""
    return json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))


class Rules:
    """The rules of a policy, made ready to be applied to many texts."""

    def __init__(self, policy: Policy):
        words, holds = shipped(), set(policy.rules)
        self._allow = any_of([*words["allow"], *policy.allow])
        self._explicit = any_of([*words["sexual"], *policy.sexual])
        self._suggestive = any_of(words["suggestive"])
        self._minors, self._alone = any_of(words["minors"]), any_of(words["minors_alone"])
        self._lists = {
            "sexual": self._explicit if "sexual" in holds else any_of([]),
            "violence": any_of(
                [*words["violence"], *policy.violence] if "violence" in holds else []
            ),
            "people": any_of(policy.people if "people" in holds else []),
            "styles": any_of(policy.artists if "styles" in holds else []),
        }  # fmt: skip
        self._styles = "styles" in holds
        self._may_be_named = {*words["movements"], *words["long_dead"]}
        self._patterns = policy.patterns

    def broken_by(self, texts: Iterable[str], unwanted: Iterable[str] = ()) -> Verdict | None:
        """The first rule that one of the texts breaks, or all of them together.

        Args:
            unwanted: texts that say what shall not be seen. Only words that mean the abuse of
                minors by themselves are no less forbidden there.
        """
        texts, unwanted = list(texts), list(unwanted)
        if sum(map(len, (*texts, *unwanted))) > LONGEST:
            return Verdict(TOO_LONG)
        found = [self._looked_at(text) for text in texts]
        if self._harms_minors(found) or self._names_abuse(map(self._looked_at, unwanted)):
            return Verdict(MINORS, always=True)
        for text, cleared in found:
            for rule, pattern in self._lists.items():
                if any(map(pattern.search, cleared)):
                    return Verdict(rule)
            if self._styles and self._names_an_artist(text):
                return Verdict("styles")
            for rule, pattern in self._patterns.items():
                if pattern.search(text) or pattern.search(plain_letters(text)):
                    return Verdict(rule)
        return None

    def _looked_at(self, text: str) -> tuple[str, list[str]]:
        """A text, and its forms without what is always allowed."""
        return text, [self._allow.sub("…", form) for form in forms(text)]

    def _harms_minors(self, found: list[tuple[str, list[str]]]) -> bool:
        """Whether minors and sexual content come together, in one text or over several."""
        if self._names_abuse(found):
            return True
        cleared = [form for _, of_one in found for form in of_one]
        young = [self._is_young(text, of_one) for text, of_one in found]
        if any(young) and any(map(self._explicit.search, cleared)):
            return True
        return any(
            is_young and any(map(self._suggestive.search, of_one))
            for is_young, (_, of_one) in zip(young, found, strict=True)
        )

    def _names_abuse(self, found: Iterable[tuple[str, list[str]]]) -> bool:
        """Whether a word for sexual content with minors is among them."""
        return any(self._alone.search(form) for _, of_one in found for form in of_one)

    def _is_young(self, text: str, cleared: list[str]) -> bool:
        aged = AGE.search(plain_letters(text)) or any(map(FOLDED_AGE.search, cleared))
        return bool(aged) or any(map(self._minors.search, cleared))

    def _names_an_artist(self, text: str) -> bool:
        """Whether "in the style of" a name stands there, and not of a movement or the long dead."""
        for found in STYLE.finditer(visible(text)):
            words = [word.strip(".'’-").lower() for word in found[1].split()]
            words = [plain_letters(word.removesuffix("'s").removesuffix("’s")) for word in words]
            if not any(w in self._may_be_named or w.endswith("ism") for w in words):
                return True
        return False
