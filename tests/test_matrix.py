"""matrix.py, without network: what is installed, what is run, what the table says."""

import re
import sys
from collections import Counter

import pytest

import environment
import matrix
from headless import Stop

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.engine.media.test_a" name="1"/>
<testcase classname="tests.engine.media.test_b" name="2"><skipped/></testcase>
<testcase classname="tests.engine.media.test_b" name="3"><failure/></testcase>
<testcase classname="tests.test_c" name="4"><error/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted_by_folder(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    assert matrix.counted(tmp_path / "report.xml") == {
        "tests/engine/media": Counter(passed=1, skipped=1, failed=1),
        "tests": Counter(failed=1),
    }


def test_the_table_has_a_column_for_each_set():
    first = {"tests/a": Counter(passed=3), "tests/bb": Counter(failed=1, passed=2)}
    assert matrix.table({"av-1": first, "oldest": {"tests/a": Counter(skipped=3)}}) == (
        "          av-1                oldest\n"
        "tests/a   3 passed            3 skipped\n"
        "tests/bb  2 passed, 1 failed  -"
    )


def test_the_lower_bounds_are_those_of_the_requirements():
    assert "av==14.2.0" in matrix.sets()[matrix.OLDEST]
    assert len(matrix.sets()[matrix.OLDEST]) == 5
    assert matrix.sets()["av-14.2.0"] == ["av==14.2.0"]
    assert "av" in matrix.sets()[matrix.NEWEST]


def test_every_column_is_run_where_changes_are_tested():
    text = (environment.ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    listed = re.search(r"^ +set: \[(.*)\]$", text, re.MULTILINE)[1].split(", ")
    alone = re.findall(r"^ +- set: (.*)$", text, re.MULTILINE)
    assert {*listed, *alone} == {*matrix.sets()} - {"installed"}


def test_each_set_is_tried_where_it_is_used(tmp_path, monkeypatch):
    ran = {}
    monkeypatch.setattr(matrix, "install", lambda name, packages: name)
    monkeypatch.setattr(matrix, "check", lambda folder, packages: [])
    monkeypatch.setattr(
        matrix, "run", lambda name, options: ran.update({name: options}) or {"tests": Counter()}
    )
    assert matrix.matrix(["-x"]) == 0
    assert ran["av-14.2.0"] == ["-x", *matrix.VIDEOS]
    assert ran["oldest"] == ran["installed"] == ["-x", *matrix.VIDEOS, *matrix.NUMBERS]
    assert all((environment.ROOT / place).exists() for place in ran["oldest"][1:])
    matrix.matrix(["newest", "tests/test_names.py"])
    assert ran["newest"] == ["tests/test_names.py"]


def test_packages_are_installed_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(matrix, "venv", lambda: tmp_path)
    monkeypatch.setattr(matrix, "pip", lambda *words: calls.append(words))
    folder = matrix.install("x", ["a==1"])
    assert matrix.install("x", ["a==1"]) == folder
    assert len(calls) == 1
    assert calls[0][-3:] == ("--target", folder, "a==1")
    matrix.install("x", ["a==2"])
    assert len(calls) == 2
    matrix.install("y", [])
    assert len(calls) == 2
    for _ in range(2):  # what pip chooses today may be another tomorrow
        matrix.install("z", ["a"])
    assert len(calls) == 4


@pytest.fixture
def covered(tmp_path, monkeypatch):
    """A folder with a package that covers one of the environment's, and this Python."""
    (tmp_path / "av-9.9.dist-info").mkdir()
    (tmp_path / "av-9.9.dist-info" / "METADATA").write_text("Name: av\nVersion: 9.9\n")
    monkeypatch.setattr("environment.python", lambda: sys.executable)
    monkeypatch.setattr(matrix, "python", lambda: sys.executable)
    return tmp_path


def test_what_would_be_imported_is_looked_at(covered):
    assert matrix.check(covered, ["av==9.9"]) == matrix.check(covered, ["av"]) == ["av 9.9"]
    with pytest.raises(Stop, match="av 9.9 would be imported, not 9.8: delete"):
        matrix.check(covered, ["av==9.8"])


def test_the_tests_run_with_the_folder_first(covered, tmp_path):
    test = tmp_path / "test_path.py"
    test.write_text(
        "def test_version():\n"
        "    from importlib.metadata import version\n"
        "    assert version('av') == '9.9'\n"
    )
    options = ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(test)]
    ((_, counts),) = matrix.run(covered, options).items()
    assert counts == Counter(passed=1)
