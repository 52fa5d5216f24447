"""The workflows that the pack ships."""

import json

import pytest

from tests.host.conftest import nano, pack  # noqa: F401
from tests.workflows.templates import FOLDER, TEMPLATES, graph_file

NAMES = sorted(TEMPLATES)


def load(path: str) -> dict:
    """A prompt, by its file in workflows/."""
    return json.loads((FOLDER / path).read_text(encoding="utf-8"))


def load_graph(name: str) -> dict:
    """The same for the browser."""
    return json.loads(graph_file(name).read_text(encoding="utf-8"))


def files_of(graph: dict) -> list[dict]:
    """The models that a graph asks for, as core's say it: name, url and directory of each."""
    return [file for node in graph["nodes"] for file in node["properties"].get("models", [])]


# Those whose models are other people's: too large to be run here as they are.
OTHERS_MODELS = [name for name in NAMES if files_of(load_graph(name))]


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param
