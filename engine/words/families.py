"""How each family of video models was captioned: families.json, for people to read and change."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("families.json")
BUILT_IN = "built-in"  # has a vocabulary of its own: see little_world
WAN = "Wan"


@dataclass(frozen=True)
class CaptionForm:
    """What a family's prompts look like.

    Attributes:
        words: how many a language model's answer may have, least and most.
        tokens: of that answer, at most.
        fills: slots that are filled by rules, in order.
        form: how text and slots are put together.
        ask: the instruction for a language model.
    """

    words: tuple[int, int]
    tokens: int
    fills: tuple[str, ...]
    form: str
    ask: str


@cache
def caption_forms() -> dict[str, CaptionForm]:
    """By the family's name, in the order of menus; the built-in model has none."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))
    return {
        name: CaptionForm(
            tuple(row["words"]),
            row["tokens"],
            tuple(row["fills"]),
            row["form"],
            "\n".join(row["ask"]),
        )
        for name, row in rows.items()
        if name != "about"
    }


def caption_families() -> tuple[str, ...]:
    """The names for a menu."""
    return (*caption_forms(), BUILT_IN)
