"""Graphs of our nodes, from a prompt to a file."""

import gc
import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tests.nodes.conftest import ksampler


def frames_of(path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def saved(host, run, node="save") -> list:
    shown = run.ui[node]["images"]
    return [host.base / "output" / file["subfolder"] / file["filename"] for file in shown]


def test_a_prompt_becomes_an_mp4(graph, host):
    run = host.run(graph)
    assert run.success, run.error
    (path,) = saved(host, run)
    assert path.name.startswith("a_0")
    assert frames_of(path).shape == (9, 48, 32, 3)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == 8
        embedded = json.loads(container.metadata["prompt"])
    for node in graph.values():
        node.pop("is_changed", None)  # ComfyUI's notes, put in while it ran
    assert embedded == graph
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".")]


def test_the_output_of_save_is_the_saved_file(graph, host):
    parts = graph.add(parts=("GetVideoComponents", {"video": ["save", 0]}))
    run = host.run(parts, want=["parts", "save"])
    images, _, fps, *_ = run.values["parts"]
    assert images.shape == (9, 48, 32, 3)
    assert fps == 8


def test_numbers_count_up_and_nothing_is_overwritten(graph, host):
    one = host.run(graph.but(save={"filename_prefix": "count/x_1"}))
    two = host.run(graph.but(save={"filename_prefix": "count/x_1"}))
    (first,), (second,) = saved(host, one), saved(host, two)
    assert (first.name, second.name) == ("x_1_00001_.mp4", "x_1_00002_.mp4")


def test_dates_sizes_and_seeds_are_filled_in(graph, host):
    prefix = "%date:yyyy%/%width%x%height%_%LongtakeSample.seed%"
    run = host.run(graph.but(save={"filename_prefix": prefix}))
    (path,) = saved(host, run)
    assert path.name == "32x48_7_00001_.mp4"
    assert path.parent.name.isdecimal()


def test_nothing_is_embedded_when_the_host_says_so(graph, host, monkeypatch):
    monkeypatch.setattr("comfy.cli_args.args.disable_metadata", True)
    (path,) = saved(host, host.run(graph))
    data = path.read_bytes()
    assert b"a red ball" not in data
    assert b"LongtakeSample" not in data


@pytest.mark.usefixtures("links")
def test_a_link_out_of_the_output_folder_is_refused(graph, host, tmp_path):
    (host.base / "output" / "way_out").symlink_to(tmp_path, target_is_directory=True)
    told = "leads out of the output folder"
    assert told in host.refusal(graph.but(save={"filename_prefix": "way_out/x"}))
    name = ("PrimitiveString", {"value": "way_out/x"})
    linked = graph.add(name=name).but(save={"filename_prefix": ["name", 0]})
    assert told in host.run(linked, want=["save"]).error
    assert not list(tmp_path.iterdir())


def test_a_video_of_another_node_is_saved(graph, host):
    """Frames in memory, at a rate and with colours that core's own saving would change."""
    clip = graph.add(
        clip=("EmptyImage", {"width": 32, "height": 48, "batch_size": 5, "color": 0xC86432}),
        video=("CreateVideo", {"images": ["clip", 0], "fps": 23.976}),
    ).but(save={"video": ["video", 0]})
    (path,) = saved(host, host.run(clip, want=["save"]))
    assert np.abs(frames_of(path).astype(int) - [0xC8, 0x64, 0x32]).max() <= 2
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == Fraction(24000, 1001)


def test_sound_is_kept(graph, host, monkeypatch):
    from comfy_api.latest import InputImpl, Types

    sound = {"waveform": torch.zeros(1, 1, 8000), "sample_rate": 8000}
    images = torch.full((8, 48, 32, 3), 0.5)
    parts = Types.VideoComponents(images=images, audio=sound, frame_rate=Fraction(8))
    video = InputImpl.VideoFromComponents(parts)

    from longtake.host.video.save import save_video

    path = save_video(video, "with_sound", {"workflow": {"n": 1}}).path

    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert json.loads(container.metadata["workflow"]) == {"n": 1}
    assert len(frames_of(path)) == 8


def test_a_batch_becomes_a_file_each_and_the_first_is_as_alone(graph, host):
    alone = host.run(graph, want=["sample"]).values["sample"][0]["samples"]
    run = host.run(graph.but(canvas={"batch_size": 2}), want=["sample", "save"])
    both = run.values["sample"][0]["samples"]
    assert both.shape == (2, *alone.shape[1:])
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-4)
    assert (both[0] - both[1]).abs().max() > 0.1
    assert len(set(saved(host, run))) == 2


def test_the_same_seed_is_the_same_video_to_the_bit(graph, host):
    def sample(**changes):
        return host.run(graph.but(**changes), want=["sample"]).values["sample"][0]["samples"]

    assert torch.equal(sample(), sample())
    assert not torch.equal(sample(), sample(sample={"seed": 8}))


def test_frames_and_video_show_the_same(graph, host):
    both = graph.add(frames=("LongtakeDecodeFrames", {"latent": ["sample", 0], "vae": ["vae", 0]}))
    run = host.run(both, want=["frames", "save"])
    images = run.values["frames"][0]
    video = frames_of(saved(host, run)[0])
    assert images.dtype == torch.float32
    assert images.shape == video.shape
    blocks = torch.nn.functional.avg_pool2d(images.movedim(3, 1), 8).movedim(1, 3) * 255
    shown = torch.nn.functional.avg_pool2d(torch.tensor(video).float().movedim(3, 1), 8)
    assert (blocks - shown.movedim(1, 3)).abs().mean() < 4  # but for h264


