"""What newer hosts offer for a node's definition is used there, and only there."""

import importlib
import inspect

import pytest

ADVANCED = {
    "LongtakeCanvas": {"batch_size"},
    "LongtakeDecode": {"crf"},
    "LongtakeExtendVideo": {"overlap", "window"},
    "LongtakeInterpolate": {"dtype"},
    "LongtakeLoadModel": {"dtype", "family"},
    "LongtakeLoadVAE": {"dtype"},
    "LongtakeLongTake": {"window", "overlap", "anchor", "keep"},
    "LongtakeSaveVideo": {"crf", "preset"},
    "LongtakeStoryboard": {"snap", "meet"},
}


@pytest.fixture
def schemas(host):
    nodes = importlib.import_module("longtake.nodes").NODES
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


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
