"""What is set in a widget arrives: another value gives another result, and no two are swapped."""

import dataclasses
import hashlib
import importlib
from numbers import Number

import numpy as np
import pytest
import torch

from tests.nodes.test_timeline import clips, extend, pin_image, pin_video  # noqa: F401

FRAMES, VAE = ["frames", 0], ["vae", 0]
REMIX = {"clip": FRAMES, "vae": VAE, "level": "custom", "strength": 0.5}
GAP = {"clip": ["both", 0], "vae": VAE, "start": 0.7, "end": 1.0}
STORYBOARD = {
    "clip": ["encoder", 0],
    "text": "[0s] a red ball\n[1.1s cut] a blue cube",
    "seconds": 2.0,
    "fps": 8.0,
    "snap": 0.5,
    "meet": 0.35,
}
REGION = {
    "clip": ["both", 0], "vae": VAE, "mask": ["mask", 0], "start": 0.0, "end": 0.0,
    "strength": 1.0, "grow": 0, "feather": 0, "invert": False,
}  # fmt: skip
SCHEDULE = {"model": ["model", 0], "steps": 3, "shift": 0.0, "curve": "linear", "denoise": 1.0}
INTERPOLATE = {
    "fps": 12.0,
    "multiplier": 2.0,
    "file": "RIFE 4.0 (built in)",
    "cut_sensitivity": 0.0,
    "loop": False,
    "ending": "keep the duration",
    "flow_scale": "auto",
    "dtype": "fp32",
    "tile": 0,
    "images": False,
    "image_fps": 8.0,
}
DECODE = {"latent": ["sample", 0], "vae": VAE, "fps": 0.0}

# A node with its inputs, and a change to each widget of it.
CHANGES = [
    (
        "LongtakeCanvas",
        {"vae": VAE, "seconds": 1.0, "fps": 8.0, "width": 32, "height": 32, "batch_size": 1},
        {
            "seconds": 2.0,
            "fps": 9.0,
            "width": 48,
            "height": 48,
            "batch_size": 2,
            "aspect": "16:9",
            "megapixels": 0.01,
        },
    ),
    (*pin_image(at=0.25), {"at": 0.75, "fit": "pad"}),
    (
        *pin_video(at=0.125, clip=["five", 0]),
        {"at": 0.0, "fit": "pad", "edges": "hold", "fps": 4.0},
    ),
    (
        "LongtakeControlVideo",
        {
            "latent": ["canvas", 0],
            "clip": ["five", 0],
            "vae": VAE,
            "strength": 1.0,
            "start": 0.25,
            "seconds": 0.0,
            "fit": "crop",
        },
        {"strength": 0.5, "start": 0.5, "seconds": 0.25, "fit": "pad", "fps": 4.0},
    ),
    (
        "LongtakeReferenceImages",
        {"latent": ["canvas", 0], "images": ["five", 0], "vae": VAE, "strength": 1.0},
        {"strength": 0.5, "images": ["nine", 0]},
    ),
    (
        *extend(clip=FRAMES, seconds=2.0),
        {"direction": "backwards", "seconds": 3.0, "overlap": 0.5, "window": 1.1, "fps": 4.0},
    ),
    ("LongtakeFillGap", GAP, {"start": 0.3, "end": 1.4, "fps": 4.0, "after": FRAMES}),
    (
        "LongtakeBridge",
        {"clip": FRAMES, "after": ["both", 0], "vae": VAE, "seconds": 1.0},
        {"clip": ["both", 0], "after": FRAMES, "seconds": 2.0, "fps": 4.0},
    ),
    (
        "LongtakeLoop",
        {"clip": ["both", 0], "vae": VAE, "seconds": 1.0},
        {"seconds": 2.0, "fps": 4.0},
    ),
    (
        "LongtakeRegion",
        REGION,
        {
            "start": 0.5,
            "end": 0.5,
            "strength": 0.5,
            "grow": 20,
            "feather": 9,
            "invert": True,
            "fps": 4.0,
        },
    ),
    (
        "LongtakeExpandCanvas",
        {
            "clip": ["both", 0],
            "vae": VAE,
            "left": 16,
            "top": 0,
            "right": 0,
            "bottom": 0,
            "aspect": "free",
            "feather": 8,
        },
        {
            "left": 32,
            "top": 16,
            "right": 16,
            "bottom": 16,
            "aspect": "8:3",
            "feather": 3,
            "fps": 4.0,
        },
    ),
    ("LongtakeRemix", REMIX, {"level": "strong", "strength": 0.4, "fps": 4.0}),
    ("LongtakeEncode", {"image": ["nine", 0], "vae": VAE, "fps": 0.0}, {"fps": 4.0}),
    (
        "LongtakeSchedule",
        SCHEDULE,
        {"steps": 4, "shift": 2.0, "curve": "beta", "denoise": 0.5, "latent": ["remix", 0]},
    ),
    ("LongtakeDecode", DECODE, {"fps": 5.0, "crf": 40}),
    (
        "LongtakeInterpolate",
        {**INTERPOLATE, "video": ["decode", 0]},
        {
            "fps": 24.0,
            "cut_sensitivity": 1.0,
            "loop": True,
            "ending": "stop at the last frame",
            "flow_scale": "2",
            "dtype": "bf16",
            "images": True,
        },
    ),
    (
        "LongtakeInterpolate",
        {**INTERPOLATE, "fps": 0.0, "image": ["nine", 0]},
        {"multiplier": 3.0, "image_fps": 4.0},
    ),
    (
        "LongtakeSaveVideo",
        {"video": ["decode", 0], "filename_prefix": "a", "crf": 35, "preset": "ultrafast"},
        {"format": "mp4 h265", "crf": 45, "preset": "slow", "audio": ["beat", 0], "mark": True},
    ),
    (
        "LongtakeStoryboard",
        STORYBOARD,
        {"text": "[0s] a cone", "seconds": 3.0, "fps": 9.0, "meet": 0.8, "audio": ["beat", 0]},
    ),
    ("LongtakeStoryboard", {**STORYBOARD, "audio": ["beat", 0]}, {"snap": 0.05}),
    (
        "LongtakeBeat",
        {"tempo": 120.0, "seconds": 2.0, "offset": 0.0},
        {"tempo": 90.0, "seconds": 3.0, "offset": 0.2},
    ),
    (
        "LongtakeExpandPrompt",
        {"text": "a teal orb", "family": "LTX", "seed": 1, "temperature": 0.7},
        {"text": "a dog", "family": "built-in", "seed": 4, "model": ["model", 0]},
    ),
    (
        "LongtakeStyle",
        {"text": "a red ball", "style": "anime", "family": "LTX", "negative": "text"},
        {"text": "a dog", "style": "vhs", "family": "Wan", "negative": "", "model": ["model", 0]},
    ),
    (
        "LongtakeCamera",
        {"text": "a ball", "move": "pan left", "size": "close-up", "motion": 1, "family": "LTX"},
        {
            "text": "a dog",
            "move": "roll",
            "size": "full shot",
            "motion": 4,
            "family": "HunyuanVideo",
            "negative": "text",
            "model": ["model", 0],
        },
    ),
    ("LongtakeVariations", {"seed": 1, "count": 2}, {"seed": 5, "count": 3}),
]


