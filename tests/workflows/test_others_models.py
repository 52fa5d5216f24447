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
    "gguf_long_take": (
        "wan22",
        {"LongTake": {**SMALL, "seconds": 1.5, "window": 21, "overlap": 5}},
    ),
    "hunyuan_extend": (
        "hunyuan_video",
        {"Canvas": {**SMALL, "seconds": 0.8}, "ExtendVideo": {"seconds": 0.5}},
    ),
}
SECONDS = {
    "h3_image_to_video": 39 / 24,
    "ltx_long_take_with_sound": 49 / 25,
    "h3_storyboard": 73 / 24,
    "wan22_image_to_video": 13 / 16,
    "gguf_long_take": 37 / 24,
    "hunyuan_extend": 33 / 24,
}
RATES = {"ltx_long_take_with_sound": 25, "wan22_image_to_video": 16}
SLOTS = {"model": 0, "high": 0, "low": 0, "clip": 1, "vae": 2, "audio_vae": 3}  # by inputs' names


@pytest.fixture(params=OTHERS_MODELS)
def name(request) -> str:
    return request.param


def with_a_tiny_model(prompt: dict, model: str, smaller: dict[str, dict]) -> dict:
    """A workflow whose loaders, and the LoRAs behind them, are one tiny model."""
    loaders = [key for key, node in prompt.items() if "Loader" in node["class_type"]]
    for key in loaders:
        del prompt[key]
    for node in prompt.values():
        node["inputs"].update(smaller.get(node["_meta"]["title"], {}))
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in loaders:
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
    assert ("audio" in found) == (TINY[name][0] in ("ltxav", "minimax_h3"))
    if "audio" in found:
        assert abs(found["audio"] / found["audio rate"] - found["video"] / rate) < 0.1
