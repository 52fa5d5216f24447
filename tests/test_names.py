"""A public name means one thing in the whole pack, so that a reader need not ask which it is.

Classes, functions and type aliases count: whatever one reads without its module's name before it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("models", "engine", "host", "nodes")


def defined(module: ast.Module) -> Iterator[str]:
    """The public classes, functions and type aliases at a module's top level."""
    for node in module.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]) if name[0].isupper() and (
                not name.isupper() and "_" not in name
            ):
                pass
            case _:
                continue
        if not name.startswith("_"):
            yield name


def homonyms(sources: dict[str, str]) -> dict[str, list[str]]:
    """Names that more than one of some modules (name -> source) define, and where."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, source in sources.items():
        for name in defined(ast.parse(source)):
            found[name].append(module)
    return {name: where for name, where in found.items() if len(where) > 1}


FILES = sorted(file for layer in LAYERS for file in (ROOT / layer).rglob("*.py"))
FOUND = homonyms(
    {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in FILES}
)


def test_a_public_name_is_defined_once():
    assert FOUND == {}


def test_a_second_definition_is_seen():
    first = "class Clip: ...\ndef _own(): ...\nSIZE = 1\nDraw = Callable[[int], int]\nmodels = 1"
    again = "def Clip(): ...\ndef _own(): ...\nSIZE = 2\nDraw = int\nmodels = 2\ndef other(): ..."
    assert homonyms({"a": first, "b": again}) == {"Clip": ["a", "b"], "Draw": ["a", "b"]}
