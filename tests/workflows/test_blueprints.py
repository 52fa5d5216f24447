"""The blueprints of subgraphs/: newer hosts list them among their nodes."""

import json
from collections.abc import Iterator

import av
import pytest

from environment import ROOT
from tests.workflows.test_forms import WIDGETS, widgets_of

FOLDER = ROOT / "subgraphs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
OUTSIDE = -10, -20  # where links of a subgraph begin and end that are its inputs and outputs
THE_CHECKPOINTS_OWN = {("LongtakeSchedule", "steps"), ("LongtakeLongTake", "cfg")} | {
    ("LongtakeSample", "cfg")
}  # at 0, which fits any checkpoint
LOADERS = {
    "model": "LongtakeLoadModel",
    "clip": "LongtakeLoadTextEncoder",
    "vae": "LongtakeLoadVAE",
}


@pytest.fixture(params=NAMES)
def blueprint(request) -> dict:
    return json.loads((FOLDER / f"{request.param}.json").read_text(encoding="utf-8"))


def inside(blueprint: dict) -> dict:
    (graph,) = blueprint["definitions"]["subgraphs"]
    return graph


def values_of(host, node: dict) -> dict:
    """A node's widgets by name."""
    names = list(widgets_of(host, node["type"]))[: len(node["widgets_values"])]
    assert len(names) == len(node["widgets_values"])
    return {name: v for name, v in zip(names, node["widgets_values"], strict=True) if name}


def options_of(host, node_type: str) -> Iterator[tuple[str, str | list, dict]]:
    """(name, kind, options) of each input of a kind of node."""
    kinds = host.nodes.NODE_CLASS_MAPPINGS[node_type].INPUT_TYPES()
    for section in ("required", "optional"):
        for name, (kind, *options) in kinds.get(section, {}).items():
            yield name, kind, options[0] if options else {}


def default_of(kind: str | list, options: dict):
    menu = kind if isinstance(kind, list) else options.get("options")
    return options.get("default", menu[0] if menu else None)


def prompt_of(host, blueprint: dict, sockets: dict, widgets: dict) -> dict:
    """The graph within, in the API format, with what is connected to and set on the blueprint."""
    graph, (outer,) = inside(blueprint), blueprint["nodes"]
    shown = [socket["name"] for socket in outer["inputs"] if "widget" in socket]
    given = {**dict(zip(shown, outer["widgets_values"], strict=True)), **sockets, **widgets}
    links = {link["id"]: link for link in graph["links"]}
    prompt = {}
    for node in graph["nodes"]:
        inputs = values_of(host, node)
        for socket in node["inputs"]:
            if socket["link"] is None:
                continue
            link = links[socket["link"]]
            if link["origin_id"] not in OUTSIDE:
                inputs[socket["name"]] = [str(link["origin_id"]), link["origin_slot"]]
            elif (name := graph["inputs"][link["origin_slot"]]["name"]) in given:
                inputs[socket["name"]] = given[name]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def test_it_is_one_node_with_a_graph_within_that_says_what_it_is(blueprint):
    graph, (outer,) = inside(blueprint), blueprint["nodes"]
    assert outer["type"] == graph["id"]
    assert blueprint["links"] == []
    assert graph["category"] == "Longtake"
    assert graph["description"] == blueprint["extra"]["BlueprintDescription"]
    assert graph["name"] == outer["title"]
    assert (FOLDER / f"{graph['name']}.json").is_file()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert graph["name"].removesuffix(" (Longtake)") in text


def test_every_node_and_input_in_it_is_known_and_every_link_fits(host, blueprint):
    graph = inside(blueprint)
    ends = {node["id"]: (node["outputs"], node["inputs"]) for node in graph["nodes"]}
    ends[OUTSIDE[0]], ends[OUTSIDE[1]] = (graph["inputs"], None), (None, graph["outputs"])
    for node in graph["nodes"]:
        known = {name: kind for name, kind, _ in options_of(host, node["type"])}
        listed = [socket["name"] for socket in node["inputs"]]  # links count through all of them
        assert sorted(listed, key=lambda name: known[name] in WIDGETS) == listed
        assert set(listed) == set(known), "sockets first, then widgets"
        returns = host.nodes.NODE_CLASS_MAPPINGS[node["type"]].RETURN_TYPES
        assert [output["type"] for output in node["outputs"]] == list(returns)
    for link in graph["links"]:
        source = ends[link["origin_id"]][0][link["origin_slot"]]
        target = ends[link["target_id"]][1][link["target_slot"]]
        assert source["type"] == target["type"] == link["type"]
        assert link["id"] in (source.get("linkIds") or source["links"])
        assert link["id"] in (target.get("linkIds") or [target["link"]])


def test_what_is_shown_on_it_is_what_is_within(host, blueprint):
    graph, (outer,) = inside(blueprint), blueprint["nodes"]
    for mine, theirs in ((outer["inputs"], graph["inputs"]), (outer["outputs"], graph["outputs"])):
        assert [(a["name"], a["type"]) for a in mine] == [(b["name"], b["type"]) for b in theirs]
    shown = [socket["name"] for socket in outer["inputs"] if socket["type"] in WIDGETS]
    assert outer["properties"]["proxyWidgets"] == [["-1", name] for name in shown]
    nodes = {node["id"]: node for node in graph["nodes"]}
    for name, value in zip(shown, outer["widgets_values"], strict=True):
        (socket,) = [one for one in graph["inputs"] if one["name"] == name]
        for link in (one for one in graph["links"] if one["id"] in socket["linkIds"]):
            node = nodes[link["target_id"]]
            assert values_of(host, node)[node["inputs"][link["target_slot"]]["name"]] == value


def test_its_values_are_the_defaults(host, blueprint):
    for node in inside(blueprint)["nodes"]:
        values = values_of(host, node)
        for name, kind, options in options_of(host, node["type"]):
            if (node["type"], name) in THE_CHECKPOINTS_OWN:
                assert values[name] == 0
            elif name in values and name != "text":
                assert values[name] == default_of(kind, options), (node["title"], name)


@pytest.mark.usefixtures("pack")
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("Load")])
def test_it_makes_a_video(host, name):
    blueprint = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    loaders = {
        key: {"class_type": kind, "inputs": dict(_defaults(host, kind))}
        for key, kind in LOADERS.items()
    }
    image = {"width": 48, "height": 32, "batch_size": 1, "color": 0xC04020}
    picture = {"image": {"class_type": "EmptyImage", "inputs": image}}
    sockets = {key: [key, 0] for key in (*loaders, *picture)}
    small = {"width": 32, "height": 48, "seconds": 1.0, "steps": 2}
    if "storyboard" in {one["name"] for one in inside(blueprint)["inputs"]}:
        small |= {"storyboard": "[0s] a red ball\n[0.5s cut] a blue cube"}
    prompt = {**loaders, **picture, **prompt_of(host, blueprint, sockets, small)}
    link = next(one for one in inside(blueprint)["links"] if one["type"] == "VIDEO")
    made = str(link["origin_id"])
    run = host.run(prompt, want=[made])
    assert run.success, run.error
    with av.open(run.values[made][link["origin_slot"]].get_stream_source()) as container:
        frames = list(container.decode(video=0))
    assert (len(frames), frames[0].width, frames[0].height) == (9, 32, 48)


def _defaults(host, node_type: str) -> Iterator[tuple[str, object]]:
    for name, kind, options in options_of(host, node_type):
        yield name, default_of(kind, options)
