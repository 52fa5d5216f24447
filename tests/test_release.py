"""What the registry is told of the pack, and what it would hand out."""

import ast
import importlib
import re
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest
import tomllib

from archive import IGNORED, ignored, shipped_files, write_archive
from environment import ROOT, comfyui_folder
from tests.server import ComfyUI
from tests.test_architecture import ALLOWED, BARRED_MODULES, BARRED_NAMES
from tests.workflows.conftest import load

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADDRESS = PROJECT["project"]["urls"]["Repository"]
PROGRAMS = [file for file in shipped_files() if file.suffix == ".py"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_comfyui_reads_what_the_registry_wants(comfyui):
    parser = importlib.import_module("comfy_config.config_parser")
    config = parser.extract_node_configuration(str(ROOT))
    project, comfy = config.project, config.tool_comfy
    assert (project.name, comfy.publisher_id) == ("longtake", "longtake")
    assert project.urls.repository == ADDRESS
    assert project.dependencies == PROJECT["project"]["dependencies"]
    assert project.supported_os
    for picture in (comfy.icon, PROJECT["tool"]["comfy"]["Banner"]):
        assert (ROOT / "docs" / picture.rpartition("/docs/")[2]).is_file()


def test_dependencies_are_those_that_are_installed():
    lines = text("requirements.txt").splitlines()
    asked = [line for line in lines if line and not line.startswith("#")]
    assert asked == PROJECT["project"]["dependencies"]


def test_the_changelog_knows_the_version_and_its_date():
    version = PROJECT["project"]["version"]
    heading = re.compile(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", re.MULTILINE)
    headings = heading.findall(text("CHANGELOG.md"))
    released = [(name, date) for name, date in headings if name != "Unreleased"]
    assert released[0][0] == version
    assert all(date for _, date in released)
    assert sorted((date for _, date in released), reverse=True) == [date for _, date in released]


def test_everything_names_one_address():
    for file in ("README.md", "SECURITY.md", ".github/ISSUE_TEMPLATE/config.yml"):
        found = {
            a.removesuffix(".git")
            for a in re.findall(r"https://github\.com/longtake/[\w.-]+", text(file))
        }
        assert found == {ADDRESS}, file


def test_who_is_sent_to_pip_is_told_for_which_python_and_which_versions():
    extra = " ".join(
        f'"{one}"' for one in PROJECT["project"]["optional-dependencies"]["credentials"]
    )
    for file in (ROOT / "README.md", *(ROOT / "web" / "docs").glob("*.md")):
        for before, packages in re.findall(
            r"([^\s`(]+ -m )?pip\s+install ([^`\n]+)", file.read_text(encoding="utf-8")
        ):
            assert before in ("python -m ", r".\python_embeded\python.exe -m "), file
            assert packages in (extra, "av"), file


PAGES = [
    file
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/**/README.md")]
    if not {part for part in file.relative_to(ROOT).parts if part.startswith(".")}
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(page):
    """A blank in one is %20: pages that show Markdown end an address where a blank is."""
    for address in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert " " not in address, address
        path, _, _ = address.partition("#")
        if path and not re.match(r"https?://", path):
            assert (page.parent / unquote(path)).exists(), address


def test_what_is_left_out_is_there():
    assert all((ROOT / path).exists() for path in ignored())
    assert not any("*" in line for line in IGNORED.read_text().splitlines()), (
        "no patterns are known"
    )


@pytest.mark.parametrize("file", PROGRAMS, ids=str)
def test_nothing_shipped_starts_programs_or_reaches_the_network(file):
    found = set()
    for node in ast.walk(ast.parse(text(file))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & BARRED_NAMES
    barred = BARRED_MODULES | BARRED_NAMES | {"pip", "ensurepip", "ray"}
    allowed = {"ray", *ALLOWED[file]} if file in ALLOWED else set()
    assert found & barred == allowed


def test_what_is_shipped_is_the_pack_and_its_size_is_known():
    parts = {file.parts[0] for file in shipped_files()}
    assert {"__init__.py", "nodes", "host", "engine", "models", "web", "workflows"} <= parts
    assert not parts & {"dev.py", "tests", "training", "benchmarks", "docs"}
    assert sum((ROOT / file).stat().st_size for file in shipped_files()) < 60e6


def test_the_archive_unpacked_under_any_name_makes_a_video(tmp_path):
    def unpacked(custom_nodes: Path) -> None:
        write_archive(tmp_path / "pack.zip")
        with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
            archive.extractall(custom_nodes / "Longtake copy (1)")

    prompt = load("api/text_to_video.json")
    with ComfyUI(comfyui_folder(), tmp_path / "base", install=unpacked) as server:
        server.check_loaded()
        run = server.run(prompt)
    assert run.error is None
    (file,) = run.files
    assert file.stat().st_size > 10_000
