"""What a widget begins with, and what may be chosen in it: saved workflows rely on both."""

import asyncio
import inspect
from importlib import import_module

import pytest

import longtake

# A number is "default (least to most)"; a menu is its entries, the default in brackets. Of menus
# that ComfyUI or a folder fills, the default alone.
WIDGETS = {
    "LongtakeLoadModel": {
        "file": "nano (built in)",
        "dtype": "[auto] | bf16 | fp16 | fp32 | fp8_e4m3fn",
        "family": "auto",
    },
    "LongtakeLoadTextEncoder": {
        "file": "nano (built in)",
    },
    "LongtakeLoadVAE": {
        "file": "nano (built in)",
        "dtype": "[auto] | bf16 | fp16 | fp32",
    },
    "LongtakeLoadLora": {
        "file": "none",
        "strength": "1.0 (-100.0 to 100.0)",
        "half": "[auto] | high noise | low noise",
    },
    "LongtakeExpandPrompt": {
        "text": "a crimson sphere drifts left on the beach at dusk",
        "family": "Wan",
        "seed": "0 (0 to 18446744073709551615)",
        "temperature": "0.7 (0.0 to 2.0)",
    },
    "LongtakeStyle": {
        "text": "",
        "style": "none",
        "family": "Wan",
        "negative": "",
    },
    "LongtakeCamera": {
        "text": "",
        "move": "as written",
        "size": "as written",
        "motion": "-1 (-1 to 4)",
        "family": "Wan",
        "negative": "",
    },
    "LongtakePrompt": {
        "text": "",
    },
    "LongtakeShot": {
        "prompt": "",
        "start": "0.0 (0.0 to 36000.0)",
        "transition": "[cut] | dissolve",
        "dissolve": "0.5 (0.01 to 60.0)",
        "seed": "-1 (-1 to 18446744073709551615)",
    },
    "LongtakeStoryboard": {
        "text": (
            "[0s] a big red ball rises over the grass at sunset\n"
            "[2s cut] a blue cube spins on the snow at night\n"
            "[4s dissolve 0.5s] a yellow cone moves left on the sand during the day"
        ),
        "seconds": "6.0 (0.1 to 36000.0)",
        "fps": "8.0 (1.0 to 1000.0)",
        "snap": "0.5 (0.0 to 10.0)",
        "meet": "0.35 (0.0 to 1.0)",
    },
    "LongtakeLoadAudio": {
        "audio": "",
        "start": "0.0 (0.0 to 10800.0)",
        "seconds": "0.0 (0.0 to 10800.0)",
    },
    "LongtakeVariations": {
        "seed": "0 (0 to 18446744073709551615)",
        "count": "4 (1 to 64)",
        "workers": "this ComfyUI",
    },
    "LongtakeCameraPath": {
        "path": "[0s] zoom in 1.3x ease\n[0s] truck right 0.1w ease",
        "seconds": "5.0 (0.1 to 3600.0)",
        "fps": "24.0 (1.0 to 240.0)",
        "width": "0 (0 to 8192)",
        "height": "0 (0 to 8192)",
        "view_angle": "50.0 (5.0 to 150.0)",
        "parallax": "1.0 (0.0 to 10.0)",
    },
    "LongtakeMotionBrush": {
        "brush": "[0s] 0.5,0.5 right 0.2w ease",
        "method": "[Wan-Move] | ATI | LTX motion track",
        "points": "24 (1 to 256)",
        "strength": "1.0 (0.0 to 10.0)",
        "seed": "0 (0 to 18446744073709551615)",
    },
    "LongtakeDrive": {
        "seconds": "0.0 (0.0 to 3600.0)",
        "fps": "0.0 (0.0 to 1000.0)",
        "width": "0 (0 to 8192)",
        "height": "0 (0 to 8192)",
        "character_is": "[reference] | first frame",
        "fit": "[crop] | pad | stretch",
        "strength": "1.0 (0.0 to 2.0)",
        "clip_fps": "0.0 (0.0 to 1000.0)",
        "replace": "False",
        "words": "",
    },
    "LongtakeSideBySide": {
        "chosen": "1 (1 to 64)",
    },
    "LongtakeBeat": {
        "tempo": "120.0 (30.0 to 300.0)",
        "seconds": "10.0 (0.1 to 3600.0)",
        "offset": "0.0 (0.0 to 3600.0)",
    },
    "LongtakeCanvas": {
        "seconds": "2.0 (0.01 to 3600.0)",
        "fps": "8.0 (1.0 to 1000.0)",
        "width": "128 (16 to 8192)",
        "height": "128 (16 to 8192)",
        "batch_size": "1 (1 to 64)",
        "aspect": (
            "[free] | 16:9 | 9:16 | 1:1 | 4:3 | 3:4 | 3:2 | 2:3 | 21:9 | 9:21 | 1.85:1 | "
            "2.39:1 | 8:3 | 4:5"
        ),
        "megapixels": "0.0 (0.0 to 64.0)",
    },
    "LongtakePinImage": {
        "at": "0.0 (0.0 to 3600.0)",
        "fit": "[crop] | pad | stretch",
    },
    "LongtakePinVideo": {
        "at": "0.0 (0.0 to 3600.0)",
        "fit": "[crop] | pad | stretch",
        "edges": "[paint] | hold",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakePinAudio": {"at": "0.0 (0.0 to 3600.0)"},
    "LongtakeControlVideo": {
        "strength": "1.0 (0.0 to 2.0)",
        "start": "0.0 (0.0 to 3600.0)",
        "seconds": "0.0 (0.0 to 3600.0)",
        "fit": "[crop] | pad | stretch",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeReferenceImages": {"strength": "1.0 (0.0 to 2.0)"},
    "LongtakeExtendVideo": {
        "direction": "[forwards] | backwards",
        "seconds": "1.0 (0.01 to 3600.0)",
        "overlap": "0.0 (0.0 to 60.0)",
        "window": "0.0 (0.0 to 60.0)",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeFillGap": {
        "start": "0.5 (0.0 to 3600.0)",
        "end": "1.5 (0.0 to 3600.0)",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeLoop": {
        "seconds": "1.0 (0.01 to 3600.0)",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeBridge": {
        "seconds": "1.0 (0.01 to 3600.0)",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeRegion": {
        "start": "0.0 (0.0 to 3600.0)",
        "end": "0.0 (0.0 to 3600.0)",
        "strength": "1.0 (0.01 to 1.0)",
        "grow": "0 (-512 to 512)",
        "feather": "4 (0 to 512)",
        "invert": "False",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeExpandCanvas": {
        "left": "0 (0 to 8192)",
        "top": "0 (0 to 8192)",
        "right": "0 (0 to 8192)",
        "bottom": "0 (0 to 8192)",
        "aspect": (
            "[free] | 16:9 | 9:16 | 1:1 | 4:3 | 3:4 | 3:2 | 2:3 | 21:9 | 9:21 | 1.85:1 | "
            "2.39:1 | 8:3 | 4:5"
        ),
        "feather": "8 (0 to 512)",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeRemix": {
        "level": "subtle | [mild] | strong | custom",
        "strength": "0.5 (0.01 to 1.0)",
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeEncode": {
        "fps": "0.0 (0.0 to 1000.0)",
    },
    "LongtakeSchedule": {
        "steps": "24 (0 to 1000)",
        "shift": "0.0 (0.0 to 100.0)",
        "curve": "[linear] | wan | simple | beta | flow_match",
        "denoise": "1.0 (0.01 to 1.0)",
    },
    "LongtakeExperts": {
        "cfg_high": "0.0 (0.0 to 100.0)",
        "cfg_low": "0.0 (0.0 to 100.0)",
        "boundary": "0.0 (0.0 to 1.0)",
    },
    "LongtakeDiffusionForcing": {
        "lag": "5 (0 to 1000)",
        "block": "1 (1 to 64)",
        "reference_noise": "0.0 (0.0 to 60.0)",
    },
    "LongtakeSample": {
        "seed": "0 (0 to 18446744073709551615)",
        "cfg": "4.0 (0.0 to 100.0)",
        "sampler": "euler",
    },
    "LongtakeLongTake": {
        "seconds": "0.0 (0.0 to 36000.0)",
        "fps": "0.0 (0.0 to 1000.0)",
        "width": "0 (0 to 8192)",
        "height": "0 (0 to 8192)",
        "seed": "0 (0 to 18446744073709551615)",
        "cfg": "4.0 (0.0 to 100.0)",
        "sampler": "euler",
        "window": "0 (0 to 4001)",
        "overlap": "0 (0 to 4001)",
        "shots": "[each by itself] | together",
        "anchor": "[off] | statistics | first frame | both | SVI 2.0 Pro",
        "keep": "[keep] | delete when done",
        "aspect": (
            "[free] | 16:9 | 9:16 | 1:1 | 4:3 | 3:4 | 3:2 | 2:3 | 21:9 | 9:21 | 1.85:1 | "
            "2.39:1 | 8:3 | 4:5"
        ),
        "workers": "this ComfyUI",
    },
    "LongtakeDecode": {
        "fps": "0.0 (0.0 to 1000.0)",
        "crf": "16 (0 to 51)",
    },
    "LongtakeInterpolate": {
        "fps": "24.0 (0.0 to 480.0)",
        "multiplier": "2.0 (0.1 to 64.0)",
        "file": "RIFE 4.0 (built in)",
        "cut_sensitivity": "0.5 (0.0 to 1.0)",
        "loop": "False",
        "ending": "[keep the duration] | stop at the last frame",
        "flow_scale": "[auto] | 1 | 0.5 | 0.25 | 2",
        "dtype": "[auto] | fp32 | bf16 | fp16",
        "tile": "0 (0 to 8192)",
        "images": "False",
        "image_fps": "16.0 (0.01 to 480.0)",
    },
    "LongtakeSaveVideo": {
        "filename_prefix": "longtake/video",
        "format": (
            "[mp4 h264] | mp4 h265 | mp4 av1 | mkv h264 | mkv h265 | webm vp9 | webm av1 | "
            "gif | webp"
        ),
        "crf": "-1 (-1 to 63)",
        "preset": "ultrafast | veryfast | fast | [medium] | slow | veryslow",
        "picture": "[none] | contact sheet | poster",
        "credentials": "[auto] | off | required",
        "mark": "False",
        "remember": "False",
    },
    "LongtakeSalvage": {"file": ""},
    "LongtakeReadCredentials": {
        "file": "",
    },
    "LongtakeMadeHere": {
        "file": "",
    },
    "LongtakeModelCache": {
        "action": "[show] | drop | drop all",
        "file": "",
    },
}
FILLED_BY_OTHERS = ("file", "audio", "sampler", "family", "style", "move", "size")


@pytest.fixture(scope="module")
def nodes(host) -> dict:
    extension = asyncio.run(longtake.comfy_entrypoint())
    found = asyncio.run(extension.get_node_list())
    return {node.GET_SCHEMA().node_id: node for node in found}


def inputs_of(node) -> list:
    """The inputs of a node that are widgets."""
    return [i for i in node.GET_SCHEMA().inputs if getattr(i, "default", None) is not None]


def as_written(widget) -> str:
    if hasattr(widget, "min"):
        return f"{widget.default} ({widget.min} to {widget.max})"
    if hasattr(widget, "options") and widget.id not in FILLED_BY_OTHERS:
        marked = [f"[{o}]" if o == widget.default else o for o in widget.options]
        return " | ".join(marked)
    return str(widget.default)


def test_widgets_are_as_saved_workflows_know_them(nodes):
    found = {
        name: {widget.id: as_written(widget) for widget in inputs_of(node)}
        for name, node in nodes.items()
    }
    assert {name: widgets for name, widgets in found.items() if widgets} == WIDGETS


@pytest.mark.parametrize("name", WIDGETS)
def test_an_input_left_out_is_as_its_widget_begins(nodes, name):
    """Workflows saved before an input was there do not name it."""
    node = nodes[name]
    given = dict(inspect.signature(node.execute).parameters)
    if "inputs" in given:  # Long Take hands them on as they come
        asked = import_module("longtake.nodes.sample.long_take").asked_recipe
        given |= inspect.signature(asked).parameters
    for widget in inputs_of(node):
        if widget.optional:
            assert given[widget.id].default == widget.default
            assert type(given[widget.id].default) is type(widget.default)
        else:
            assert given[widget.id].default is inspect.Parameter.empty


@pytest.mark.parametrize("name", WIDGETS)
def test_what_is_checked_before_anything_runs_is_an_input(nodes, name):
    """ComfyUI looks for them by name, and checks none of them itself."""
    node = nodes[name]
    checked = inspect.signature(node.validate_inputs).parameters
    if checked.keys() == {"kwargs"}:
        return  # core's own, which is not called
    widgets = {widget.id: widget.default for widget in inputs_of(node)}
    inputs = {i.id for i in node.GET_SCHEMA().inputs}
    assert set(checked) <= inputs
    for one, parameter in checked.items():
        allowed = (None, widgets[one]) if one in widgets else ("none",)
        assert parameter.default in allowed


@pytest.mark.parametrize("name", WIDGETS)
def test_a_node_as_it_is_put_on_the_canvas_may_be_queued(nodes, name):
    """With its defaults, and with all of its inputs linked, which are None until it runs."""
    node = nodes[name]
    checked = inspect.signature(node.validate_inputs).parameters
    if checked.keys() == {"kwargs"}:
        return
    defaults = {widget.id: widget.default for widget in inputs_of(node) if widget.id in checked}
    assert node.validate_inputs(**defaults) is True
    assert node.validate_inputs(**dict.fromkeys(checked)) is True
