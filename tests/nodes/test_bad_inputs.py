"""Nonsense is named in one line, as early as can be, and nothing is made of it."""

import math

import pytest
import torch

HUGE = "x" * 1_000_000

# What ComfyUI or we refuse before anything runs.
REFUSED = [
    ("canvas", "width", 0, "width 0: choose a whole number from 16 to 8192."),
    ("canvas", "height", -16, "height -16: choose a whole number from 16 to 8192."),
    ("canvas", "width", 17, "Nearest: 16 or 32"),
    ("canvas", "width", 10**9, "width 1000000000: choose a whole number"),
    ("canvas", "width", "wide", "Failed to convert"),
    ("canvas", "width", None, "Failed to convert"),
    ("canvas", "seconds", 0, "smaller than min"),
    ("canvas", "seconds", -5, "smaller than min"),
    ("canvas", "seconds", 1e9, "bigger than max"),
    ("canvas", "fps", 0, "smaller than min"),
    ("canvas", "fps", -24, "smaller than min"),
    ("canvas", "batch_size", 10**9, "bigger than max"),
    ("schedule", "steps", -1, "smaller than min"),
    ("schedule", "steps", 10**7, "bigger than max"),
    ("schedule", "shift", -1, "smaller than min"),
    ("schedule", "denoise", 0, "smaller than min"),
    ("schedule", "denoise", 1.5, "bigger than max"),
    ("schedule", "curve", "karras", "choose from linear, wan"),
    ("sample", "seed", -1, "smaller than min"),
    ("sample", "seed", 2**64, "bigger than max"),
    ("sample", "cfg", math.inf, "bigger than max"),
    ("sample", "sampler", "nope", "choose from euler"),
    ("decode", "fps", -1, "smaller than min"),
    ("decode", "crf", 52, "bigger than max"),
    ("model", "file", "nope.safetensors", "there is no 'nope.safetensors'"),
    ("model", "file", "../../etc/passwd", "there is no '../../etc/passwd'"),
    ("model", "dtype", "fp4", "dtype 'fp4': choose from auto,"),
    ("model", "family", "Wan 3", "family 'Wan 3': choose from auto,"),
    ("encoder", "file", "", "there is no ''"),
    ("vae", "dtype", "fp8_e4m3fn", "dtype 'fp8_e4m3fn': choose from auto,"),
    ("vae", "file", "vae.pt", "Only .safetensors files are read"),
    ("save", "filename_prefix", "../x", "would leave the output folder"),
    ("save", "filename_prefix", r"..\..\x", "would leave the output folder"),
    ("save", "filename_prefix", "/etc/x", "relative to the output folder"),
    ("save", "filename_prefix", "x" * 300, "300 bytes; at most 120"),
    ("save", "filename_prefix", "", "a name is needed"),
]

# What only shows once the node runs.
FAILS = [
    ("canvas", "seconds", math.nan, "seconds nan: choose a number from 0.01 to 3600."),
    ("canvas", "fps", math.nan, "fps nan: choose a number from 1 to 1000."),
    ("schedule", "shift", math.nan, "shift nan: choose a number from 0 to 100."),
    ("schedule", "denoise", math.nan, "denoise nan: choose a number from 0.01 to 1."),
    ("sample", "cfg", math.nan, "cfg nan: choose a number from 0 to 100."),
    ("decode", "fps", math.nan, "fps nan: choose a number from 0 to 1000."),
    ("prompt", "text", HUGE, "the text is 1000000 characters long"),
    ("prompt", "text", "a\ud800", "the text is not valid text from character 1 on."),
]

