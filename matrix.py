"""The tests with other versions of what the pack stands on, and a table of what passed with which.

Each set of packages lies in a folder of its own beside those of the environment, which it covers by
PYTHONPATH; so versions of one package can be tried without making an environment for each.
Standard library only, as all of dev.py.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import Counter, defaultdict
from pathlib import Path

from environment import ROOT, call, installed_version, pip, python, say, venv
from headless import Stop

OLDEST = "oldest"  # each of requirements.txt at its lower bound
NEWEST = "newest"  # each as pip chooses for this Python: what those have who install today
# Not among them: Transformers, which ComfyUI imports, refuses the oldest; engine/ and models/ work.
# Nor is torch, which has no bound: it is the host's, and ComfyUI 0.3.75 asks for none either.
SAFETENSORS = "safetensors"
PYAV = ("14.2.0", "16.0.1", "17.1.0")  # ComfyUI's bounds, and the last without names for all
VIDEOS = (  # of all that PyAV is used for, and that the archive makes a video
    *("tests/engine/container", "tests/engine/media", "tests/engine/frames"),
    *("tests/engine/provenance", "tests/engine/test_files.py", "tests/host/video"),
    *("tests/nodes/test_save.py", "tests/nodes/test_salvage.py", "tests/nodes/test_made_here.py"),
    *("tests/test_av_names.py", "tests/test_release.py"),
)
NUMBERS = ("tests/engine", "tests/models/wan", "tests/models/rife")  # and of the other packages
Counts = dict[str, Counter]
"""Of each folder of tests, how many passed, failed or were skipped."""


def sets() -> dict[str, list[str]]:
    """What to install for each column of the table; nothing for what is there already."""
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    bounds = re.findall(r"^([\w-]+)>=([\w.]+)$", required, re.MULTILINE)
    return {
        **{f"av-{version}": [f"av=={version}"] for version in PYAV},
        OLDEST: [f"{name}=={version}" for name, version in bounds if name != SAFETENSORS],
        NEWEST: [name for name, _ in bounds],
        "installed": [],
    }


def install(name: str, packages: list[str]) -> Path:
    """The folder with these packages, whole; what has no version is looked for each time."""
    folder = venv() / "matrix" / name
    stamp = folder / "longtake.stamp"
    pinned = all("==" in package for package in packages)
    if pinned and stamp.is_file() and stamp.read_text(encoding="utf-8") == repr(packages):
        return folder
    folder.parent.mkdir(exist_ok=True)
    say(f"installing {', '.join(packages) or 'nothing'} for {name}")
    if packages:
        pip("install", "--quiet", "--upgrade", "--no-deps", "--target", folder, *packages)
    folder.mkdir(exist_ok=True)
    stamp.write_text(repr(packages), encoding="utf-8")
    return folder


def run(folder: Path, options: list[str]) -> Counts:
    """The counts of one run of pytest with the packages of a folder before all others."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [python(), "-m", "pytest", "-q", f"--junitxml={report}", *options]
        call(command, cwd=ROOT, env=covered_by(folder), stdout=sys.stderr)
        if not report.is_file():
            raise Stop("pytest made no report; its reason is above")
        return counted(report)


def counted(report: Path) -> Counts:
    counts: Counts = defaultdict(Counter)
    for case in xml.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        ended = "failed" if kinds & {"failure", "error"} else "skipped" if kinds else "passed"
        counts[case.get("classname").rpartition(".")[0].replace(".", "/")][ended] += 1
    return dict(counts)


def table(columns: dict[str, Counts]) -> str:
    """One line for each folder of tests, one column for each set of packages."""
    folders = sorted({folder for counts in columns.values() for folder in counts})
    rows = [["", *columns]]
    for folder in folders:
        cells = (counts.get(folder, Counter()) for counts in columns.values())
        rows.append([folder, *map(cell, cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def cell(count: Counter) -> str:
    kinds = ("passed", "failed", "skipped")
    return ", ".join(f"{count[kind]} {kind}" for kind in kinds if count[kind]) or "-"


def matrix(argv: list[str]) -> int:
    """Run the tests with the sets named first in `argv`, or all; the rest goes to pytest."""
    known = sets()
    names = [word for word in argv if word in known]
    options = [word for word in argv if word not in known]
    chosen = any((ROOT / word.partition("::")[0]).exists() for word in options)
    columns = {}
    for name in names or known:
        folder = install(name, known[name])
        say(f"tests with {name}: {', '.join(check(folder, known[name]))}")
        columns[name] = run(folder, options if chosen else [*options, *tests_of(known[name])])
    print(table(columns))
    return int(any(count["failed"] for counts in columns.values() for count in counts.values()))


def tests_of(packages: list[str]) -> tuple[str, ...]:
    """The tests that other versions of these packages could fail."""
    alone = {package.partition("==")[0] for package in packages} == {"av"}
    return VIDEOS if alone else (*VIDEOS, *NUMBERS)


def check(folder: Path, packages: list[str]) -> list[str]:
    """The packages that will be imported, with their versions; raises Stop if one is another."""
    found = []
    for package in packages:
        name, _, version = package.partition("==")
        found.append(f"{name} {installed_version(name, env=covered_by(folder))}")
        if version and found[-1] != f"{name} {version}":
            raise Stop(f"{found[-1]} would be imported, not {version}: delete {folder}")
    return found


def covered_by(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder)}
