"""Which texts of a graph are negative prompts alone, and what tries to pass as one."""

import copy
from importlib import import_module

import pytest

WORD = "nsfw, watermark"


def usual() -> dict:
    """A graph as most are: core's nodes, the second prompt into `negative`."""
    nodes = {
        "m": ("UNETLoader", {"unet_name": "x"}),
        "s": ("ModelSamplingSD3", {"model": ["m", 0], "shift": 8.0}),
        "c": ("CLIPLoader", {"clip_name": "y"}),
        "yes": ("CLIPTextEncode", {"clip": ["c", 0], "text": "a ball"}),
        "no": ("CLIPTextEncode", {"clip": ["c", 0], "text": WORD}),
        "k": ("KSampler", {
            "model": ["s", 0], "positive": ["yes", 0], "negative": ["no", 0], "cfg": 6.0,
        }),
    }  # fmt: skip
    return {k: {"class_type": kind, "inputs": inputs} for k, (kind, inputs) in nodes.items()}


def changed(**nodes) -> dict:
    """The usual graph with other inputs, or more nodes (class, inputs)."""
    graph = usual()
    for key, value in nodes.items():
        if isinstance(value, tuple):
            graph[key] = {"class_type": value[0], "inputs": value[1]}
        else:
            graph[key]["inputs"].update(value)
    return graph


@pytest.fixture
def wiring(comfyui):
    return import_module("longtake.host.policy.negatives").Wiring


def only_negative(wiring, graph) -> bool:
    return wiring(graph).holds("no", "text", WORD)


EXPERTS = {"high": ["m", 0], "low": ["m", 0], "positive": ["yes", 0], "negative": ["no", 0],
           "cfg_high": 0, "cfg_low": 3.5, "boundary": 0.0}  # fmt: skip
PAIR = {"positive": ["yes", 0], "negative": ["no", 0]}
OURS = {"model": ["m", 0], "positive": ["yes", 0], "negative": ["no", 0]}


@pytest.mark.parametrize(
    "graph",
    [
        usual(),
        changed(k={"cfg": 1}),
        changed(i=("WanImageToVideo", PAIR), k={"positive": ["i", 0], "negative": ["i", 1]}),
        changed(k2=("LongtakeSample", {**OURS, "cfg": 0.0})),
        changed(p=("LongtakePreset", {"model": ["m", 0]}), k={"cfg": ["p", 2]}),
        changed(p=("LongtakeStyle", {"text": "a ball"}), k={"cfg": ["p", 2]}),
        changed(g=("CFGGuider", {**OURS, "cfg": 4.0}),
                a=("SamplerCustomAdvanced", {"guider": ["g", 0]})),
        changed(e=("LongtakeExperts", EXPERTS), k={"model": ["e", 1]},
                a=("SamplerCustomAdvanced", {"guider": ["e", 0]})),
    ],
)  # fmt: skip
def test_what_is_wired_to_negative_inputs_alone_is_a_negative_prompt(wiring, graph):
    assert only_negative(wiring, graph)
    assert not wiring(graph).holds("yes", "text", "a ball")


def test_a_text_that_comes_from_another_node_is_followed(wiring):
    graph = changed(t=("PrimitiveStringMultiline", {"value": WORD}), no={"text": ["t", 0]})
    assert wiring(graph).holds("t", "value", WORD)
    graph["yes"]["inputs"]["text"] = ["t", 0]
    assert not wiring(graph).holds("t", "value", WORD)


