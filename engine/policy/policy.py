"""What an owner has decided, read from a file that must be right to the letter.

A mistake in it must not open the gate: whatever is not understood is an error, and the caller
refuses everything until it is mended.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ...models.errors import ConfigError

OFF, LOG, REFUSE, WITHHOLD = MODES = ("off", "log", "refuse", "withhold")
RULES = ("sexual", "violence", "people", "styles")  # that can be left out; minors cannot
LONGEST_LIST = 100_000


@dataclass(frozen=True)
class FramesPolicy:
    """How frames are looked at before a file gets its name.

    Attributes:
        detector: "nudenet", an optional package of others.
        threshold: how sure it must be, 0 to 1.
        labels: of what it finds, those that are not allowed; none: those of its that say EXPOSED,
            but for feet, armpits and bellies.
    """

    detector: str = "nudenet"
    threshold: float = 0.5
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgePolicy:
    """A language model that is asked about what no list objects to.

    Attributes:
        text_encoder: a file in models/text_encoders, of a model that writes.
        type: as in ComfyUI's Load CLIP.
    """

    text_encoder: str = ""
    type: str = "stable_diffusion"


@dataclass(frozen=True)
class Policy:
    """What is allowed.

    Attributes:
        mode: off; log: only note; refuse; withhold: refuse, and keep a file that was refused for
            its frames where the owner can look at it.
        rules: those of RULES that hold.
        sexual, violence: more words of these kinds.
        people, artists: names.
        patterns: regular expressions by the name of the owner's own rule.
        allow: phrases that are no matter.
        frames: how frames are looked at; None: not at all.
        judge: a second judge of texts; None: there is none.
    """

    mode: str = REFUSE
    rules: tuple[str, ...] = RULES
    sexual: tuple[str, ...] = ()
    violence: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    artists: tuple[str, ...] = ()
    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    frames: FramesPolicy | None = None
    judge: JudgePolicy | None = None


def read_policy(choice: str | Path) -> Policy:
    """A policy from one of MODES, or from a file.

    Raises:
        ConfigError: if it is neither, or there is anything in the file that is not understood.
    """
    if isinstance(choice, str) and choice.strip() in MODES:
        return Policy(mode=choice.strip())
    try:
        given = json.loads(Path(choice).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the policy cannot be read ({reason}).") from error
    return parsed(given)


def parsed(given: Any) -> Policy:
    """A policy from what JSON holds. Raises ConfigError for anything that is not understood."""
    taken = _fields_of(Policy, given, "the policy")
    if "mode" in taken:
        _check_choice("mode", taken["mode"], MODES)
    for rule in taken.get("rules", ()):
        _check_choice("rules", rule, RULES)
    if "patterns" in taken:
        taken["patterns"] = _patterns(taken["patterns"])
    if "frames" in taken:
        taken["frames"] = _frames(taken["frames"])
    if "judge" in taken:
        taken["judge"] = _judge(taken["judge"])
    return Policy(**taken)


def _fields_of(kind: type, given: Any, what: str) -> dict[str, Any]:
    """The fields of an object, lists as tuples of texts."""
    if not isinstance(given, dict):
        raise ConfigError(f"{what} must be a JSON object, not {type(given).__name__}.")
    known = {f.name: f for f in fields(kind)}
    if wrong := sorted(set(given) - set(known)):
        raise ConfigError(f"{what} has no {wrong[0]!r}: there are {', '.join(known)}.")
    taken = dict(given)
    for name, value in given.items():
        if isinstance(known[name].default, tuple):
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise ConfigError(f"{name} of {what} must be a list of texts.")
            if len(value) > LONGEST_LIST:
                raise ConfigError(f"{name} of {what} has more than {LONGEST_LIST} entries.")
            taken[name] = tuple(value)
    return taken


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r} of the policy: choose from {', '.join(allowed)}.")


def _patterns(given: Any) -> dict[str, re.Pattern[str]]:
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise ConfigError("patterns of the policy must be an object: rule's name to expression.")
    try:
        return {name: re.compile(text, re.IGNORECASE) for name, text in given.items()}
    except re.error as error:
        raise ConfigError(f"a pattern of the policy is no regular expression: {error}.") from error


def _frames(given: Any) -> FramesPolicy | None:
    if given is None:
        return None
    frames = FramesPolicy(**_fields_of(FramesPolicy, given, "frames of the policy"))
    _check_choice("detector", frames.detector, ("nudenet",))
    number = isinstance(frames.threshold, int | float) and not isinstance(frames.threshold, bool)
    if not number or not 0 < frames.threshold <= 1:
        raise ConfigError("threshold of the policy's frames must be a number from 0 to 1.")
    return frames


def _judge(given: Any) -> JudgePolicy | None:
    if given is None:
        return None
    judge = JudgePolicy(**_fields_of(JudgePolicy, given, "judge of the policy"))
    if not isinstance(judge.text_encoder, str) or not judge.text_encoder:
        raise ConfigError("text_encoder of the policy's judge must be a file's name.")
    if not isinstance(judge.type, str):
        raise ConfigError("type of the policy's judge must be a text, as in Load CLIP.")
    return judge