def seen(value) -> object:
    """Whatever a node gives, as something to compare."""
    if isinstance(value, np.ndarray):
        return seen(torch.from_numpy(value))
    if isinstance(value, torch.Tensor):
        data = value.detach().contiguous().cpu().float().numpy()
        return tuple(data.shape), hashlib.sha256(data.tobytes()).hexdigest()
    if isinstance(value, dict):
        return {name: seen(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [seen(part) for part in value]
    if dataclasses.is_dataclass(value):
        return {f.name: seen(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "get_components"):
        parts = value.get_components()  # but for its metadata, which hold the graph
        return seen([parts.images, parts.audio, parts.frame_rate])
    return value if isinstance(value, str | bytes | Number) or value is None else type(value)


@pytest.fixture
def sources(clips):  # noqa: F811
    """The graph with things to put into nodes beside it."""
    return clips.add(
        nine=("EmptyImage", {"width": 32, "height": 48, "batch_size": 9, "color": 0x3264C8}),
        small=("EmptyImage", {"width": 32, "height": 48, "batch_size": 10, "color": 0xC83232}),
        five=("EmptyImage", {"width": 48, "height": 48, "batch_size": 5, "color": 0x32C832}),
        both=("ImageBatch", {"image1": ["frames", 0], "image2": ["small", 0]}),
        dark=("SolidMask", {"value": 0.0, "width": 32, "height": 48}),
        spot=("SolidMask", {"value": 1.0, "width": 15, "height": 15}),
        mask=(
            "MaskComposite",
            {"destination": ["dark", 0], "source": ["spot", 0], "x": 0, "y": 0, "operation": "add"},
        ),
        remix=("LongtakeRemix", REMIX),
        beat=("LongtakeBeat", {"tempo": 150.0, "seconds": 2.0, "offset": 0.1}),
    )


@pytest.mark.parametrize(("node", "inputs", "changes"), CHANGES, ids=[node for node, *_ in CHANGES])
def test_every_widget_makes_a_difference(sources, host, node, inputs, changes):
    executor = host.executor()

    def made(**more) -> object:
        graph = sources.add(made=(node, {**inputs, **more}))
        run = host.run(graph, want=["made"], executor=executor)
        assert run.success, (more, run.error)
        return seen(run.values["made"])

    plain = made()
    for name, value in changes.items():
        assert made(**{name: value}) != plain, name
    executor = host.executor()
    assert made() == plain  # so that no difference is one between two runs


class Seen(dict):
    last_hidden_state = None


class Sight:
    """A node that gives a picture as seen by CLIP Vision; its number is all there is of it."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP_VISION_OUTPUT",), "see", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"number": ("INT", {})}}

    def see(self, number):
        return (Seen(number=torch.tensor([float(number)])),)


def test_a_pinned_image_is_seen_by_clip_vision_too(sources, host, monkeypatch):
    monkeypatch.setitem(host.nodes.NODE_CLASS_MAPPINGS, "TestSight", Sight)

    def made(number) -> object:
        graph = sources.add(
            sight=("TestSight", {"number": number}), made=pin_image(clip_vision_output=["sight", 0])
        )
        run = host.run(graph, want=["made"])
        assert run.success, run.error
        return seen(run.values["made"])

    assert made(1) == made(1) != made(2)


def test_experts_know_who_is_who(graph, host):
    """Two copies of the model, told apart by their shifts."""
    pair = graph.add(
        high=("ModelSamplingSD3", {"model": ["model", 0], "shift": 7.0}),
        low=("ModelSamplingSD3", {"model": ["model", 0], "shift": 2.0}),
        made=(
            "LongtakeExperts",
            {
                "high": ["high", 0],
                "low": ["low", 0],
                "positive": ["prompt", 0],
                "negative": ["negative", 0],
                "cfg_high": 3.0,
                "cfg_low": 2.0,
                "boundary": 0.6,
            },
        ),
    )
    run = host.run(pair, want=["made", "prompt", "negative"])
    assert run.success, run.error
    guider, model = run.values["made"]
    experts = importlib.import_module("longtake.host.sampling.experts").experts_of(model)
    shifts = [m.get_model_object("model_sampling").shift for m in (model, experts.low)]
    assert shifts == [7.0, 2.0]
    assert (experts.cfg_high, experts.cfg_low, experts.boundary) == (3.0, 2.0, 0.6)
    assert guider.cfg == 3.0
    for name, prompt in (("positive", "prompt"), ("negative", "negative")):
        text = run.values[prompt][0][0][0]
        assert torch.equal(guider.original_conds[name][0]["cross_attn"], text)


@pytest.mark.parametrize("node", ["sample", "take"])
def test_a_run_gets_what_its_node_was_given(sources, host, runs, node):
    """Prompts, cfg, sampler: of Sample and of LongTake."""
    take = {
        **{k: v for k, v in sources["sample"]["inputs"].items() if k != "latent"},
        "vae": VAE, "seconds": 1.0, "fps": 8.0, "width": 32, "height": 48, "window": 9,
        "overlap": 1, "shots": "each by itself", "anchor": "off", "keep": "delete when done",
        "seed": 30_607,  # of no other test, whose windows would be used
    }  # fmt: skip
    forcing = ("LongtakeDiffusionForcing", {"lag": 1, "block": 1, "reference_noise": 0.0})
    graph = sources.add(take=("LongtakeLongTake", take), forcing=forcing)

    def run(**changes):
        done = host.run(graph.but(**{node: changes}), want=["prompt", "negative", node])
        assert done.success, done.error
        return done.values

    values = run(cfg=3.5, sampler="heun")
    assert runs.cfgs == [3.5]
    assert runs.samplers[0].sampler_function.__name__ == "sample_heun"
    for name, prompt in (("positive", "prompt"), ("negative", "negative")):
        assert torch.equal(runs.prompts[0][name], values[prompt][0][0][0])
    run(cfg=0.0, custom_sampler=["forcing", 0])
    assert runs.cfgs[1] == 4.0  # what the built-in model was trained for
    assert runs.samplers[1].extra_options == {"lag": 1, "block": 1, "noise": 0.0}


def test_forcing_knows_its_numbers_apart(host):
    forcing = ("LongtakeDiffusionForcing", {"lag": 3, "block": 2, "reference_noise": 20.0})
    graph = {"made": {"class_type": forcing[0], "inputs": forcing[1]}}
    (sampler,) = host.run(graph, want=["made"]).values["made"]
    assert sampler.extra_options == {"lag": 3, "block": 2, "noise": 20.0}
