"""What a broken neighbour may send over a link: every node says in one line what it wants."""

from importlib import import_module

import pytest
import torch

from longtake.models.cpu import bands
from tests.nodes.conftest import ksampler
from tests.nodes.test_long_take import BOARD, STORYBOARD, TAKE

BAD = {
    "None": None,
    "text": "x",
    "number": 5,
    "list": [],
    "pairs": [["x", {}]],
    "dict": {},
    "no samples": {"samples": None},
    "text for samples": {"samples": "x"},
    "a picture's samples": {"samples": torch.zeros(1, 4, 16, 16)},
    "no frames": {"samples": torch.zeros(1, 6, 0, 4, 4)},
    "text for a mask": {"samples": torch.zeros(1, 6, 3, 6, 4), "noise_mask": "x"},
    "no mask": {"samples": torch.zeros(1, 6, 3, 6, 4), "noise_mask": torch.zeros(0)},
    "text for notes": {"samples": torch.zeros(1, 6, 3, 6, 4), "longtake": "x"},
    "other notes": {"samples": torch.zeros(1, 6, 3, 6, 4), "longtake": {"fps": "x", "pins": 5}},
    "no sound": {"waveform": None, "sample_rate": 5},
    "odd sound": {"waveform": torch.zeros(2, 2), "sample_rate": "x"},
    "numbers": torch.zeros(3),
    "no picture": torch.zeros(0, 16, 16, 3),
    "whole numbers": torch.zeros(1, 16, 16, 3, dtype=torch.uint8),
    "five axes": torch.zeros(1, 1, 16, 16, 3),
    "seven channels": torch.zeros(1, 16, 16, 7),
    "no rows": torch.zeros(1, 0, 16, 3),
    "no numbers": torch.zeros(1, 16, 16, 3, device="meta"),
    "scattered numbers": torch.zeros(1, 16, 16, 3).to_sparse(),
    "complex numbers": torch.zeros(1, 16, 16, 3, dtype=torch.complex64),
    "a mask of a mask": torch.ones(1, 1, 48, 32),
    "a row of a mask": torch.ones(48),
    "scattered samples": {"samples": torch.zeros(1, 6, 3, 6, 4).to_sparse()},
    "samples without numbers": {"samples": torch.zeros(1, 6, 3, 6, 4, device="meta")},
    "a rate beyond all": {"samples": torch.zeros(1, 6, 3, 6, 4), "longtake": {"fps": 10**400}},
    "three of a pair": [[torch.zeros(1, 3, 24), {}, {}]],
    "a film that cannot be written": None,  # made below
    "object": object(),
}  # fmt: skip


class Broken:
    """A node of another pack that hands over whatever it likes."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "send", ""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"what": ("STRING", {})}}

    def send(self, what):
        return (unwritable() if what.startswith("a film") else BAD[what],)


def unwritable():
    """A VIDEO of another pack's that has nothing to show."""
    from comfy_api.latest import Input

    def broken(*_, **__):
        raise TypeError("'NoneType' object is not subscriptable")

    film = type("Film", (Input.Video,), {"save_to": broken, "get_components": broken})
    film.__abstractmethods__ = frozenset()
    return film()


