"""Every name that the pack uses of PyAV is in the oldest PyAV that requirements.txt allows.

What those names are is recorded in golden/av-14.2.0.txt, so that this holds without installing it:
    python tests/test_av_names.py > tests/golden/av-VERSION.txt
`python dev.py matrix` runs the tests of video files with that version and newer ones.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("models", "engine", "host", "nodes")
OTHERS = (
    OSError,
    Fraction,
    Path,
    str,
    list,
    dict,
    np.ndarray,
)  # have attributes of such names, too
FILES = sorted(
    file
    for layer in LAYERS
    for file in (ROOT / layer).rglob("*.py")
    if re.search(r"^\s*(import|from) av\b", file.read_text(encoding="utf-8"), re.MULTILINE)
)


@cache
def installed() -> dict[str, set[str]]:
    """The public names in each module of the PyAV that is installed, and in each of its classes."""
    walked = pkgutil.walk_packages(av.__path__, "av.")
    names = [found.name for found in walked if not found.name.endswith("__main__")]
    modules = [av, *map(importlib.import_module, names)]
    places = {module.__name__: module for module in modules}
    for module in modules:
        for thing in vars(module).values():
            if inspect.isclass(thing) and thing.__module__.startswith("av"):
                places[f"{thing.__module__}.{thing.__qualname__}"] = thing
    names = {name: {n for n in vars(place) if n[0] != "_"} for name, place in places.items()}
    return {name: found for name, found in names.items() if found}


@cache
def recorded() -> dict[str, set[str]]:
    lines = (line.split(": ") for line in record().read_text(encoding="utf-8").splitlines())
    return {name: set(found.split()) for name, found in lines}


def record() -> Path:
    """The one of the oldest version that is allowed."""
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    oldest = re.search(r"^av>=(\S+)$", required, re.MULTILINE)[1]
    return ROOT / "tests" / "golden" / f"av-{oldest}.txt"


def imported(tree: ast.Module) -> dict[str, str]:
    """The names by which a module knows things of PyAV, and their dotted names there."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name == "av" for alias in node.names):
            known["av"] = "av"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "av":
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}"
                      for alias in node.names}  # fmt: skip
    return known


def dotted(node: ast.expr, known: Mapping[str, str]) -> str | None:
    """The dotted name in PyAV of an expression such as Colorspace.ITU709."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and (before := dotted(node.value, known)):
        return f"{before}.{node.attr}"
    return None


def newer(tree: ast.Module, old: Mapping[str, set[str]], new: Mapping[str, set[str]]) -> Iterator:
    """What a module uses that `old` lacks: by its dotted name, or as an attribute of something.

    Of what an attribute is one cannot be seen; one that `new` has somewhere and `old` nowhere is
    taken for PyAV's.
    """
    known = imported(tree)
    if not known:
        return
    added = set().union(*new.values()) - set().union(*old.values(), *map(dir, OTHERS))
    used = [known[name] for name in known]
    used += [name for node in ast.walk(tree) if (name := dotted(node, known))]
    for name in used:
        place, _, last = name.rpartition(".")
        classes = {key for key in old if key.split(".")[-1] == place.split(".")[-1]}
        if place and not any(last in old[key] for key in {place} & set(old) or classes):
            yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in added and not dotted(node, known):
            yield f"*.{node.attr}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_newer_than_the_oldest_pyav_is_used(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert list(newer(tree, recorded(), installed())) == []


def test_what_is_newer_is_seen():
    source = (
        "import av\nfrom av.video.reformatter import Colorspace as C, Later\n"
        "av.open\nav.container.InputContainer\nC.ITU709\nC.BT2020\nav.later\nx.turn_round\nx.mux\n"
        "av.VideoFrame.from_ndarray\n"
    )
    new = {"av.x": {"turn_round", "mux"}}
    assert sorted(set(newer(ast.parse(source), recorded(), new))) == [
        "*.turn_round",
        "av.later",
        "av.video.reformatter.Colorspace.BT2020",
        "av.video.reformatter.Later",
    ]


if __name__ == "__main__":
    for name, found in sorted(installed().items()):
        sys.stdout.write(f"{name}: {' '.join(sorted(found))}\n")
