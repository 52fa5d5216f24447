"""The gate on a real server: nothing that a workflow says turns it off, and nothing turns it on."""

import copy
import json
import time
import urllib.error
import urllib.request

import pytest

from environment import comfyui_folder
from headless import DIRECT
from tests.server import ComfyUI

POLICY = {"mode": "refuse", "people": ["Jane Placeholder"]}
FORBIDDEN = "a nude woman"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    base = tmp_path_factory.mktemp("guarded")
    owners = base / "user" / "__longtake"
    owners.mkdir(parents=True)
    (owners / "policy.json").write_text(json.dumps(POLICY))
    with ComfyUI(comfyui_folder(), base) as running:
        running.check_loaded()
        running.log_of_gate = owners / "policy_log.jsonl"
        yield running


def graph(text: str, joined: str = "") -> dict:
    """Text -> the built-in encoder -> something that shows what came out."""
    said = ["5", 0] if joined else text
    nodes = {
        "1": ("LongtakeLoadTextEncoder", {"file": "nano (built in)"}),
        "2": ("LongtakePrompt", {"clip": ["1", 0], "text": said}),
        "3": ("PreviewAny", {"source": ["2", 0]}),
    }
    if joined:
        nodes["5"] = ("StringConcatenate", {"string_a": text, "string_b": joined, "delimiter": ""})
    return {
        key: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        for key, (kind, inputs) in nodes.items()
    }


