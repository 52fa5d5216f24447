"""The front-end extension: plain modules that reach nothing but the page and the pack's own files.

What they do is tried in `tests/browser/`; this holds them to the rules of the pack's Python.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from archive import shipped_files
from environment import ROOT

WEB = ROOT / "web"
FILES = sorted(path.relative_to(ROOT) for path in WEB.rglob("*.js"))
COMFYUI = ("../../scripts/app.js", "../../scripts/api.js")
LONGEST = 60  # lines of a function
FILES_IN_A_ROOM = 16
IMPORTED = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']""")
HAZARDS = re.compile(  # a file beside the module itself may be fetched
    r"\beval\b|\bnew Function\b|\bfetch\b(?!\(new URL\(\"[\w.]+\", HERE\)\))"
    r"|XMLHttpRequest|WebSocket|EventSource|sendBeacon"
    r"|importScripts|\bWorker\b|innerHTML|insertAdjacentHTML|document\.write|https?://(?!www\.w3\.org/)"
)
FUNCTION = re.compile(r"^( *)(?:export )?(?:async )?(?:function\b|[#\w]+\([^;=]*\) \{$)")


def text(file: Path) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def hazards(source: str) -> set[str]:
    return set(HAZARDS.findall(source))


def functions(source: str) -> list[int]:
    """How many lines each function has whose end is indented as its beginning is."""
    lines, found = source.splitlines(), []
    for first, line in enumerate(lines):
        if begins := FUNCTION.match(line):
            close = re.compile(begins[1] + r"\}")
            last = next((n for n in range(first + 1, len(lines)) if close.match(lines[n])), first)
            found.append(last - first + 1)
    return found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_it_runs_no_strange_code_and_asks_nobody_but_its_own_server(file):
    assert not hazards(text(file))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_it_imports_its_own_modules_and_what_comfyui_offers(file):
    for name in IMPORTED.findall(text(file)):
        own = (ROOT / file.parent / name).is_file()
        assert own or (file.parent == Path("web") and name in COMFYUI), name


@pytest.mark.parametrize("file", FILES, ids=str)
def test_its_functions_are_short_and_it_says_what_it_is_for(file):
    assert text(file).startswith("/**")
    assert max(functions(text(file)), default=0) < LONGEST


def test_all_that_it_says_is_said_in_chinese_and_no_more():
    table = text(Path("web/page/words_zh.js"))
    chinese = dict(re.findall(r'^    "(.+?)":\s+"(.+)",$', table, re.MULTILINE))
    said = set(re.findall(r'\bt\(\s*"(.+?)"[,)]', "".join(map(text, FILES))))
    recipes = text(Path("web/menus/recipes.js")).partition("export const RECIPES")[2]
    said |= {a or b for a, b in re.findall(r'^    (?:"(.+?)"|(\w+)):', recipes, re.MULTILINE)}
    assert said == set(chinese)
    values = re.compile(r"\{\w+\}")
    for english, words in chinese.items():
        assert set(values.findall(english)) == set(values.findall(words)), english
        assert re.search("[\u4e00-\u9fff]", values.sub("", words)), english


def test_it_is_shipped_and_no_folder_is_crowded():
    assert set(FILES) <= set(shipped_files())
    assert max(Counter(file.parent for file in FILES).values()) <= FILES_IN_A_ROOM


def test_a_hazard_and_a_long_function_are_seen():
    assert all(map(hazards, ("x = eval(y)", "await fetch(a)", "src = 'https://a.b'")))
    assert not hazards("box.append(element); evaluate(x)")
    long = "function f() {\n" + "    x();\n" * 70 + "}\n"
    assert functions(long) == [72]
