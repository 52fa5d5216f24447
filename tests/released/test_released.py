"""Graphs that people saved with released versions still load, and still run.

Each folder here is a version: `workflows/` as they were shipped, and `nodes.json` with what a saved
graph relies on: types of inputs and outputs in their order, and the choices of menus. None of it
is ever edited; `RELEASING.md` says how a version is added.
"""

import asyncio
import json
from pathlib import Path

import pytest

import longtake
from tests import host_models
from tests.released.freeze import copy_workflows
from tests.workflows.conftest import OTHERS_MODELS, files_of, load, load_graph
from tests.workflows.templates import TEMPLATES
from tests.workflows.test_forms import inputs_of, nodes_in
from tests.workflows.test_others_models import TINY, with_a_tiny_model

HERE = Path(__file__).parent
NODES = sorted(HERE.glob("*/nodes.json"))
GRAPHS = sorted(HERE.glob("*/workflows/*.json"))
NAMES = [f"{path.parts[-3]} {path.stem}" for path in GRAPHS]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def prompt_of(path: Path) -> dict:
    """The API form of a graph."""
    return read(path.parent / "api" / path.name)


def prompt_to_run(name: str, graph: dict, prompt: dict) -> dict:
    """Its API form; where it asks for other people's models, with a tiny one in their place."""
    if not files_of(graph):
        return prompt
    host_models.register_tiny_models()
    return with_a_tiny_model(prompt, *TINY[name])


def compare_with_its_prompt(graph: dict, api: dict, host) -> None:
    for node in nodes_in(graph):
        ours = node["type"].startswith("Longtake")
        if ours or node["type"] in host.nodes.NODE_CLASS_MAPPINGS:  # else of a newer ComfyUI
            now = inputs_of(host, graph, node, older=True)
            then = api[str(node["id"])]["inputs"]
            assert now == {name: then[name] for name in now}, node["title"]


@pytest.fixture(scope="module")
def schemas(host) -> dict:
    extension = asyncio.run(longtake.comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


def test_something_is_held():
    assert len(NODES) == len(list(HERE.glob("*.*.*"))) > 0
    assert len(GRAPHS) >= 19


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.parts[-2])
def test_what_saved_graphs_rely_on_is_there(path, schemas):
    for node, known in read(path).items():
        schema = schemas[node]
        outputs = [output.io_type for output in schema.outputs]
        assert outputs[: len(known["outputs"])] == known["outputs"], node
        inputs = {i.id: i for i in schema.inputs}
        assert [*inputs][: len(known["inputs"])] == [*known["inputs"]], node
        for name, entry in known["inputs"].items():
            assert inputs[name].io_type == entry["type"], (node, name)
            missing = {*entry.get("options", ())} - {
                *(getattr(inputs[name], "options", None) or ())
            }
            assert not missing, (node, name, missing)


@pytest.mark.parametrize("path", GRAPHS, ids=NAMES)
def test_a_saved_graph_gives_the_prompt_that_it_gave(path, host):
    compare_with_its_prompt(read(path), prompt_of(path), host)


@pytest.mark.parametrize("path", GRAPHS, ids=NAMES)
@pytest.mark.usefixtures("pack")
def test_a_saved_graph_still_runs(path, host):
    run = host.run(prompt_to_run(path.stem, read(path), prompt_of(path)))
    assert run.success, run.error


@pytest.mark.parametrize("name", OTHERS_MODELS)
@pytest.mark.usefixtures("pack")
def test_a_graph_for_models_of_others_could_be_held_as_well(name, host):
    """When it is released: none of 0.1.0's was one."""
    graph, prompt = load_graph(name), load(f"api/{name}.json")
    compare_with_its_prompt(graph, prompt, host)
    assert host.refusal(prompt_to_run(name, graph, prompt)) is None


def test_a_version_is_kept_under_the_names_of_its_prompts(tmp_path):
    """Titles of templates may change; what a prompt is called does not."""
    copy_workflows(tmp_path)
    assert {path.name for path in tmp_path.glob("*.json")} == {f"{name}.json" for name in TEMPLATES}
    assert all(read(path)["nodes"] and prompt_of(path) for path in tmp_path.glob("*.json"))