# Numbers that come over a link, which ComfyUI does not look at.
LINKED = [
    ("canvas", "width", "PrimitiveInt", 17, "width 17 does not fit the latent grid"),
    ("canvas", "width", "PrimitiveInt", 0, "width 0: choose a whole number from 16 to 8192."),
    ("canvas", "height", "PrimitiveInt", 10**9, "height 1000000000: choose"),
    ("canvas", "batch_size", "PrimitiveInt", 10**9, "batch_size 1000000000: choose"),
    ("canvas", "fps", "PrimitiveFloat", 0.0, "fps 0.0: choose"),
    ("canvas", "fps", "PrimitiveFloat", 1e9, "fps 1000000000.0: choose"),
    ("canvas", "seconds", "PrimitiveFloat", -3.0, "seconds -3.0: choose"),
    ("schedule", "steps", "PrimitiveInt", -1, "steps -1: choose"),
    ("schedule", "shift", "PrimitiveFloat", -1.0, "shift -1.0: choose"),
    ("schedule", "denoise", "PrimitiveFloat", 1.5, "denoise 1.5: choose"),
    (
        "schedule",
        "curve",
        "PrimitiveString",
        "karras",
        "curve 'karras': choose from linear",
    ),
    ("sample", "seed", "PrimitiveInt", -1, "seed -1: choose"),
    ("sample", "cfg", "PrimitiveFloat", math.inf, "cfg inf: choose"),
    ("sample", "sampler", "PrimitiveString", "nope", "sampler 'nope': choose from euler"),
    ("decode", "crf", "PrimitiveInt", -1, "crf -1: choose a whole number from 0 to 51."),
    ("save", "crf", "PrimitiveInt", 64, "crf 64: choose a whole number from -1 to 63."),
    ("save", "format", "PrimitiveString", "mp5", "format 'mp5': choose from mp4 h264"),
    ("save", "preset", "PrimitiveString", "placebo", "preset 'placebo': choose from ultrafast"),
    ("save", "picture", "PrimitiveString", "icon", "picture 'icon': choose from none"),
    ("decode", "fps", "PrimitiveFloat", 1e9, "fps 1000000000.0: choose"),
    ("model", "dtype", "PrimitiveString", "fp4", "dtype 'fp4': choose from auto,"),
    ("vae", "dtype", "PrimitiveString", "fp8_e4m3fn", "dtype 'fp8_e4m3fn': choose from auto,"),
    ("model", "file", "PrimitiveString", "/etc/passwd", "there is no '/etc/passwd'"),
    ("save", "filename_prefix", "PrimitiveString", "../../x", "would leave the output folder"),
]


def name(value) -> str:
    return repr(value)[:20]


@pytest.fixture
def quiet(host):
    """The output folder holds nothing new at the end."""
    output = host.base / "output"
    before = set(output.rglob("*.mp4"))
    yield
    assert set(output.rglob("*.mp4")) == before
    assert not list(host.base.parent.glob("*.mp4"))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("node", "widget", "value", "told"), REFUSED, ids=name)
def test_refused_before_anything_runs(graph, host, node, widget, value, told):
    assert told in host.refusal(graph.but(**{node: {widget: value}}))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("node", "widget", "value", "told"), FAILS, ids=name)
def test_named_when_the_node_runs(graph, host, node, widget, value, told):
    bad = graph.but(**{node: {widget: value}})
    run = host.run(bad, want=[node])
    assert told in run.error
    assert "\n" not in run.error


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("node", "widget", "primitive", "value", "told"), LINKED, ids=name)
def test_named_when_it_comes_over_a_link(graph, host, node, widget, primitive, value, told):
    bad = graph.add(value=(primitive, {"value": value})).but(**{node: {widget: ["value", 0]}})
    run = host.run(bad, want=[node])
    assert told in run.error
    assert "\n" not in run.error


def test_a_lora_that_is_not_there_is_named_before_a_model_is_loaded(graph, host):
    inputs = {"model": ["model", 0], "file": "gone.safetensors", "strength": 1.0}
    gone = graph.add(lora=("LongtakeLoadLora", inputs)).but(sample={"model": ["lora", 0]})
    assert (
        "there is no 'gone.safetensors' in ComfyUI's folder models/loras: put the file there"
        in host.refusal(gone)
    )
    assert host.refusal(gone.but(lora={"file": "none"})) is None


@pytest.mark.parametrize("weight", ["nan", "1e999", "-1e30"])
def test_a_weight_that_breaks_the_text_is_blamed_and_not_cfg(graph, host, weight):
    run = host.run(graph.but(prompt={"text": f"a (red:{weight}) ball"}), want=["sample"])
    assert run.error.startswith("the conditioning holds NaN or infinite numbers")


def test_where_no_mark_can_be_it_is_said(host):
    from longtake.host.provenance.mark import find_mark_in
    from longtake.models.errors import InputError

    for nonsense, told in (
        (torch.zeros(3, 48, 32, 2), "is not a video"),
        (torch.zeros(0, 48, 32, 3), "is not a video"),
        ({"samples": 1}, "connect a VIDEO or an IMAGE"),
    ):
        with pytest.raises(InputError, match=told):
            find_mark_in(nonsense)


@pytest.mark.parametrize(
    ("frames", "height", "told"),
    [
        (8, 32, "8 frames do not fit the latent grid"),
        (5, 33, "height 33 does not fit the latent grid"),
    ],
)
def test_a_clip_off_the_grid_is_named(graph, host, frames, height, told):
    clip = ("EmptyImage", {"width": 32, "height": height, "batch_size": frames, "color": 255})
    encode = ("LongtakeEncode", {"image": ["clip", 0], "vae": ["vae", 0], "fps": 8.0})
    run = host.run(graph.add(clip=clip, encode=encode), want=["encode"])
    assert told in run.error
    assert "Nearest" in run.error