def test_a_clip_comes_back_from_its_latents(graph, host):
    """Encode, decode: the VAE is random, so that only counts, sizes and rate can be told."""
    clip = graph.add(
        clip=("EmptyImage", {"width": 48, "height": 32, "batch_size": 13, "color": 255}),
        encode=("LongtakeEncode", {"image": ["clip", 0], "vae": ["vae", 0], "fps": 12.5}),
    ).but(decode={"latent": ["encode", 0]})
    run = host.run(clip, want=["encode", "save"])
    assert run.values["encode"][0]["samples"].shape == (1, 6, 4, 4, 6)
    (path,) = saved(host, run)
    assert frames_of(path).shape == (13, 32, 48, 3)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == Fraction(25, 2)


def test_denoise_below_one_starts_from_a_clip(graph, host):
    """The less denoise, the nearer to the clip."""

    def distance(denoise):
        clip = graph.add(
            clip=("EmptyImage", {"width": 32, "height": 48, "batch_size": 9, "color": 255}),
            encode=("LongtakeEncode", {"image": ["clip", 0], "vae": ["vae", 0], "fps": 8.0}),
        ).but(sample={"latent": ["encode", 0]}, schedule={"denoise": denoise})
        run = host.run(clip, want=["sample", "encode"])
        before, after = (run.values[node][0]["samples"] for node in ("encode", "sample"))
        return (after - before).abs().mean()

    assert distance(0.05) < distance(0.5)


@pytest.mark.parametrize(("fps", "rate"), [(0.0, 8), (5.0, 5), (23.976, Fraction(24000, 1001))])
def test_decode_takes_the_rate_of_the_canvas_or_its_own(graph, host, fps, rate):
    (path,) = saved(host, host.run(graph.but(decode={"fps": fps})))
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == rate


def test_the_rate_survives_cores_sampler(graph, host):
    core = graph.add(core=ksampler()).but(decode={"latent": ["core", 0]}, canvas={"fps": 6.0})
    (path,) = saved(host, host.run(core, want=["save"]))
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == 6


def test_the_shift_is_the_checkpoints_or_what_somebody_set(graph, host):
    patched = graph.add(patch=("ModelSamplingSD3", {"model": ["model", 0], "shift": 7.0}))
    settings = {
        3.0: graph,
        5.0: graph.but(schedule={"shift": 5.0}),
        7.0: patched.but(schedule={"model": ["patch", 0]}),
    }
    for shift, prompt in settings.items():
        levels = host.run(prompt, want=["schedule"]).values["schedule"][0]
        middle = (1 + 0.001) / 2
        assert levels.tolist() == pytest.approx(
            [1, shift * middle / (1 + (shift - 1) * middle), 0], abs=1e-6
        )


def test_the_cache_is_shown_and_emptied(graph, host):
    gc.collect()  # what tests before this one loaded
    executor = host.executor()
    look = graph.add(
        cache=("LongtakeModelCache", {"action": "show", "file": "", "after": ["sample", 0]})
    )
    shown = host.run(look, want=["cache"], executor=executor).ui["cache"]["text"][0]
    for kind in ("dit", "vae", "text encoder"):
        assert f"  {kind}  " in shown
    drop = look.but(cache={"action": "drop", "file": "VAE"})
    report = host.run(drop, want=["cache"], executor=executor).ui["cache"]["text"][0]
    assert [line for line in report.split("\n") if line.endswith("dropped")] == [
        line for line in report.split("\n") if "  vae  " in line
    ]
    report = host.run(look, want=["cache"], executor=executor).ui["cache"]["text"][0]
    assert "  vae  " not in report
    report = host.run(look.but(cache={"action": "drop all"}), want=["cache"], executor=executor)
    assert report.ui["cache"]["text"][0].count("dropped") == 2
    report = host.run(look.but(cache={"action": "drop"}), want=["cache"], executor=executor)
    assert "file is empty" in report.error


def test_diffusion_forcing_is_a_sampler_of_cores(graph, host):
    core = graph.add(
        forcing=("LongtakeDiffusionForcing", {"lag": 1, "block": 1, "reference_noise": 0.0}),
        noise=("RandomNoise", {"noise_seed": 5}),
        guider=(
            "CFGGuider",
            {
                "model": ["model", 0],
                "positive": ["prompt", 0],
                "negative": ["negative", 0],
                "cfg": 2.0,
            },
        ),
        core=(
            "SamplerCustomAdvanced",
            {
                "noise": ["noise", 0],
                "guider": ["guider", 0],
                "sampler": ["forcing", 0],
                "sigmas": ["schedule", 0],
                "latent_image": ["canvas", 0],
            },
        ),
    )
    run = host.run(core, want=["core"])
    assert run.success, run.error
    assert run.values["core"][0]["samples"].std() > 0.1
    wide = host.run(core.but(forcing={"block": 2}), want=["core"])
    assert "3 latent frames do not divide into blocks of 2" in wide.error


def test_what_a_node_showed_is_kept_and_comes_again_from_the_cache(graph, host, shown):
    """In the history, as a node's {"text": ...}; ComfyUI sends that of outputs it has cached."""
    executor = host.executor()
    first = host.run(graph, executor=executor)
    texts = {node: entry["text"][0] for node, entry in first.ui.items() if "text" in entry}
    assert {"model", "canvas", "schedule", "save"} <= set(texts)
    assert {text.split("  \n")[0] for text in texts.values()} <= {t.split("\n")[0] for t in shown}
    again = host.run(graph, executor=executor)
    sent = {data["node"]: data["output"] for event, data in again.events if event == "executed"}
    assert [*sent["save"]["text"]] == [texts["save"]]
    assert sent["save"]["images"]
