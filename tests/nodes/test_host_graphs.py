"""Graphs of our nodes around models that core's loaders give, from prompt to video."""

import av
import pytest
import torch

from tests import host_models
from tests.nodes.conftest import Graph

# of each: pixels of width and height, seconds of a window, the sound it makes
MODELS = {
    "ltxv": (64, 1.0, False),
    "hunyuan_video": (32, 0.8, False),
    "hunyuan_video_15": (32, 0.8, False),
    "wan21": (32, 0.8, False),
    "wan21_from_an_image": (32, 0.8, False),
    "wan22": (32, 0.8, False),
    "ltxav": (64, 1.0, True),
    "minimax_h3": (64, 1.6, True),
}
WITH_SOUND = [name for name, (_, _, sound) in MODELS.items() if sound]
FPS = {"ltxav": 25.0, "ltxv": 25.0}


@pytest.fixture(params=MODELS)
def name(request, host):
    host_models.register_tiny_models()
    return request.param


@pytest.fixture
def graph(name):
    return graph_of(name)


def graph_of(name: str) -> Graph:
    """Prompt, canvas with a picture at its start, schedule, sample, decode."""
    side, seconds, sound = MODELS[name]
    links = {"audio_vae": ["model", 3]} if sound else {}
    return Graph().add(
        model=(host_models.NODE, {"name": name}),
        prompt=("LongtakePrompt", {"clip": ["model", 1], "text": "a red ball"}),
        negative=("LongtakePrompt", {"clip": ["model", 1], "text": ""}),
        preset=("LongtakePreset", {"model": ["model", 0]}),
        canvas=(
            "LongtakeCanvas",
            {
                "vae": ["model", 2],
                "seconds": seconds,
                "fps": FPS.get(name, 24.0),
                "width": side,
                "height": side,
                "batch_size": 1,
            },
        ),
        picture=("EmptyImage", {"width": side, "height": side, "batch_size": 1, "color": 0xC04020}),
        pinned=(
            "LongtakePinImage",
            {
                "latent": ["canvas", 0],
                "image": ["picture", 0],
                "vae": ["model", 2],
                "at": 0.0,
                "fit": "crop",
            },
        ),
        schedule=(
            "LongtakeSchedule",
            {"model": ["model", 0], "steps": 2, "shift": 0.0, "curve": "linear", "denoise": 1.0},
        ),
        sample=(
            "LongtakeSample",
            {
                "model": ["model", 0],
                "positive": ["prompt", 0],
                "negative": ["negative", 0],
                "latent": ["pinned", 0],
                "sigmas": ["schedule", 0],
                "seed": 3,
                "cfg": 2.0,
                "sampler": "euler",
            },
        ),
        decode=(
            "LongtakeDecode",
            {"latent": ["sample", 0], "vae": ["model", 2], "fps": 0.0, **links},
        ),
    )


def take_of(name: str, **more) -> tuple[str, dict]:
    side = MODELS[name][0]
    links = {"audio_vae": ["model", 3]} if MODELS[name][2] else {}
    return "LongtakeLongTake", {
        "model": ["model", 0],
        "vae": ["model", 2],
        "negative": ["negative", 0],
        "sigmas": ["schedule", 0],
        "seconds": 0.0,
        "fps": 0.0,
        "width": side,
        "height": side,
        "seed": 3,
        "cfg": 2.0,
        "sampler": "euler",
        "window": 0,
        "overlap": 0,
        "shots": "each by itself",
        "anchor": "off",
        "keep": "keep",
        **links,
        **more,
    }


def streams(video) -> dict[str, int]:
    """How many frames of pictures and samples of sound a VIDEO has."""
    found = {}
    with av.open(video.get_stream_source()) as container:
        for stream in container.streams:
            container.seek(0)
            frames = list(container.decode(stream))
            of_one = [getattr(frame, "samples", 1) for frame in frames]
            found[stream.type] = sum(of_one)
            found[f"{stream.type} rate"] = stream.sample_rate if stream.type == "audio" else 0
    return found


def test_from_a_prompt_and_a_picture_to_a_video(host, graph, name, shown):
    run = host.run(graph, want=["sample", "pinned", "decode", "preset"])
    assert run.success, run.error
    sampled, pinned = run.values["sample"][0]["samples"], run.values["pinned"][0]["samples"]
    assert sampled.is_nested == MODELS[name][2]
    pictures, known = (s.unbind()[0] if s.is_nested else s for s in (sampled, pinned))
    assert torch.equal(pictures[:, :, :1], known[:, :, :1].to(pictures))
    found = streams(run.values["decode"][0])
    fps = FPS.get(name, 24.0)
    assert abs(found["video"] / fps - MODELS[name][1]) < 0.4
    if MODELS[name][2]:
        assert abs(found["audio"] / found["audio rate"] - found["video"] / fps) < 0.1
    else:
        assert "audio" not in found
    assert any("loaded by the host" in text for text in shown)


