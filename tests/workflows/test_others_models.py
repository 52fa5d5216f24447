"""Workflows for other people's models, each run with a tiny one in the place of its loaders."""

import pytest

from tests import host_models
from tests.nodes.test_host_graphs import streams
from tests.workflows.conftest import OTHERS_MODELS, load

SMALL = {"width": 64, "height": 64}
# of each: the tiny model, and what is made smaller, by titles
TINY = {
    "h3_image_to_video": ("minimax_h3", {"Canvas": {**SMALL, "seconds": 1.6}}),
    "ltx_long_take_with_sound": (
        "ltxav",
        {"LongTake": {**SMALL, "seconds": 2.0, "window": 33, "overlap": 9}},
    ),
    "h3_storyboard": (
        "minimax_h3",
        {
            "LongTake": {**SMALL, "window": 39, "overlap": 5},
            "Storyboard": {"seconds": 3.0, "text": "[0s] a red ball\n[1.5s cut] a blue cube"},
        },
    ),
    "wan22_image_to_video": ("wan21_from_an_image", {"Canvas": {**SMALL, "seconds": 0.8}}),
    "svi_long_take": (
        "wan21_from_an_image",
        {"Canvas": {**SMALL, "seconds": 2.0}, "LongTake": {"window": 17}},
    ),
    "gguf_long_take": (
        "wan22",
        {"LongTake": {**SMALL, "seconds": 1.5, "window": 21, "overlap": 5}},
    ),
    "vace_control": (
        "wan21_vace",
        {"Canvas": {**SMALL, "seconds": 0.8}, "CameraPath": {**SMALL, "seconds": 0.8}},
    ),
    "hunyuan_extend": (
        "hunyuan_video",
        {"Canvas": {**SMALL, "seconds": 0.8}, "ExtendVideo": {"seconds": 0.5}},
    ),
    "motion_brush": (
        "wan21_from_an_image",
        {"Canvas": {**SMALL, "seconds": 0.8}, "MotionBrush": {"brush": "[0s] 0.8,0.6 left 0.4w"}},
    ),
    "drive_character": (
        "wan_animate",
        {"Drive": {**SMALL, "seconds": 1.2}, "LongTake": {"window": 17, "overlap": 5}},
    ),
}
SECONDS = {
    "h3_image_to_video": 39 / 24,
    "ltx_long_take_with_sound": 49 / 25,
    "h3_storyboard": 73 / 24,
    "wan22_image_to_video": 13 / 16,
    "svi_long_take": 33 / 16,
    "gguf_long_take": 37 / 24,
    "hunyuan_extend": 33 / 24,
    "vace_control": 13 / 16,
    "motion_brush": 13 / 16,
    "drive_character": 29 / 24,
}
RATES = {
    "ltx_long_take_with_sound": 25,
    "wan22_image_to_video": 16,
    "svi_long_take": 16,
    "vace_control": 16,
    "motion_brush": 16,
}
# what core's templates sample with: steps of its BasicScheduler "simple" at a shift, or levels
LEVELS = {
    "h3_image_to_video": (6, 12),
    "h3_storyboard": (6, 12),
    "ltx_long_take_with_sound": (1, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0),
    "wan22_image_to_video": (4, 5),
    "svi_long_take": (4, 5),
    "gguf_long_take": (20, 8),
    "hunyuan_extend": (20, 7),
    "vace_control": (20, 8),
    "motion_brush": (6, 8),
    "drive_character": (10, 5),
}
CANVASES = {  # frames of the templates' sizes, in latent frames, rows and columns
    "h3_image_to_video": (42, 48, 84),
    "wan22_image_to_video": (21, 80, 80),
    "svi_long_take": (81, 80, 80),
    "hunyuan_extend": (19, 60, 106),
    "vace_control": (21, 60, 104),
    "motion_brush": (21, 80, 80),
}
WITH_SOUND = ("h3_image_to_video", "h3_storyboard", "ltx_long_take_with_sound", "drive_character")
EYES = ("CLIPVisionEncode",)  # nodes behind loaders, which the tiny models do without
SLOTS = {"model": 0, "high": 0, "low": 0, "clip": 1, "vae": 2, "audio_vae": 3}  # by inputs' names


@pytest.fixture(params=OTHERS_MODELS)
def name(request) -> str:
    return request.param


def with_a_tiny_model(prompt: dict, model: str, smaller: dict[str, dict]) -> dict:
    """A workflow whose loaders, and the LoRAs behind them, are one tiny model."""
    loaders = [
        key
        for key, node in prompt.items()
        if "Loader" in node["class_type"] or node["class_type"] in EYES
    ]
    for key in loaders:
        del prompt[key]
    for node in prompt.values():
        node["inputs"].update(smaller.get(node["_meta"]["title"], {}))
        for name, value in [*node["inputs"].items()]:
            if isinstance(value, list) and value[0] in loaders:
                del node["inputs"][name]
                if name in SLOTS:
                    node["inputs"][name] = ["tiny", SLOTS[name]]
    tiny = {"class_type": host_models.NODE, "inputs": {"name": model}, "_meta": {"title": "Tiny"}}
    return {**prompt, "tiny": tiny}


@pytest.mark.usefixtures("pack")
def test_it_becomes_a_video_with_the_sound_that_its_model_makes(host, name):
    host_models.register_tiny_models()
    prompt = with_a_tiny_model(load(f"api/{name}.json"), *TINY[name])
    assert host.refusal(prompt) is None
    (saved,) = [key for key, node in prompt.items() if node["class_type"] == "LongtakeSaveVideo"]
    run = host.run(prompt, want=[saved])
    assert run.success, run.error
    found = streams(run.values[saved][0])
    rate = RATES.get(name, 24)
    assert found["video"] == round(SECONDS[name] * rate)
    assert ("audio" in found) == (name in WITH_SOUND)
    if "audio" in found:
        assert abs(found["audio"] / found["audio rate"] - found["video"] / rate) < 0.1


def of_node(host, name: str, title: str):
    """What a node of a workflow gives as it is, with a tiny model in place of the loaders."""
    host_models.register_tiny_models()
    prompt = with_a_tiny_model(load(f"api/{name}.json"), TINY[name][0], {})
    (key,) = [key for key, node in prompt.items() if node["_meta"]["title"] == title]
    run = host.run(prompt, want=[key])
    assert run.success, run.error
    return run.values[key][0]


@pytest.mark.usefixtures("pack")
def test_its_noise_levels_are_those_of_core_s_template(host, name):
    expected = LEVELS[name]
    if len(expected) == 2:
        steps, shift = expected
        even = [1 - step / steps for step in range(steps + 1)]
        expected = [shift * t / (1 + (shift - 1) * t) for t in even]
    assert of_node(host, name, "Schedule").tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("pack")
@pytest.mark.parametrize("name", CANVASES)
def test_its_canvas_is_as_large_as_core_s_template_has_it(host, name):
    samples = of_node(host, name, "Canvas")["samples"]
    pictures = samples.unbind()[0] if samples.is_nested else samples
    assert pictures.shape[2:] == CANVASES[name]
