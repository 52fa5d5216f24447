"""What people see of a node before they run it, and what saved workflows rely on."""

import asyncio
import math
import re
from pathlib import Path

import pytest

import longtake

PAGES = Path(longtake.__file__).parent / "web" / "docs"

# Ids, and inputs in order, are for ever: workflows save a widget's value by its place. What is new
# goes to the end, as optional.
INPUTS = {
    "LongtakeLoadModel": ["file", "dtype", "family"],
    "LongtakeLoadTextEncoder": ["file"],
    "LongtakeLoadVAE": ["file", "dtype"],
    "LongtakeLoadLora": ["model", "file", "strength", "half"],
    "LongtakePreset": ["model"],
    "LongtakeExpandPrompt": ["text", "family", "seed", "temperature", "clip", "model"],
    "LongtakeStyle": ["text", "style", "family", "negative", "model"],
    "LongtakeCamera": ["text", "move", "size", "motion", "family", "negative", "model"],
    "LongtakePrompt": ["clip", "text"],
    "LongtakeCanvas": [
        "vae", "seconds", "fps", "width", "height", "batch_size", "aspect", "megapixels"
    ],
    "LongtakePinImage": ["latent", "image", "vae", "at", "fit", "clip_vision_output"],
    "LongtakePinVideo": ["latent", "clip", "vae", "at", "fit", "edges", "fps"],
    "LongtakePinAudio": ["latent", "audio", "audio_vae", "at"],
    "LongtakeControlVideo": [
        "latent", "clip", "vae", "strength", "start", "seconds", "fit", "fps"
    ],
    "LongtakeReferenceImages": ["latent", "images", "vae", "strength"],
    "LongtakeExtendVideo": [
        "clip", "vae", "direction", "seconds", "overlap", "window", "fps", "audio_vae"
    ],
    "LongtakeFillGap": ["clip", "vae", "start", "end", "after", "fps", "audio_vae"],
    "LongtakeLoop": ["clip", "vae", "seconds", "fps", "audio_vae"],
    "LongtakeBridge": ["clip", "after", "vae", "seconds", "fps", "audio_vae"],
    "LongtakeRegion": [
        "clip", "vae", "mask", "start", "end", "strength", "grow", "feather", "invert", "fps"
    ],
    "LongtakeExpandCanvas": [
        "clip", "vae", "left", "top", "right", "bottom", "aspect", "feather", "fps"
    ],
    "LongtakeRemix": ["clip", "vae", "level", "strength", "fps", "audio_vae"],
    "LongtakeEncode": ["image", "vae", "fps"],
    "LongtakeSchedule": ["model", "steps", "shift", "curve", "denoise", "latent"],
    "LongtakeExperts": [
        "high", "low", "positive", "negative", "cfg_high", "cfg_low", "boundary", "latent"
    ],
    "LongtakeDiffusionForcing": ["lag", "block", "reference_noise"],
    "LongtakeCameraPath": [
        "path", "seconds", "fps", "width", "height", "view_angle", "parallax", "clip", "depth",
        "positive", "negative",
    ],
    "LongtakeMotionBrush": [
        "positive", "negative", "vae", "image", "latent", "brush", "method", "points", "strength",
        "seed", "masks", "tracks", "clip_vision_output",
    ],
    "LongtakeDrive": [
        "vae", "character", "clip", "seconds", "fps", "width", "height", "character_is", "fit",
        "strength", "clip_fps", "face", "masks", "character_mask", "replace", "clip_vision_output",
        "text_encoder", "words", "background", "background_mask",
    ],
    "LongtakeVariations": ["seed", "count", "workers"],
    "LongtakeSample": [
        "model", "positive", "negative", "latent", "sigmas", "seed", "cfg", "sampler"
    ],
    "LongtakeShot": [
        "prompt", "start", "transition", "dissolve", "seed", "shots", "image"
    ],
    "LongtakeStoryboard": [
        "clip", "text", "seconds", "fps", "snap", "meet", "shots", "audio"
    ],
    "LongtakeLoadAudio": ["audio", "start", "seconds", "audioUI", "upload"],
    "LongtakeBeat": ["tempo", "seconds", "offset"],
    "LongtakeLongTake": [
        "model", "vae", "negative", "sigmas", "seconds", "fps", "width", "height", "seed", "cfg",
        "sampler", "window", "overlap", "shots", "anchor", "keep", "positive", "storyboard",
        "audio", "canvas", "custom_sampler", "aspect", "audio_vae", "workers"
    ],
    "LongtakeDecode": ["latent", "vae", "fps", "crf", "audio_vae"],
    "LongtakeDecodeFrames": ["latent", "vae"],
    "LongtakeInterpolate": [
        "fps", "multiplier", "file", "cut_sensitivity", "loop", "ending", "flow_scale", "dtype",
        "tile", "images", "image_fps", "video", "image"
    ],
    "LongtakeSideBySide": ["video", "chosen"],
    "LongtakeSaveVideo": [
        "video", "filename_prefix", "format", "crf", "preset", "audio", "picture", "credentials",
        "mark", "remember"
    ],
    "LongtakeSalvage": ["file"],
    "LongtakeReadCredentials": ["file", "video"],
    "LongtakeReadMark": ["video"],
    "LongtakeMadeHere": ["file", "video", "vae"],
    "LongtakeModelCache": ["action", "file", "after"],
}  # fmt: skip