@pytest.fixture
def all_nodes(graph, monkeypatch):
    """A graph in which nearly every node of ours has good neighbours."""
    import nodes

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Broken", Broken)
    join = {"clip": ["sample", 0], "vae": ["vae", 0], "fps": 0.0}
    return graph.add(
        image=("EmptyImage", {"width": 32, "height": 48, "batch_size": 1, "color": 5}),
        beat=("LongtakeBeat", {"tempo": 120.0, "seconds": 1.0, "offset": 0.0}),
        shot=("LongtakeShot", {"prompt": "a", "start": 0.0, "transition": "cut", "dissolve": 0.5,
                               "seed": -1, "shots": ["shot0", 0], "image": ["image", 0]}),
        shot0=("LongtakeShot", {"prompt": "a", "start": 0.0, "transition": "cut", "dissolve": 0.5,
                                "seed": -1}),
        board=("LongtakeStoryboard", {**STORYBOARD, "audio": ["beat", 0]}),
        boarded=("LongtakeStoryboard", {**STORYBOARD, "text": "", "shots": ["shot0", 0]}),
        take=("LongtakeLongTake", {**TAKE, "canvas": ["canvas", 0], "audio": ["beat", 0],
                                   "custom_sampler": ["forcing", 0]}),
        story=("LongtakeLongTake", BOARD),
        forcing=("LongtakeDiffusionForcing", {"lag": 1, "block": 1, "reference_noise": 0.0}),
        image_pin=("LongtakePinImage", {"latent": ["canvas", 0], "image": ["image", 0],
                                        "vae": ["vae", 0], "at": 0.0, "fit": "crop"}),
        video_pin=("LongtakePinVideo", {"latent": ["canvas", 0], "clip": ["decode", 0], "fps": 0.0,
                                        "vae": ["vae", 0], "at": 0.0, "fit": "crop",
                                        "edges": "paint"}),
        extend=("LongtakeExtendVideo", {**join, "direction": "forwards", "seconds": 1.0,
                                        "overlap": 0.0, "window": 0.0}),
        fill=("LongtakeFillGap", {**join, "start": 0.4, "end": 0.6, "after": ["sample", 0]}),
        loop=("LongtakeLoop", {**join, "seconds": 0.5}),
        bridge=("LongtakeBridge", {**join, "seconds": 0.5, "after": ["sample", 0]}),
        mask=("SolidMask", {"value": 1.0, "width": 32, "height": 48}),
        drawn=("FeatherMask", {"mask": ["mask", 0], "left": 30, "top": 0, "right": 0,
                               "bottom": 0}),
        region=("LongtakeRegion", {**join, "mask": ["drawn", 0], "start": 0.5, "end": 0.0,
                                   "strength": 1.0, "grow": 0, "feather": 0, "invert": False}),
        wider=("LongtakeExpandCanvas", {**join, "left": 8, "top": 0, "right": 0, "bottom": 0,
                                        "aspect": "free", "feather": 2}),
        control=("LongtakeControlVideo", {
            "latent": ["canvas", 0], "clip": ["image", 0], "vae": ["vae", 0], "strength": 1.0,
            "start": 0.0, "seconds": 0.0, "fit": "crop", "fps": 0.0}),
        references=("LongtakeReferenceImages", {
            "latent": ["canvas", 0], "images": ["image", 0], "vae": ["vae", 0], "strength": 1.0}),
        drive=("LongtakeDrive", {
            "vae": ["vae", 0], "character": ["image", 0], "clip": ["decode", 0], "seconds": 0.0,
            "fps": 8.0, "width": 32, "height": 48, "character_is": "first frame", "fit": "crop",
            "strength": 1.0, "face": ["decode", 0], "masks": ["decode", 0], "words": "a ball",
            "character_mask": ["image", 0], "text_encoder": ["encoder", 0],
            "background": ["decode", 0], "background_mask": ["mask", 0]}),
        style=("LongtakeStyle", {"text": "a ball", "style": "none", "family": "built-in",
                                 "negative": ["words", 0], "model": ["model", 0]}),
        camera=("LongtakeCamera", {"text": "a ball", "move": "as written", "size": "as written",
                                   "motion": -1, "family": "built-in",
                                   "negative": ["words", 0], "model": ["model", 0]}),
        words=("LongtakeExpandPrompt", {"text": "a ball", "family": "built-in", "seed": 0,
                                        "temperature": 0.0, "model": ["model", 0]}),
        remix=("LongtakeRemix", {**join, "level": "mild", "strength": 0.5}),
        encode=("LongtakeEncode", {"image": ["image", 0], "vae": ["vae", 0], "fps": 8.0}),
        frames=("LongtakeDecodeFrames", {"latent": ["sample", 0], "vae": ["vae", 0]}),
        interpolate=("LongtakeInterpolate", {
            "fps": 16.0, "multiplier": 2.0, "file": "RIFE 4.0 (built in)", "cut_sensitivity": 0.5,
            "loop": False, "ending": "keep the duration", "flow_scale": "auto", "dtype": "auto",
            "tile": 0, "images": False, "image_fps": 8.0, "video": ["decode", 0]}),
        mark=("LongtakeReadMark", {"video": ["decode", 0]}),
        path=("LongtakeCameraPath", {
            "path": "[0s to 1s] pan right 5°", "seconds": 1.0, "fps": 8.0, "width": 64,
            "height": 48, "view_angle": 50.0, "parallax": 1.0, "clip": ["image", 0],
            "depth": ["image", 0], "positive": ["prompt", 0], "negative": ["negative", 0]}),
        brush=("LongtakeMotionBrush", {
            "positive": ["prompt", 0], "negative": ["negative", 0], "vae": ["vae", 0],
            "image": ["image", 0], "latent": ["canvas", 0], "brush": "[0s] mask 1 right 0.1w",
            "method": "Wan-Move", "points": 4, "strength": 1.0, "seed": 0, "masks": ["mask", 0]}),
        made_here=("LongtakeMadeHere", {"file": "", "video": ["decode", 0]}),
        preset=("LongtakePreset", {"model": ["model", 0]}),
        lora=("LongtakeLoadLora", {"model": ["model", 0], "file": "none", "strength": 1.0}),
        experts=("LongtakeExperts", {
            "high": ["model", 0], "low": ["model", 0], "positive": ["prompt", 0], "cfg_high": 3.0,
            "negative": ["negative", 0], "cfg_low": 3.0, "boundary": 0.9,
            "latent": ["canvas", 0]}),
        core=ksampler(),
    ).but(save={"audio": ["beat", 0]}, canvas={"seconds": 2.0})  # fmt: skip


