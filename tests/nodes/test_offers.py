"""What newer hosts offer for a node's definition is used there, and only there."""

import asyncio
import importlib
import inspect
from types import SimpleNamespace

import pytest

ADVANCED = {
    "LongtakeLoadLora": {"half"},
    "LongtakeCanvas": {"batch_size"},
    "LongtakeDecode": {"crf"},
    "LongtakeExtendVideo": {"overlap", "window"},
    "LongtakeInterpolate": {"dtype"},
    "LongtakeLoadModel": {"dtype", "family"},
    "LongtakeLoadVAE": {"dtype"},
    "LongtakeLongTake": {"window", "overlap", "anchor", "keep", "workers"},
    "LongtakeMotionBrush": {"points", "strength"},
    "LongtakeDrive": {"strength", "replace"},
    "LongtakeSaveVideo": {"crf", "preset", "remember"},
    "LongtakeStoryboard": {"snap", "meet"},
    "LongtakeVariations": {"workers"},
}


@pytest.fixture
def schemas(host):
    nodes = importlib.import_module("longtake.nodes").NODES
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


@pytest.mark.usefixtures("host")
def test_only_what_a_host_takes_is_passed_to_it():
    from longtake.host.comfyui.offers import offered

    assert offered(lambda a, b=1: None, b=2, c=3) == {"b": 2}


def test_every_node_is_found_by_other_words_where_the_host_searches_them(schemas):
    from comfy_api.latest import io

    if "search_aliases" not in inspect.signature(io.Schema).parameters:
        assert not any(hasattr(schema, "search_aliases") for schema in schemas.values())
        return
    for name, schema in schemas.items():
        assert schema.search_aliases, name
        assert all(word == word.strip().lower() for word in schema.search_aliases), name
    found = {word for schema in schemas.values() for word in schema.search_aliases}
    assert {"t2v", "i2v", "keyframe", "fps", "watermark", "timeline", "save mp4", "infill"} <= found


def test_inputs_that_few_touch_are_folded_away_where_the_host_can(schemas):
    from comfy_api.latest import io

    told = "advanced" in inspect.signature(io.Int.Input).parameters
    found = {
        name: {one.id for one in schema.inputs if getattr(one, "advanced", None)}
        for name, schema in schemas.items()
    }
    assert {name: ids for name, ids in found.items() if ids} == (ADVANCED if told else {})


def test_what_people_do_to_videos_is_among_the_essential_nodes_of_hosts_that_list_them(schemas):
    from comfy_api.latest import io

    listed = "essentials_category" in inspect.signature(io.Schema).parameters
    found = {
        name: heading
        for name, schema in schemas.items()
        if (heading := getattr(schema, "essentials_category", None))
    }
    made = ("ExtendVideo", "FillGap", "Loop", "Bridge", "Remix", "Region", "ExpandCanvas")
    tools = (*made, "Interpolate")
    expected = {f"Longtake{name}": "Video Tools" for name in tools}
    assert found == ({**expected, "LongtakeSaveVideo": "Basics"} if listed else {})


@pytest.mark.parametrize("can", [True, False])
def test_a_node_of_another_id_is_offered_in_its_place_to_hosts_that_can(host, monkeypatch, can):
    """By stand-ins of what a newer host has: its NodeReplace, and where that is registered."""
    nodes = importlib.import_module("longtake.nodes")
    offers = importlib.import_module("longtake.host.comfyui.offers")
    told = []

    class Registry:
        async def register(self, replacement: dict) -> None:
            told.append(replacement)

    api = SimpleNamespace(node_replacement=Registry())
    monkeypatch.setattr(offers, "io", SimpleNamespace(**({"NodeReplace": dict} if can else {})))
    monkeypatch.setattr(offers, "ComfyAPI", lambda: api)
    by = {"new_node_id": "LongtakeB", "old_widget_ids": ["text"]}
    asyncio.run(nodes.Extension().on_load())
    assert told == []
    monkeypatch.setitem(nodes.REPLACED, "LongtakeA", by)
    asyncio.run(nodes.Extension().on_load())
    assert told == ([{"old_node_id": "LongtakeA", **by}] if can else [])


def test_what_is_replaced_is_gone_and_what_replaces_it_is_there(schemas):
    replaced = importlib.import_module("longtake.nodes").REPLACED
    assert not set(replaced) & set(schemas)
    assert {by["new_node_id"] for by in replaced.values()} <= set(schemas)
