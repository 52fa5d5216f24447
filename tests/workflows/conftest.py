"""The workflows that the pack ships."""

import json

import pytest

from dev import ROOT
from tests.host.conftest import nano, pack  # noqa: F401

FOLDER = ROOT / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def load(path: str) -> dict:
    return json.loads((FOLDER / path).read_text(encoding="utf-8"))


def files_of(graph: dict) -> list[dict]:
    """The models that a graph asks for, as core's say it: name, url and directory of each."""
    return [file for node in graph["nodes"] for file in node["properties"].get("models", [])]


# Those whose models are other people's: too large to be run here as they are.
OTHERS_MODELS = [name for name in NAMES if files_of(load(f"{name}.json"))]


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param