def ours(graph):
    """(node, input) of every link into a node of ours."""
    return [
        (name, input)
        for name, node in graph.items()
        for input, value in node["inputs"].items()
        if node["class_type"].startswith("Longtake") and isinstance(value, list)
    ]


@pytest.mark.parametrize("what", BAD)
def test_no_node_fails_with_pythons_own_words(all_nodes, host, what):
    executor, wrong = host.executor(), []
    for name, input in ours(all_nodes):
        prompt = all_nodes.add(broken=("Broken", {"what": what})).but(
            **{name: {input: ["broken", 0]}}
        )
        executor.status_messages.clear()
        run = host.run(prompt, want=[name], executor=executor)
        if run.success:
            continue  # an input that need not be connected, or a value that will do
        (failed,) = (d for event, d in executor.status_messages if event == "execution_error")
        kind, words = failed["exception_type"], failed["exception_message"].strip()
        if not kind.startswith("longtake.") or "\n" in words or failed["node_id"] != name:
            wrong.append(f"{name}.{input}: {failed['node_id']} {kind} {words}"[:200])
    assert not wrong, "\n".join(wrong)


def test_what_came_and_what_is_wanted_are_both_said(all_nodes, host):
    prompt = all_nodes.add(broken=("Broken", {"what": "text"})).but(sample={"model": ["broken", 0]})
    error = host.run(prompt, want=["sample"]).error
    assert error.startswith("model must be MODEL, and a str came: connect an output of that type")


def test_a_worker_looks_at_what_its_node_hands_on(host, monkeypatch):
    """By name: the node itself takes whatever Long Take has."""
    clip = import_module("longtake.nodes.sample.clip").ClipNode
    monkeypatch.setattr(clip, "execute", clip.execute)
    guarded = import_module("longtake.nodes.inputs.sockets").guarded(clip)
    with pytest.raises(Exception, match="canvas must be LATENT, and a int came"):
        guarded.execute(job="", canvas=5)


def test_with_good_neighbours_all_of_them_run(all_nodes, host):
    """But for Load LoRA and Motion Brush, whose file and whose VAE are not here."""
    executor = host.executor()
    for name in {name for name, _ in ours(all_nodes)} - {"lora", "brush"}:
        run = host.run(all_nodes, want=[name], executor=executor)
        assert run.success, (name, run.error)


def test_cancel_is_looked_at_between_parts_of_what_a_node_works_on(host, monkeypatch):
    from longtake.nodes.inputs import sockets

    looks = []
    monkeypatch.setattr(sockets, "check_cancelled", lambda: looks.append(1))
    monkeypatch.setattr(bands, "BYTES", 2**10)
    graph = {
        "v": {
            "class_type": "LongtakeLoadVAE",
            "inputs": {"file": "nano (built in)", "dtype": "fp32"},
        },
        "i": {
            "class_type": "EmptyImage",
            "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 77},
        },
        "e": {
            "class_type": "LongtakeEncode",
            "inputs": {"image": ["i", 0], "vae": ["v", 0], "fps": 8.0},
        },
    }
    assert host.run(graph, want=["e"]).error is None
    assert len(looks) > 50