def test_a_storyboard_becomes_a_take(host, graph, name, shown):
    board = {
        "clip": ["model", 1],
        "text": "[0s] a red ball\n[0.5s cut] a blue cube",
        "seconds": 1.2,
        "fps": FPS.get(name, 24.0),
        "snap": 0.5,
        "meet": 0.35,
    }
    graph = graph.add(
        board=("LongtakeStoryboard", board), take=take_of(name, storyboard=["board", 0])
    )
    run = host.run(graph, want=["take"])
    assert run.success, run.error
    found = streams(run.values["take"][0])
    assert abs(found["video"] / board["fps"] - 1.2) < 0.35
    assert ("audio" in found) == MODELS[name][2]
    assert any(text.startswith("done: ") for text in shown)


@pytest.mark.parametrize("name", WITH_SOUND)
def test_a_song_is_pinned_and_the_rest_of_the_sound_is_sampled(host, name, shown):
    host_models.register_tiny_models()
    graph = graph_of(name).add(
        beat=("LongtakeBeat", {"tempo": 120.0, "seconds": 0.5, "offset": 0.0}),
        song=(
            "LongtakePinAudio",
            {
                "latent": ["pinned", 0],
                "audio": ["beat", 0],
                "audio_vae": ["model", 3],
                "at": 0.2,
            },
        ),
    )
    graph["sample"]["inputs"]["latent"] = ["song", 0]
    later = graph.but(song={"at": 0.6})
    runs = [host.run(g, want=["sample", "song", "decode"]) for g in (graph, later)]
    assert all(run.success for run in runs), [run.error for run in runs]
    assert any(text.startswith("sound known from 0.2 s to 0.7") for text in shown)
    one, other = (run.values["sample"][0]["samples"].unbind()[1] for run in runs)
    assert not torch.equal(one, other)
    latent = runs[0].values["song"][0]
    known = latent["noise_mask"].unbind()[1].expand(one.shape) == 0
    assert 0 < known.sum() < known.numel()
    assert torch.equal(one[known], latent["samples"].unbind()[1][known].to(one))


@pytest.mark.parametrize("name", WITH_SOUND)
def test_a_canvas_of_core_s_own_empty_latent_is_sampled_too(host, name):
    host_models.register_tiny_models()
    graph = graph_of(name)
    pack = host_models.ltxav_latent if name == "ltxav" else host_models.minimax_latent
    frames = 25 if name == "ltxav" else 39
    expected = [tuple(x.shape) for x in pack(64, 64, frames)["samples"].unbind()]
    run = host.run(graph, want=["sample"])
    assert [tuple(x.shape) for x in run.values["sample"][0]["samples"].unbind()] == expected


def test_an_audio_vae_without_sound_is_told_so(host, shown):
    host_models.register_tiny_models()
    graph = graph_of("ltxv").add(other=(host_models.NODE, {"name": "ltxav"}))
    run = host.run(graph.but(decode={"audio_vae": ["other", 3]}), want=["decode"])
    assert "these latents have no sound" in str(run.error)
    graph = graph.add(
        take=take_of("ltxv", positive=["prompt", 0], audio_vae=["other", 3], seconds=1.0)
    )
    run = host.run(graph, want=["take"])
    assert "makes no sound" in str(run.error)


def test_sound_that_nobody_decodes_is_mentioned(host, shown):
    host_models.register_tiny_models()
    graph = graph_of("minimax_h3")
    del graph["decode"]["inputs"]["audio_vae"]
    run = host.run(graph, want=["decode"])
    assert run.success, run.error
    assert any("connect audio_vae" in text for text in shown)


def test_what_was_sampled_with_sound_has_a_mask_for_each(host):
    """Of LTX-2's canvas only the MODEL says that there is sound; core's nodes take both apart."""
    host_models.register_tiny_models()
    run = host.run(graph_of("ltxav"), want=["sample"])
    latent = run.values["sample"][0]
    masks = latent["noise_mask"].unbind()
    assert [mask.shape[2] for mask in masks] == [x.shape[2] for x in latent["samples"].unbind()]
    assert masks[0].amin() == 0
    assert masks[1].amin() == 1


def test_known_frames_that_no_window_gives_sound_are_mentioned(host, shown):
    host_models.register_tiny_models()
    clip = {"clip": ["decode", 0], "vae": ["model", 2], "direction": "forwards", "fps": 0.0}
    graph = graph_of("minimax_h3").add(
        longer=("LongtakeExtendVideo", {**clip, "seconds": 2.0, "overlap": 0.2, "window": 0.9}),
        song=(
            "LongtakePinAudio",
            {
                "latent": ["longer", 0],
                "audio": ["beat", 0],
                "audio_vae": ["model", 3],
                "at": 0.0,
            },
        ),
        beat=("LongtakeBeat", {"tempo": 120.0, "seconds": 1.7, "offset": 0.0}),
    )
    graph = graph.add(
        more=("LongtakeSample", {**graph["sample"]["inputs"], "latent": ["longer", 0]}),
        heard=("LongtakeSample", {**graph["sample"]["inputs"], "latent": ["song", 0]}),
    )
    run = host.run(graph, want=["more"])
    assert run.success, run.error
    assert any("of known frames have no sound: Pin Audio" in text for text in shown)
    shown.clear()
    run = host.run(graph, want=["heard"])
    assert run.success, run.error
    assert not any("have no sound" in text for text in shown)