def posted(server, body, path: str = "/prompt", **headers) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"http://{server.address}{path}", data, headers)
    try:
        with DIRECT.open(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


def check_refused(server, body, path: str = "/prompt", **headers) -> dict:
    status, said = posted(server, body, path, **headers)
    assert (status, said["error"]["type"]) == (400, "policy")
    assert not server.ask("/queue")["queue_pending"]
    return said


def test_the_answer_is_in_the_hosts_own_form_and_names_the_rule(guarded):
    said = check_refused(guarded, {"prompt": graph(FORBIDDEN)})
    assert "(rule: sexual)" in said["error"]["message"]
    assert said["node_errors"]["2"]["class_type"] == "LongtakePrompt"
    (error,) = said["node_errors"]["2"]["errors"]
    assert error["extra_info"] == {"input_name": "text"}
    assert set(said["error"]) == {"type", "message", "details", "extra_info"}
    assert "nude" not in json.dumps(said)


def test_it_is_on_the_other_path_too(guarded):
    check_refused(guarded, {"prompt": graph(FORBIDDEN)}, "/api/prompt")


def test_what_is_allowed_is_run(guarded):
    run = guarded.run(graph("a small red ball on the grass"))
    assert run.error is None


def ui_graph(text: str) -> dict:
    """As the browser saves it, the words in a subgraph."""
    node = {"id": 7, "type": "LongtakePrompt", "widgets_values": [text]}
    inside = {"id": "a-b", "name": "inside", "nodes": [node], "links": []}
    off = {"policy": {"mode": "off"}, "longtake": {"policy": "off"}}
    return {
        "nodes": [{"id": 1, "type": "a-b", "widgets_values": []}],
        "links": [],
        "definitions": {"subgraphs": [inside]},
        "extra": off,
        "version": 0.4,
    }


def with_inputs(prompt: dict, **inputs) -> dict:
    """A graph with other inputs of its prompt."""
    changed = copy.deepcopy(prompt)
    changed["2"]["inputs"].update(inputs)
    return changed


def attempts() -> dict[str, dict]:
    plain = graph(FORBIDDEN)
    renamed = {f"12:{key}": copy.deepcopy(node) for key, node in plain.items()}
    for node in renamed.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [f"12:{value[0]}", value[1]]
    hidden = {"_meta": plain["2"], "extra_data": plain["1"], "3": plain["3"]}
    odd = with_inputs(plain, text={"__value__": ["a", {"b": [FORBIDDEN]}]})
    key = with_inputs(plain, text={FORBIDDEN: 1})
    off = {"policy": {"mode": "off"}, "LONGTAKE_POLICY": "off", "longtake": {"policy": "off"}}
    switch = {"class_type": "LongtakePolicy", "inputs": {"mode": "off"}}
    return {
        "a field beside the prompt": {"prompt": plain, **off},
        "fields of extra_data": {"prompt": plain, "extra_data": {**off, "extra_pnginfo": off}},
        "a node": {"prompt": {**plain, "9": switch}},
        "an input": {"prompt": with_inputs(plain, **off)},
        "a workflow that says so": {
            "prompt": plain, "extra_data": {"extra_pnginfo": {"workflow": ui_graph("a ball")}},
        },
        "a subgraph, as it is sent": {"prompt": renamed},
        "the browser's own form": {"prompt": ui_graph(FORBIDDEN)},
        "a batch": {"prompt": [graph("a ball"), plain]},
        "a list of texts": {"prompt": with_inputs(plain, text=["a ball", FORBIDDEN])},
        "names that are left out elsewhere": {"prompt": hidden},
        "a value within a value": {"prompt": odd},
        "a name within a value": {"prompt": key},
        "in front": {"prompt": plain, "front": True, "number": -1},
        "some outputs only": {"prompt": plain, "partial_execution_targets": []},
        "a text for a prompt": {"prompt": FORBIDDEN},
    }  # fmt: skip


@pytest.mark.parametrize("name", attempts())
def test_nothing_that_is_posted_turns_it_off(guarded, name):
    check_refused(guarded, attempts()[name])


def test_headers_do_not_either(guarded):
    check_refused(guarded, {"prompt": graph(FORBIDDEN)}, **{"X-Longtake-Policy": "off"})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_another_encoding_is_read_as_the_host_would(guarded, encoding):
    kind = f"application/json; charset={encoding}"
    body = json.dumps({"prompt": graph(FORBIDDEN)}).encode(encoding)
    check_refused(guarded, body, **{"Content-Type": kind})


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe\x00", b"[" * 50_000, b'{"prompt": "\xed\xa0\x80"}']
)
def test_what_cannot_be_read_is_not_let_through(guarded, body):
    check_refused(guarded, body)
    assert guarded.ask("/queue") is not None


def test_a_text_made_in_the_graph_is_stopped_at_our_node(guarded):
    run = guarded.run(graph("a nu", "de woman"))
    assert "(rule: sexual)" in run.error
    assert "nude" not in run.error


def test_minors_are_looked_for_over_all_texts(guarded):
    two = graph("a schoolgirl")
    two["4"] = copy.deepcopy(two["2"])
    two["4"]["inputs"]["text"] = "nude"
    said = check_refused(guarded, {"prompt": two})
    assert "(rule: minors)" in said["error"]["message"]


def test_the_log_has_a_hash_and_a_rule_and_no_word(guarded):
    check_refused(guarded, {"prompt": graph("jane placeholder dances")})
    lines = [json.loads(line) for line in guarded.log_of_gate.read_text().splitlines()]
    assert (lines[-1]["rule"], lines[-1]["where"], lines[-1]["done"]) == (
        "people",
        "prompt",
        "refused",
    )
    assert len(lines[-1]["prompt"]) == 64
    assert "jane" not in guarded.log_of_gate.read_text().lower()
    assert logged(guarded, "the owner's policy is in force (mode: refuse)")


def logged(server, text: str, patience: float = 30.0) -> bool:
    """Whether a text is in the log, or comes: on a busy machine a server answers before it is."""
    deadline = time.monotonic() + patience
    while text not in (log := server.log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return text in log


def test_a_broken_policy_closes_the_gate(tmp_path, monkeypatch):
    broken = tmp_path / "policy.json"
    broken.write_text('{"mode": "refuse", "peple": []}')
    monkeypatch.setenv("LONGTAKE_POLICY", str(broken))
    with ComfyUI(comfyui_folder(), tmp_path / "base") as server:
        server.check_loaded()
        said = check_refused(server, {"prompt": graph("a ball")})
        assert "until its owner mends its policy" in said["error"]["message"]
        assert logged(server, "the policy has no 'peple'")


def graph_with_a_negative(unwanted: str) -> dict:
    """The built-in model samples a frame; what is unwanted goes into `negative` alone."""
    nano = {"file": "nano (built in)"}
    nodes = graph("a small red ball on the grass")
    more = {
        "6": ("LongtakePrompt", {"clip": ["1", 0], "text": unwanted}),
        "7": ("LongtakeLoadModel", {**nano, "dtype": "auto", "family": "auto"}),
        "8": ("LongtakeLoadVAE", {**nano, "dtype": "auto"}),
        "9": ("LongtakeCanvas", {"vae": ["8", 0], "seconds": 0.1, "fps": 8.0, "width": 32,
                                 "height": 32, "batch_size": 1}),
        "10": ("LongtakeSchedule", {"model": ["7", 0], "steps": 1, "shift": 0.0,
                                    "curve": "linear", "denoise": 1.0}),
        "11": ("LongtakeSample", {
            "model": ["7", 0], "positive": ["2", 0], "negative": ["6", 0], "latent": ["9", 0],
            "sigmas": ["10", 0], "seed": 1, "cfg": 4.0, "sampler": "euler",
        }),
        "3": ("PreviewAny", {"source": ["11", 0]}),
    }  # fmt: skip
    return nodes | {
        key: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        for key, (kind, inputs) in more.items()
    }


def test_what_shall_not_be_seen_may_be_named_in_a_negative_prompt(guarded):
    """At POST /prompt, and again at the node when it runs."""
    run = guarded.run(graph_with_a_negative("nsfw, nude, watermark"))
    assert run.error is None


def test_the_same_words_are_refused_where_cfg_turns_them_into_the_prompt(guarded):
    turned = graph_with_a_negative("nsfw, nude, watermark")
    turned["11"]["inputs"]["cfg"] = 0.5
    check_refused(guarded, {"prompt": turned})
    both = graph_with_a_negative("nsfw, nude, watermark")
    both["11"]["inputs"]["positive"] = ["6", 0]
    check_refused(guarded, {"prompt": both})


def test_without_a_policy_a_workflow_cannot_turn_it_on(server):
    off = {"policy": {"mode": "refuse"}, "LONGTAKE_POLICY": "refuse"}
    status, said = posted(server, {"prompt": graph("a nude statue"), **off, "extra_data": off})
    assert (status, said["node_errors"]) == (200, {})
    server.wait(said["prompt_id"])
