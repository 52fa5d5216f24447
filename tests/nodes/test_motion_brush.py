"""Motion Brush, beside core's nodes on the same tracks."""

import importlib
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import host_models
from tests.host_models import wan21_from_an_image
from tests.nodes.conftest import Graph

TEXT = "[0s] 0.25,0.5 -> 0.5,0.75 ease\n[0s] 0.75,0.25 still"
SIZE = WIDTH, HEIGHT = 64, 48
LENGTH = 13


@pytest.fixture(scope="module")
def tiny(host):
    return wan21_from_an_image()


@pytest.fixture(scope="module")
def picture():
    return torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(8))


def brushed(tiny, picture, method="Wan-Move", brush=TEXT, latent=None, **more):
    node = importlib.import_module("longtake.nodes.motion.motion_brush").MotionBrushNode
    empty = {"samples": torch.zeros(1, 16, 4, HEIGHT // 8, WIDTH // 8)}
    return node.execute(
        tiny.positive, tiny.negative, tiny.vae, picture, latent or empty, brush=brush,
        method=method, points=3, strength=0.8, seed=4, **more,
    ).args  # fmt: skip


def same(ours: list, cores: list) -> None:
    for name in ("concat_latent_image", "concat_mask"):
        one, other = ours[0][1][name], cores[0][1][name]
        torch.testing.assert_close(one, other.expand_as(one), rtol=0, atol=1e-5)


def test_wan_move_gets_what_core_s_node_gives_but_for_the_negative(tiny, picture):
    core = pytest.importorskip("comfy_extras.nodes_wanmove", reason="not in this ComfyUI")
    positive, negative, tracks, _, preview, _ = brushed(tiny, picture)
    node = core.WanMoveTrackToVideo.execute
    theirs = node(
        tiny.positive, tiny.negative, tiny.vae, *SIZE, LENGTH, 1, 0.8, tracks, picture
    ).args
    same(positive, theirs[0])
    still = node(tiny.positive, tiny.negative, tiny.vae, *SIZE, LENGTH, 1, 0.0, tracks, picture)
    same(negative, still.args[1])
    assert preview.shape == (1, 384, 512, 3)


def test_ati_gets_what_core_s_node_gives_for_the_text(tiny, picture):
    from comfy_extras.nodes_wan import WanTrackToVideo

    positive, negative, _, text, *_ = brushed(tiny, picture, "ATI")
    theirs = WanTrackToVideo.execute(
        tiny.positive, tiny.negative, tiny.vae, text, *SIZE, LENGTH, 1, 220.0, 2, picture
    ).args
    for ours, core in ((positive, theirs[0]), (negative, theirs[1])):
        for name in ("concat_latent_image", "concat_mask"):
            # text has places to a hundredth of a pixel
            torch.testing.assert_close(ours[0][1][name], core[0][1][name], rtol=0, atol=5e-3)


def test_tracks_of_other_nodes_are_added(tiny, picture):
    more = {"track_path": torch.full((LENGTH, 2, 2), 20.0)}
    assert brushed(tiny, picture, tracks=more)[2]["track_path"].shape == (LENGTH, 4, 2)
    assert brushed(tiny, picture, brush="", tracks=more)[2]["track_path"].shape == (LENGTH, 2, 2)


LONG, AHEAD = 13, 9  # latent frames of a take in two windows of 9; of the second 5 are known


def as_take(tiny, made, **asked):
    """A recipe of a take with Motion Brush's prompts, and a sampler that keeps what is shown."""
    recipes, boards, samplers, sampling = (
        importlib.import_module(f"longtake.host.{name}")
        for name in ("take.recipe", "take.storyboards", "take.sampler", "sampling.sample")
    )
    store = importlib.import_module("longtake.engine.take.window_store").WindowStore
    canvas = {"samples": torch.zeros(1, 16, asked.pop("t", LONG), HEIGHT // 8, WIDTH // 8)}
    windows = recipes.WindowsAsked(4 * AHEAD - 3, 9, **asked)
    size = recipes.TakeSize(Fraction(0), Fraction(16), 0, 0)
    settings = sampling.Sampling(torch.tensor([1.0, 0.0]), 5, 1.0)
    recipe = recipes.recipe_for(
        tiny.model, tiny.vae, boards.one_shot(made[0]), made[1], size, windows, settings,
        canvas=canvas,
    )  # fmt: skip
    return samplers, samplers.TakeSampler(recipe, store(Path(tempfile.mkdtemp())))


def brushed_long(tiny, picture, method="Wan-Move", brush=TEXT):
    latent = {"samples": torch.zeros(1, 16, LONG, HEIGHT // 8, WIDTH // 8)}
    return brushed(tiny, picture, method, brush, latent)


@pytest.fixture
def shown(tiny, picture, monkeypatch):
    """A function: a method -> Motion Brush's outputs; prompts and latents of both windows."""

    def found(method):
        made, told = brushed_long(tiny, picture, method), []
        samplers, sampler = as_take(tiny, made)

        def run(model, prompts, part, *_, **__):
            told.append((prompts, part))
            rng = torch.Generator().manual_seed(6)
            return part.latents + torch.randn(part.latents.shape, generator=rng), None

        monkeypatch.setattr(samplers, "run", run)
        assert [new.shape[2] for new in sampler.windows(0)] == [9, 4]
        return made, told

    return found


def test_each_window_of_a_take_goes_on_along_wan_move_s_tracks(shown):
    core = pytest.importorskip("comfy_extras.nodes_wanmove", reason="not in this ComfyUI")
    (positive, negative, tracks, *_), ((first, _), (then, part)) = shown("Wan-Move")
    image = positive[0][1]["concat_latent_image"]
    torch.testing.assert_close(first.positive[0][1]["concat_latent_image"], image[:, :, :9])
    base = negative[0][1]["concat_latent_image"][:, :, 4:].clone()
    base[:, :, :5] = part.latents[:, :, :5]
    path = [tracks[name][16:] for name in ("track_path", "track_visibility")]
    places = core.create_pos_embeddings(*path, [4, 8, 8], HEIGHT, WIDTH)  # of frames 16 to 48
    expected = core.replace_feature(base.clone(), places[None], 0.8)
    ours, plain = then.positive[0][1], then.negative[0][1]
    found = ours["concat_latent_image"]
    torch.testing.assert_close(found[:, :, 5:], expected[:, :, 5:], rtol=0, atol=1e-5)
    assert not torch.equal(found[:, :, 5:], base[:, :, 5:])
    assert torch.equal(found[:, :, :5], part.latents[:, :, :5])
    assert torch.equal(plain["concat_latent_image"], base)
    for one in (ours, plain):
        assert one["concat_mask"][0, 0, :, 0, 0].tolist() == [0] * 5 + [1] * 4


def test_each_window_of_a_take_goes_on_along_ati_s_tracks(shown):
    from comfy_extras.nodes_wan import pad_pts, patch_motion, process_tracks

    (positive, _, tracks, *_), ((first, _), (then, part)) = shown("ATI")
    grey = positive[0][1]["longtake_tracks"].shown
    features = importlib.import_module("longtake.host.sampling.tracks")
    for prompts, span, handed in ((first, slice(0, 9), 0), (then, slice(4, 13), 5)):
        base = grey[:, :, span].clone()
        base[:, :, :handed] = part.latents[:, :, :handed]
        frames = tracks["track_path"][4 * span.start : 4 * span.stop - 3]
        points = [
            pad_pts([{"x": float(x), "y": float(y)} for x, y in track])
            for track in features.at_moments(frames).unbind(1)
        ]
        path = process_tracks(np.stack(points), SIZE, len(frames) - 1)[None]
        scale = features.Wan21()
        held, moved = patch_motion([path], scale.process_in(base))
        for one in (prompts.positive[0][1], prompts.negative[0][1]):
            image, mask = one["concat_latent_image"], one["concat_mask"]
            expected = scale.process_out(moved)[:, :, handed:]
            torch.testing.assert_close(image[:, :, handed:], expected, rtol=0, atol=1e-5)
            torch.testing.assert_close(
                mask[:, :, handed:], 1 - held[:, :, handed:], rtol=0, atol=1e-5
            )
            assert torch.equal(image[:, :, :handed], base[:, :, :handed])
            assert not mask[:, :, :handed].any()


@pytest.mark.usefixtures("pack")
def test_in_a_graph_it_becomes_a_take_in_windows_that_is_found_again(host, monkeypatch):
    host_models.register_tiny_models()
    both = {"positive": ["brush", 0], "negative": ["brush", 1]}
    graph = Graph().add(
        model=(host_models.NODE, {"name": "wan21_from_an_image"}),
        prompt=("LongtakePrompt", {"clip": ["model", 1], "text": "a ball"}),
        image=("EmptyImage", {"width": 64, "height": 48, "batch_size": 1, "color": 0xC04020}),
        canvas=("EmptyHunyuanLatentVideo", {
            "width": 64, "height": 48, "length": 49, "batch_size": 1}),
        brush=("LongtakeMotionBrush", {
            "positive": ["prompt", 0], "negative": ["prompt", 0], "vae": ["model", 2],
            "image": ["image", 0], "latent": ["canvas", 0], "brush": TEXT, "method": "Wan-Move",
            "points": 3, "strength": 1.0, "seed": 0}),
        take=("LongtakeLongTake", {
            **both, "model": ["model", 0], "vae": ["model", 2], "sigmas": ["schedule", 0],
            "seconds": 0.0, "fps": 16.0, "width": 0, "height": 0, "seed": 1, "cfg": 1.5,
            "sampler": "euler", "window": 33, "overlap": 9, "shots": "each by itself",
            "anchor": "off", "keep": "keep", "canvas": ["canvas", 0]}),
        schedule=("LongtakeSchedule", {
            "model": ["model", 0], "steps": 1, "shift": 3.0, "curve": "linear", "denoise": 1.0}),
    )  # fmt: skip
    run = host.run(graph, want=["take"])
    assert run.success, run.error
    again = importlib.import_module("longtake.host.take.sampler")
    monkeypatch.delattr(again, "run")  # nothing is sampled
    run = host.run(graph, want=["take"])
    assert run.success, run.error
    other = graph.but(brush={"brush": "[2.5s] 0.5,0.5 left 0.1w"})
    assert not host.run(other, want=["take"]).success


def test_a_stroke_that_changes_late_leaves_the_windows_before_as_they_are(tiny, picture):
    texts = ("{}\n[2.5s] 0.5,0.5 right 0.1w", "{}\n[2.5s] 0.5,0.5 left 0.1w")
    keys = [
        as_take(tiny, brushed_long(tiny, picture, brush=text.format(begin)))[1].keys[0]
        for begin in ("[0s] 0.25,0.5 still", "[0s] 0.25,0.25 still")
        for text in (texts[0], *texts)
    ]
    one, same_again, late, early, *_ = [list(each.values()) for each in keys]
    assert one == same_again
    assert (one[0] == late[0], one[1] == late[1]) == (True, False)
    assert not set(one) & set(early)


def test_what_is_grey_for_long_is_not_encoded(tiny):
    tracks = importlib.import_module("longtake.host.sampling.tracks")
    codec = importlib.import_module("longtake.host.networks.codec").codec_for(tiny.vae)
    canvas = importlib.import_module("longtake.engine.canvas.canvas").Canvas
    long = canvas.blank(codec, 4 * 30 - 3, 16, 16, Fraction(16))
    encoded, picture = [], torch.rand(1, 16, 16, 3)

    def encode(frames):
        encoded.append(len(frames))
        return codec.encode(frames)

    made = tracks.before_tracks(replace(long, codec=replace(codec, encode=encode)), picture)
    assert encoded == [81]
    frames = torch.full((117, 16, 16, 3), 0.5)
    frames[0] = picture
    torch.testing.assert_close(made, codec.encode(frames), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"anchor": "first frame"}, "in the place of which anchor 'first frame' puts another"),
        ({"anchor": "SVI 2.0 Pro"}, "set it to off or statistics"),
        ({"t": 11}, "tracks are of 13 latent frames of 64×48, and 11 of 64×48 are sampled"),
    ],
)
def test_a_take_that_tracks_do_not_fit_is_refused_in_a_line(tiny, picture, asked, told):
    from longtake.models.errors import InputError

    with pytest.raises(InputError, match=told):
        as_take(tiny, brushed_long(tiny, picture), **asked)


def test_ltx_gets_dots_as_a_guide_of_core_s(picture):
    from comfy_extras import nodes_lt

    tiny, latent = host_models.ltxv(), {"samples": torch.zeros(1, 128, 3, 2, 2)}
    method = "LTX motion track"
    positive, negative, tracks, _, _, dots = brushed(tiny, picture, method, latent=latent)
    assert dots.shape == (17, 64, 64, 3)
    assert (len(tracks["track_path"]), dots.amax(), positive, negative) == (
        17, 1, tiny.positive, tiny.negative,
    )  # fmt: skip
    if not hasattr(nodes_lt, "GetICLoRAParameters"):
        pytest.skip("LTXVAddGuide of this ComfyUI puts a guide's frames into the video")
    made = nodes_lt.LTXVAddGuide.execute(positive, negative, tiny.vae, latent, dots, 0, 1.0)[2]
    assert made["samples"].shape[2] == 6
    assert torch.equal(made["samples"][:, :, :3], latent["samples"])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"brush": ""}, "there is no track: write a stroke"),
        ({"brush": "[0s] mask 1 still"}, "there is no mask 1: none is connected"),
        ({"brush": "[0s] 0.9,0.5 right 0.5w"}, "line 1, column 1: it leaves the picture at"),
        ({"tracks": {"track_path": torch.zeros(5, 1, 2)}}, "have 5 frames and the video 13"),
        ({"tracks": {"track_path": torch.zeros(5, 2)}}, "tracks holds no track_path"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tiny, picture, more, told):
    from longtake.models.errors import InputError

    with pytest.raises(InputError, match=told):
        brushed(tiny, picture, **more)


@pytest.mark.parametrize(
    ("model", "latent_frames", "told"),
    [
        ("wan21", 4, "this model .WAN21. has no channels for a picture: load Wan-Move or ATI"),
        ("wan21_from_an_image", 5, "of 4 latent frames of 64×48, and 5 of 64×48 are sampled"),
    ],
)
def test_another_model_or_clip_is_refused(tiny, picture, model, latent_frames, told):
    from longtake.host.comfyui.conditioning import Prompts
    from longtake.host.sampling.camera import check_motion
    from longtake.models.errors import InputError

    made = Prompts(*brushed(tiny, picture)[:2])
    shape = (1, 16, 4, HEIGHT // 8, WIDTH // 8)
    check_motion(tiny.model, made, shape)
    other = getattr(host_models, model)().model
    with pytest.raises(InputError, match=told):
        check_motion(other, made, (1, 16, latent_frames, *shape[3:]))
