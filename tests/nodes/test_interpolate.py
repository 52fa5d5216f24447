"""Interpolate: VIDEO and IMAGE through the shipped network."""

import math
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.nodes.conftest import Graph
from training.world.captions import Scene, Shot, Thing
from training.world.render import render

DEFAULTS = {
    "fps": 24.0,
    "multiplier": 2.0,
    "file": "RIFE 4.0 (built in)",
    "cut_sensitivity": 0.5,
    "loop": False,
    "ending": "keep the duration",
    "flow_scale": "auto",
    "dtype": "auto",
    "tile": 0,
    "images": False,
    "image_fps": 8.0,
}


def shot(frames: int, fps: float = 8, colour: str = "red", ground: str = "grass") -> torch.Tensor:
    """(frames, 64, 64, 3) in [0, 1]: a ball on its way, from the procedural world."""
    scene = Scene((Shot(ground, "day", (Thing(colour, "ball", "big", "right"),)),))
    rng = torch.Generator().manual_seed(1)
    pixels = render([scene], frames, rng, height=64, width=64, fps=fps).pixels[0]
    return pixels.add(1).div(2).permute(1, 2, 3, 0).contiguous()


@pytest.fixture
def source(host, monkeypatch):
    """A node that gives `source.image`, `source.video` at 8 frames a second, with sound."""
    from comfy_api.latest import InputImpl, Types, io

    class Source(io.ComfyNode):
        image = None
        waveform = torch.sin(torch.arange(44100) / 20).mul(0.5)[None, None]

        @classmethod
        def define_schema(cls):
            outputs = [io.Video.Output(), io.Image.Output()]
            return io.Schema(node_id="TestSource", category="test", outputs=outputs)

        @classmethod
        def fingerprint_inputs(cls):
            return math.nan

        @classmethod
        def execute(cls):
            audio = {"waveform": cls.waveform, "sample_rate": 44100}
            parts = Types.VideoComponents(images=cls.image, audio=audio, frame_rate=Fraction(8))
            return io.NodeOutput(InputImpl.VideoFromComponents(parts), cls.image)

    Source.RELATIVE_PYTHON_MODULE = "custom_nodes.test"
    monkeypatch.setitem(host.nodes.NODE_CLASS_MAPPINGS, "TestSource", Source)
    Source.image = shot(5)
    return Source


@pytest.fixture
def graph(source) -> Graph:
    """Video in; add image=["source", 1] and video=None for images."""
    return Graph().add(
        source=("TestSource", {}),
        between=("LongtakeInterpolate", {**DEFAULTS, "video": ["source", 0]}),
        save=("LongtakeSaveVideo", {"video": ["between", 0], "filename_prefix": "between/a"}),
    )


def with_image(graph: Graph) -> Graph:
    new = graph.but(between={"image": ["source", 1]})
    del new["between"]["inputs"]["video"]
    return new


def facts(video) -> tuple:
    """(frames, rate, seconds of sound) of a VIDEO."""
    with av.open(video.get_stream_source()) as container:
        frames = [frame.pts for frame in container.decode(video=0)]
        rate = container.streams.video[0].average_rate
    assert frames[0] == 0
    assert len(set(np.diff(frames))) <= 1
    with av.open(video.get_stream_source()) as container:
        sound = [stream.duration * stream.time_base for stream in container.streams.audio]
    return len(frames), rate, float(sound[0]) if sound else 0


def values(host, graph, node="between"):
    run = host.run(graph, want=[node])
    assert run.error is None, run.error
    return run.values[node]


@pytest.mark.parametrize(
    ("fps", "multiplier", "frames", "rate"),
    [
        (24.0, 2.0, 15, Fraction(24)),
        (0.0, 2.5, 13, Fraction(20)),
        (59.94, 2.0, 37, Fraction(60000, 1001)),
        (6.0, 2.0, 4, Fraction(6)),
    ],
)
def test_a_video_gets_the_rate_and_keeps_its_sound(host, graph, fps, multiplier, frames, rate):
    video, _ = values(host, graph.but(between={"fps": fps, "multiplier": multiplier}))
    count, found, sound = facts(video)
    assert (count, found) == (frames, rate)
    assert sound == pytest.approx(min(1, frames / rate), abs=0.03)


def test_images_come_out_as_images_and_keep_their_own_frames(host, graph, source):
    video, image = values(host, with_image(graph).but(between={"fps": 16.0}))
    assert image.shape == (10, 64, 64, 3)
    assert image.dtype == torch.float32
    assert (image[::2] - source.image).abs().max() <= 0.501 / 255
    assert facts(video)[:2] == (10, 16)


def test_a_frame_between_is_nearer_to_the_truth_than_a_blend(host, graph, source):
    truth = shot(9, fps=16)
    source.image = truth[::2]
    _, image = values(host, with_image(graph).but(between={"fps": 16.0}))
    drawn, blend = image[1:8:2], (truth[:-1:2] + truth[2::2]) / 2
    assert (drawn - truth[1::2]).square().mean() < 0.2 * (blend - truth[1::2]).square().mean()


def test_a_video_gives_images_only_when_asked(host, graph):
    look = graph.add(look=("PreviewImage", {"images": ["between", 1]}))
    run = host.run(look, want=["look"])
    blocked = [data["exception_message"] for kind, data in run.events if kind == "execution_error"]
    assert ["unless 'images' is on" in message for message in blocked] == [True]
    video, image = values(host, graph.but(between={"images": True}))
    assert image.shape == (15, 64, 64, 3)
    assert facts(video)[0] == 15