@pytest.fixture(scope="module")
def schemas(host) -> dict:
    extension = asyncio.run(longtake.comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


def test_ids_and_inputs_are_as_saved_workflows_know_them(schemas):
    found = {name: [i.id for i in schema.inputs] for name, schema in schemas.items()}
    assert {name: found.get(name, [])[: len(known)] for name, known in INPUTS.items()} == INPUTS
    assert set(found) == set(INPUTS)


@pytest.mark.parametrize("name", INPUTS)
def test_a_node_introduces_itself(schemas, name):
    schema = schemas[name]
    assert schema.category.startswith("Longtake/")
    assert schema.display_name.endswith(" (Longtake)")
    assert schema.description.endswith(".")
    for part in (*schema.inputs, *schema.outputs):
        words = part.tooltip or ""
        assert len(words) > 10, part
        assert words.endswith("."), words
    assert all(output.display_name for output in schema.outputs)


@pytest.mark.parametrize("name", INPUTS)
def test_optional_inputs_come_last(schemas, name):
    order = [bool(i.optional) for i in schemas[name].inputs]
    assert order == sorted(order)


@pytest.mark.parametrize("name", INPUTS)
def test_defaults_are_allowed(schemas, name):
    for widget in schemas[name].inputs:
        default = getattr(widget, "default", None)
        if hasattr(widget, "options"):
            assert default in widget.options
        elif hasattr(widget, "min"):
            assert widget.min <= default <= widget.max
            assert math.isfinite(widget.max)


def test_every_node_has_a_page_and_every_page_a_node():
    assert {page.stem for page in PAGES.glob("*.md")} == set(INPUTS)


@pytest.mark.parametrize("name", INPUTS)
def test_a_page_names_every_input_and_output(schemas, name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    schema = schemas[name]
    title = schema.display_name.removesuffix(" (Longtake)")
    assert page.startswith(f"# {title}\n")
    inputs = page.partition("## Input")[2].partition("\n## Output")[0]
    outputs = page.partition("\n## Output")[2].partition("\n## ")[0]
    assert [i.id for i in schema.inputs if f"**{i.id}**" not in inputs] == []
    assert [o.display_name for o in schema.outputs if f"**{o.display_name}**" not in outputs] == []
    assert "## Messages" in page
    assert max(len(line) for line in page.split("\n") if not line.startswith("|")) <= 100


def test_pages_use_only_formatting_that_the_browser_shows():
    for page in PAGES.glob("*.md"):
        assert not re.search(r"<[a-z]+[ >]", page.read_text(encoding="utf-8")), page.name
