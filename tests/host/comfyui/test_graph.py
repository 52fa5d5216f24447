"""The graph at hand: in names of files, in files, and while it is queued."""

import contextlib
import importlib
import json
import urllib.error

import pytest

from headless import DIRECT
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


SOURCES = {  # of what is connected to the nodes that are looked at
    "VIDEO": ("CreateVideo", {"images": ["IMAGE", 0], "fps": 24.0}),
    "IMAGE": ("EmptyImage", {"width": 64, "height": 64, "batch_size": 1, "color": 0}),
    "MASK": ("SolidMask", {"value": 1.0, "width": 64, "height": 64}),
    "LATENT": ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1}),
    "VAE": ("LongtakeLoadVAE", {"file": "nano (built in)", "dtype": "auto"}),
    "CLIP": ("LongtakeLoadTextEncoder", {"file": "nano (built in)"}),
}
END = {"end": {"class_type": "PreviewAny", "inputs": {"source": ["MASK", 0]}}}
FAULTY = [  # a node, its one fault, and the input under which that is told
    ("LongtakeLoadModel", {"file": "gone.safetensors"}, "file"),
    ("LongtakeLoadModel", {"family": "wan9"}, "family"),
    ("LongtakeCanvas", {"aspect": "13:1", "megapixels": 0.4}, "aspect"),
    ("LongtakeCanvas", {"width": 101}, "width"),
    ("LongtakeInterpolate", {"dtype": "int3"}, "dtype"),
    ("LongtakeSaveVideo", {"format": "mp5"}, "format"),
    ("LongtakeRegion", {"end": "late"}, "end"),
    ("LongtakeRegion", {"end": -3.0}, "end"),
    ("LongtakeStoryboard", {"text": "[0s a ball", "seconds": 4.0}, "text"),
    ("LongtakeExpandPrompt", {"family": "gpt"}, "family"),
]


def faulty(known: dict) -> dict:
    """A graph with each of FAULTY, all else in order, and each looked at by a node at its end."""
    graph = {
        name: {"class_type": kind, "inputs": values} for name, (kind, values) in SOURCES.items()
    }
    for number, (kind, faults, _) in enumerate(FAULTY):
        inputs = {}
        for name, (type_, *more) in known[kind]["input"]["required"].items():
            options = more[0] if more else {}
            choices = type_ if isinstance(type_, list) else options.get("options", [None])
            plain = options.get("default", choices[0])
            inputs[name] = [type_.partition(",")[0], 0] if plain is None else plain
        graph[f"faulty {number}"] = {"class_type": kind, "inputs": inputs | faults}
        end = {"class_type": "PreviewAny", "inputs": {"source": [f"faulty {number}", 0]}}
        graph[f"end {number}"] = end
    return graph


@pytest.mark.parametrize(("path", "good"), [("/prompt", {}), ("/api/prompt", END)])
def test_each_fault_of_a_graph_is_told_once_and_under_one_input(server, path, good):
    """Where one of its ends can be reached, the graph is queued, and the others are told of."""
    body = json.dumps({"prompt": faulty(server.ask("/object_info")) | good}).encode()
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(DIRECT.open(f"http://{server.address}{path}", body))
        except urllib.error.HTTPError as refusal:
            answer = stack.enter_context(refusal)
        told = json.loads(answer.read())["node_errors"]
    assert answer.status == (200 if good else 400)
    for number, (kind, faults, name) in enumerate(FAULTY):
        errors = told.pop(f"faulty {number}")["errors"]
        found = [error["extra_info"]["input_name"] for error in errors]
        assert found == [name], (kind, faults, errors)
    assert not told