ATTEMPTS = {
    "into the positive of another": changed(
        k2=("KSampler", {**OURS, "positive": ["no", 0], "negative": ["yes", 0], "cfg": 6})
    ),
    "both of one": changed(k={"positive": ["no", 0]}),
    "a cfg that turns it around": changed(k={"cfg": 0.0}),
    "a cfg below 1": changed(k={"cfg": 0.99}),
    "a negative cfg": changed(k={"cfg": -4.0}),
    "a cfg as text": changed(k={"cfg": "6"}),
    "no number": changed(k={"cfg": float("nan")}),
    "a cfg from a node": changed(f=("PrimitiveFloat", {"value": 0.0}), k={"cfg": ["f", 0]}),
    "another output of Preset": changed(
        p=("LongtakePreset", {"model": ["m", 0]}), k={"cfg": ["p", 1]}
    ),
    "a low expert's cfg": changed(
        e=("LongtakeExperts", {**EXPERTS, "cfg_low": 0.5}), k={"model": ["e", 1]},
        a=("SamplerCustomAdvanced", {"guider": ["e", 0]}),
    ),
    "a cfg of 0 to core's sampler": changed(k={"cfg": 0}),
    "a model that is guided otherwise": changed(
        x=("PerpNeg", {"model": ["m", 0], "empty_conditioning": ["yes", 0]}), k={"model": ["x", 0]}
    ),
    "no model": changed(k={"model": None}),
    "a ring of models": changed(s={"model": ["s", 0]}),
    "an unknown node between": changed(x=("Swap", PAIR), k={"negative": ["x", 1]}),
    "swapped by a known one": changed(
        i=("WanImageToVideo", {"positive": ["no", 0], "negative": ["yes", 0]}),
        k={"positive": ["i", 0], "negative": ["i", 1]},
    ),
    "wires crossed behind it": changed(
        i=("WanImageToVideo", PAIR), k={"positive": ["i", 1], "negative": ["i", 0]}
    ),
    "an unknown sampler": changed(k2=("MySampler", OURS)),
    "a guider in other hands": changed(
        g=("CFGGuider", {**OURS, "cfg": 4.0}), a=("MySampler", {"guider": ["g", 0]})
    ),
    "combined with the prompt": changed(
        b=("ConditioningCombine", {"conditioning_1": ["yes", 0], "conditioning_2": ["no", 0]}),
        k={"positive": ["b", 0]},
    ),
    "deep inside of an input": changed(x=("Preview", {"a": {"b": [["no", 0]]}})),
    "an output's number as a fraction": changed(k={"positive": ["no", 0.0]}),
    "an output's number as a truth": changed(k={"positive": ["no", False]}),
    "by nothing at all": changed(k={"negative": ["yes", 0]}),
    "in a ring": changed(no={"text": ["t", 0]}, t=("StringConcatenate", {"string_a": ["t", 0]})),
}  # fmt: skip


@pytest.mark.parametrize("how", ATTEMPTS)
def test_nothing_else_passes_as_one(wiring, how):
    assert not only_negative(wiring, ATTEMPTS[how])


@pytest.mark.parametrize("graph", [None, [], "text", {"no": None}, {"no": {"inputs": [1]}}])
def test_what_is_no_graph_has_none(wiring, graph):
    assert not only_negative(wiring, graph)


def test_a_text_that_an_input_does_not_hold_is_not_one(wiring):
    graph = usual()
    graph["no"]["more"] = {"text": "another"}
    assert not wiring(graph).holds("no", "text", "another")


@pytest.mark.parametrize("shape", ["long", "wide"])
def test_large_graphs_are_read_soon_or_refused(wiring, shape):
    graph = usual()
    for n in range(400):
        pair = {"positive": [f"i{n - 1}", 0] if n else ["yes", 0],
                "negative": [f"i{n - 1}", 1] if n else ["no", 0]}  # fmt: skip
        if shape == "wide":
            pair = PAIR
        graph[f"i{n}"] = {"class_type": "WanImageToVideo", "inputs": pair}
    graph["k"]["inputs"]["negative"] = ["i399", 1]
    try:
        assert only_negative(wiring, graph) == (shape == "long")
    except RecursionError:
        assert shape == "long"  # which the gate's middleware answers with a refusal


def test_the_nodes_it_knows_are_as_it_says(host):
    """The outputs of core's and ours, by name; only those that the host has."""
    import nodes

    table = import_module("longtake.host.policy.negatives")
    seen = 0
    for name, inputs in table.PASSING.items():
        kind = nodes.NODE_CLASS_MAPPINGS.get(name)
        if kind is None or not {"positive", "negative"} & set(inputs):
            continue
        titles = [str(one).lower() for one in kind.RETURN_NAMES]
        for one, slots in inputs.items():
            assert one not in PAIR or [titles[k] for k in slots] == [one]
        seen += 1
    assert seen > 8
    for name, (models, cfgs) in {**table.GUIDED, **table.MODELS}.items():
        kind = nodes.NODE_CLASS_MAPPINGS.get(name)
        if kind is not None:
            declared = kind.INPUT_TYPES()
            known = {**declared.get("required", {}), **declared.get("optional", {})}
            assert {*models, *cfgs} <= set(known)
            every = [k for k, v in known.items() if v[0] == "MODEL" or k.startswith("cfg")]
            assert sorted(every) == sorted({*models, *cfgs})
    for kind, slot in table.CFGS:
        assert nodes.NODE_CLASS_MAPPINGS[kind].RETURN_NAMES[slot] == "cfg"


def test_copies_are_not_changed(wiring):
    graph = usual()
    before = copy.deepcopy(graph)
    only_negative(wiring, graph)
    assert graph == before
