"""The gate: what is done with a text under the policy of the owner of the server."""

import logging
from collections.abc import Iterable
from pathlib import Path

from ...engine.policy import audit
from ...engine.policy.judge import Judge
from ...engine.policy.policy import LOG, OFF, WITHHOLD, Policy, read_policy
from ...engine.policy.rules import Rules, Verdict
from ...models.errors import ConfigError, InputError
from ..comfyui.graph import running_node
from ..comfyui.owner import owners_folder
from .negatives import Wiring

BROKEN = "broken policy"
log = logging.getLogger(__name__)


class Gate:
    """A policy in force.

    Args:
        policy: what is allowed.
        problem: why it is not known what is allowed; everything is refused then.
        judge: a second one, of texts that pass the rules.

    Attributes:
        file: of the audit log.
    """

    def __init__(self, policy: Policy, problem: str = "", judge: Judge | None = None):
        self.policy, self.problem, self.judge = policy, problem, judge
        self.file = owners_folder() / "policy_log.jsonl"
        self._rules = None if problem else Rules(policy)

    @classmethod
    def from_choice(cls, choice: str | Path) -> "Gate | None":
        """The gate that the owner asks for; None for one that is off. It says so in the log."""
        try:
            policy = read_policy(choice)
            gate = cls(policy, judge=judge_of(policy))
        except Exception as error:  # noqa: BLE001 - whatever it is, the gate must not stay open for it
            problem = str(error) if isinstance(error, ConfigError) else repr(error)
            log.error("Longtake: the policy is broken, so every prompt is refused: %s", problem)
            return cls(Policy(), problem)
        if gate.policy.mode == OFF:
            return None
        log.warning("Longtake: the owner's policy is in force (mode: %s).", gate.policy.mode)
        return gate

    def refusal(self, texts: Iterable[str], where: str, unwanted: Iterable[str] = ()) -> str | None:
        """Why texts are refused, in a line that names the rule and no word; None if they are not.

        What breaks a rule is written into the audit log in either case.

        Args:
            where: they were found.
            unwanted: texts that are negative prompts and nothing else.
        """
        if self.problem:
            return f"this server refuses every prompt until its owner mends its policy: {BROKEN}."
        texts, unwanted = list(texts), list(unwanted)
        verdict = self._rules.broken_by(texts, unwanted)
        if verdict is None and self.judge is not None:
            verdict = self.judge.broken_by(texts)
        if verdict is None:
            return None
        texts += unwanted
        stays = self.policy.mode != LOG or verdict.always
        self.note(verdict, audit.hash_of(texts), where, "refused" if stays else "logged")
        return words_of(verdict.rule) if stays else None

    def breaks(self, text: str) -> bool:
        """Whether a text alone breaks a rule. Nothing is noted."""
        return bool(self._rules and self._rules.broken_by([text]))

    def check_text(self, text: str, where: str, name: str = "") -> None:
        """Raises InputError for a text that a node was given and the policy does not allow.

        Args:
            where: the node's class. name: of its input.
        """
        graph, node = running_node()
        unwanted = graph is not None and Wiring(graph).is_negative(node, name)
        if why := self.refusal(*(((), where, [text]) if unwanted else ([text], where))):
            raise InputError(why)

    def note(self, verdict: Verdict, what: str, where: str, done: str) -> None:
        """Add to the audit log; what is refused is so, too, where that cannot be written."""
        try:
            audit.note(self.file, verdict.rule, what, where, done)
        except OSError as error:
            log.error("Longtake: the policy's log cannot be written: %s", error.strerror or error)

    @property
    def keeps_withheld(self) -> bool:
        return self.policy.mode == WITHHOLD


def judge_of(policy: Policy) -> Judge | None:
    """The second judge that a policy asks for, loaded."""
    if policy.judge is None or policy.mode == OFF:
        return None
    from .judge import language_model

    return Judge(language_model(policy.judge), policy.rules)


def words_of(rule: str) -> str:
    return f"this server's policy does not allow it (rule: {rule}). Its owner can say more."