def test_a_cut_stays_a_cut_and_the_node_says_so(host, graph, source, shown):
    source.image = torch.cat((shot(3), shot(2, colour="blue", ground="snow")))
    _, image = values(host, with_image(graph))
    assert shown == ["5 frames at 8 fps -> 15 at 24 fps, 6 drawn, 1 cut kept"]
    assert torch.equal(image[6:9], image[6].expand(3, -1, -1, -1))
    _, blended = values(host, with_image(graph).but(between={"cut_sensitivity": 0.0}))
    assert shown[-1].endswith("8 drawn, 0 cuts kept")
    assert not torch.equal(blended[7], blended[6])


def test_endings(host, graph):
    images = with_image(graph)
    _, stop = values(host, images.but(between={"ending": "stop at the last frame"}))
    _, hold = values(host, images)
    _, loop = values(host, images.but(between={"loop": True, "cut_sensitivity": 0.0}))
    assert (len(stop), len(hold), len(loop)) == (13, 15, 15)
    assert torch.equal(hold[:13], stop)
    assert torch.equal(hold[13], hold[12])
    assert not torch.equal(loop[13], loop[12])


@pytest.mark.parametrize("change", [{"tile": 256}, {"flow_scale": "0.5"}, {"dtype": "bf16"}])
def test_other_ways_give_nearly_the_same(host, graph, source, change):
    _, plain = values(host, with_image(graph))
    _, other = values(host, with_image(graph).but(between=change))
    assert (plain - other).abs().mean() < 2 / 255


def test_odd_sizes_are_fine(host, graph, source):
    source.image = shot(3)[:, :61, :47]
    video, image = values(host, with_image(graph))
    assert image.shape == (9, 61, 47, 3)
    assert video.get_dimensions() == (48, 62)


def test_one_network_for_all_that_use_it_and_none_left_after(host, graph, comfyui):
    import comfy.model_management as mm

    from longtake.host.networks.rife import RIFE_BUILT_IN, load_rife

    one, other = load_rife(RIFE_BUILT_IN), load_rife(RIFE_BUILT_IN)
    assert one.model is other.model
    mm.load_models_gpu([one])
    assert any(one.is_clone(loaded.model) for loaded in mm.current_loaded_models)
    gone = weakref.ref(one.model)
    mm.unload_all_models()
    del one, other
    assert gone() is None


def test_a_users_file_is_in_the_menu_and_works(host, graph, source):
    from longtake.host.networks import rife

    weights = load_file(rife.WEIGHTS)
    folder = host.base / "models" / "frame_interpolation"
    folder.mkdir(exist_ok=True)
    save_file({f"module.{k}": v.clone() for k, v in weights.items()}, folder / "mine.safetensors")
    (folder / "old.pth").write_bytes(b"PK")
    assert "mine.safetensors" in rife.rife_menu()
    assert "old.pth" not in rife.rife_menu()
    _, theirs = values(host, with_image(graph).but(between={"file": "mine.safetensors"}))
    _, ours = values(host, with_image(graph))
    assert torch.equal(theirs, ours)


def test_cancel_does_not_wait_for_the_frame(host, graph):
    """It is heard before each block of the network, of which a frame takes four."""
    import comfy.model_management as mm

    from longtake.host.networks.rife import RIFE_BUILT_IN, load_rife

    loaded, temp = load_rife(RIFE_BUILT_IN), host.base / "temp"
    before, ran = set(temp.glob("*.mp4")), []

    def cancel(*_):
        ran.append(1)
        mm.interrupt_current_processing(True)

    hook = loaded.model.block1.register_forward_hook(cancel)
    run = host.run(graph, want=["between"])
    hook.remove()
    mm.interrupt_current_processing(False)
    assert not run.success
    assert ran == [1]
    assert set(temp.glob("*.mp4")) == before


REFUSED = [
    ("fps", -1.0, "smaller than min"),
    ("multiplier", 0.0, "smaller than min"),
    ("cut_sensitivity", 1.5, "bigger than max"),
    ("file", "nope.safetensors", "there is no 'nope.safetensors'"),
    ("file", "../../etc/passwd", "there is no '../../etc/passwd'"),
    ("file", "rife49.pth", "Only .safetensors files are read"),
    ("ending", "later", "choose from keep the duration"),
    ("flow_scale", "3", "choose from auto, 1, 0.5"),
    ("dtype", "fp8", "choose from auto, fp32"),
    ("tile", -64, "smaller than min"),
]


@pytest.mark.parametrize(("widget", "value", "said"), REFUSED)
def test_nonsense_is_refused_before_anything_runs(host, graph, widget, value, said):
    assert said in host.refusal(graph.but(between={widget: value}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fps": math.nan}, "fps nan: choose a number from 0 to 480."),
        ({"multiplier": math.nan}, "multiplier nan: choose"),
        ({"cut_sensitivity": math.nan}, "cut_sensitivity nan: choose"),
        ({"image_fps": math.nan}, "image_fps nan: choose"),
        ({"tile": 64}, "tile 64: choose 0 (what fits) or at least 256."),
        ({"image": ["source", 1]}, "connect a video or an image, one of the two."),
    ],
)
def test_what_only_shows_when_it_runs(host, graph, change, said):
    run = host.run(graph.but(between=change), want=["between"])
    assert said in run.error
