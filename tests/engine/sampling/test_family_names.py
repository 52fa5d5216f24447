"""What the engine does differs by what a family's entry says, never by its name."""

import ast
import re
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[3] / "engine"
TABLES = {  # of checkpoints that Longtake reads, of those that the host loads, of their captions
    "sampling/presets.py",
    "sampling/host_presets.py",
    "words/families.py",
}
NAMES = re.compile(
    r"\b(Wan|WAN2|LTX|Hunyuan|MiniMax|H3\b|SkyReels|SCAIL|VACE\b|Animate\b|Fun-Camera|[TI]+2V\b)"
)


def named(source: str) -> list[str]:
    """The texts of a module that name a family; docstrings may."""
    tree = ast.parse(source)
    remarks = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [
        text.value
        for text in texts
        if isinstance(text.value, str) and id(text) not in remarks and NAMES.search(text.value)
    ]


def test_only_the_tables_name_a_family():
    found = {
        file.relative_to(ENGINE).as_posix()
        for file in ENGINE.rglob("*.py")
        if named(file.read_text(encoding="utf-8"))
    }
    assert found == TABLES


def test_a_name_elsewhere_is_seen():
    assert named('"""As LTX has it."""\nif family.title == "LTX-Video": pass') == ["LTX-Video"]
    assert not named('wanted = "a wanderer in H32"')
