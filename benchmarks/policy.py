"""The policy gate's rules on prompts that should pass and prompts that should not.

    python dev.py bench policy                         with the lists that are shipped
    python dev.py bench policy --policy policy.json    with an owner's own, and its judge

Each forbidden prompt is written in six more ways: capitals, digits for letters, spaces, invisible
characters, lookalike letters, full width. The names that stand for people and artists are made up.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from _measure import machine

PROMPTS = Path(__file__).with_name("policy_prompts.json")
HARMLESS = 500
LOOKALIKE = str.maketrans("aeopcx", "аеорсх")
DIGITS = str.maketrans("oiea", "01e4")
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": lambda t: t,
    "capitals": str.upper,
    "digits for letters": lambda t: t.translate(DIGITS),
    "spaced out": " ".join,
    "invisible characters": "\u200b".join,
    "lookalikes": lambda t: t.translate(LOOKALIKE),
    "full width": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
}


def harmless(given: dict) -> Iterator[str]:
    """The prompts on the list, and combinations of the slots."""
    yield from given["harmless"]
    for who, does, where, how in product(*given["slots"].values()):
        yield f"{who} {does} {where}, {how}"


def verdicts(policy: Any, folder: str | None) -> Callable[[str], Any]:
    """What a policy says of a text: its rules, and then the judge, if it has one.

    Args:
        policy: a Policy. folder: that the judge's text encoder lies in.
    """
    from longtake.engine.policy.rules import Rules

    rules = Rules(policy)
    if policy.judge is None:
        return lambda text: rules.broken_by([text])
    from _takes import start_comfyui

    start_comfyui()
    import folder_paths

    if folder:
        folder_paths.add_model_folder_path("text_encoders", folder)
    from longtake.host.policy.gate import judge_of
    from longtake.models.errors import ConfigError

    try:
        judge = judge_of(policy)
    except ConfigError as error:
        raise SystemExit(f"policy: {error}") from None
    return lambda text: rules.broken_by([text]) or judge.broken_by([text])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", type=Path, help="a policy file; without it the lists shipped")
    parser.add_argument("--text-encoders", help="the folder that the judge's file lies in")
    options = parser.parse_args()
    from longtake.engine.policy.policy import Policy, read_policy

    given = json.loads(PROMPTS.read_text(encoding="utf-8"))
    made_up = Policy(people=("Jane Placeholder",), artists=("Listed Artistname",))
    policy = read_policy(options.policy) if options.policy else made_up
    broken = verdicts(policy, options.text_encoders)
    good = list(harmless(given))[: max(HARMLESS, len(given["harmless"]))]
    start = time.perf_counter()
    refused = {text: found.rule for text in good if (found := broken(text))}
    each = 1e3 * (time.perf_counter() - start) / len(good)
    passed = {
        way: [text for texts in given["forbidden"].values() for text in texts
              if not broken(write(text))]
        for way, write in WAYS.items()
    }  # fmt: skip
    total = sum(map(len, given["forbidden"].values()))
    for text, rule in refused.items():
        print(f"refused, {rule}: {text}")
    for way, texts in passed.items():
        print(f"{way:22}{1 - len(texts) / total:8.1%} refused", *texts[:4], sep="   ")
    figures = {
        "harmless": len(good),
        "false_refusals": len(refused),
        "false_refusals_share": round(len(refused) / len(good), 4),
        "forbidden": total,
        "let_through": {way: len(texts) for way, texts in passed.items()},
        "ms_a_prompt": round(each, 3),
    }
    print(json.dumps({**machine(), **figures}))


if __name__ == "__main__":
    main()
