"""The graph at hand: in names of files, in files, and while it is queued."""

import importlib

import pytest

from longtake.models.errors import InputError

GRAPH = {
    "1": {"class_type": "LongtakeSample", "_meta": {"title": "Sample"},
          "inputs": {"seed": 7, "cfg": 4.5, "latent": ["2", 0]}},
    "2": {"class_type": "LongtakePrompt", "inputs": {"text": "a/../" + "ö" * 30 + ":"}},
}  # fmt: skip


@pytest.fixture
def graph(pack):
    return importlib.import_module("longtake.host.comfyui.graph")


@pytest.fixture
def queue(graph, host):
    """Calls what the server calls with the body of a request."""
    from server import PromptServer

    yield PromptServer.instance.trigger_on_prompt
    graph._queued.set(None)


def test_values_of_widgets_are_filled_in_by_title_or_class(graph):
    filled = graph.fill_in_values("%Sample.seed%_%Sample.cfg%/%LongtakeSample.seed%", GRAPH)
    assert filled == "7_4.5/7"
    text = graph.fill_in_values("x%LongtakePrompt.text%", GRAPH)
    assert text == "xa_.._" + "ö" * 17
    for unknown in ("%Sample.latent%", "%Gone.seed%", "%Sample.gone%", "%year%", "50%.%"):
        assert graph.fill_in_values(unknown, GRAPH) == unknown
    assert graph.fill_in_values("%Sample.seed%", None) == "%Sample.seed%"


@pytest.mark.parametrize("meta", [None, "Sample", [], {"title": None}])
def test_a_title_that_is_none_is_passed_over(graph, meta):
    odd = {"1": {**GRAPH["1"], "_meta": meta}}
    assert graph.fill_in_values("%Sample.seed%-%LongtakeSample.cfg%", odd) == "%Sample.seed%-4.5"


@pytest.mark.parametrize("prefix", [None, 5, ["a"], b"a"])
def test_a_name_is_text(graph, prefix):
    with pytest.raises(InputError, match="a file's name must be text, not"):
        graph.fill_in_values(prefix, GRAPH)


def test_a_graph_is_known_while_it_is_queued_and_without_what_the_host_notes(graph, queue):
    noted = {key: {**node, "is_changed": ["0 films lost"]} for key, node in GRAPH.items()}
    queued = queue({"prompt": noted, "client_id": "x"})
    assert queued == {"prompt": GRAPH, "client_id": "x"}
    assert graph.queued_graph() is queued["prompt"]
    assert noted["1"]["is_changed"]


@pytest.mark.parametrize("odd", [None, [], "x", {"1": None}, {"1": []}, {}])
def test_what_is_no_graph_is_left_to_the_host(graph, queue, odd):
    queue({"prompt": GRAPH})
    assert queue({"prompt": odd}) == {"prompt": odd}
    assert not graph.queued_graph()
    assert queue({}) == {}
    assert graph.queued_graph() is None


def test_the_queue_is_watched_once(graph, host):
    from server import PromptServer

    graph.watch_queue()
    assert PromptServer.instance.on_prompt_handlers.count(graph._on_queued) == 1


def test_a_name_made_of_values_is_checked_with_the_graph(host, queue):
    prompt = {
        "frames": {"class_type": "EmptyImage",
                   "inputs": {"width": 32, "height": 32, "batch_size": 2, "color": 7}},
        "clip": {"class_type": "CreateVideo", "inputs": {"images": ["frames", 0], "fps": 8.0}},
        "text": {"class_type": "PrimitiveString", "_meta": {"title": "Words"},
                 "inputs": {"value": ""}},
        "save": {"class_type": "LongtakeSaveVideo",
                 "inputs": {"video": ["clip", 0], "filename_prefix": "%Words.value%"}},
    }  # fmt: skip
    for text, why in (("", "a name is needed"), ("CON", "CON"), ("a" * 40, None)):
        prompt["text"]["inputs"]["value"] = text
        queue({"prompt": prompt})
        refusal = host.refusal(prompt)
        assert (refusal is None) if why is None else why in refusal
