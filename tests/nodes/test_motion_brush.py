"""Motion Brush, beside core's nodes on the same tracks."""

import importlib

import pytest
import torch

from tests import host_models
from tests.host_models import wan21_from_an_image

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
    positive, negative, tracks, _, preview = brushed(tiny, picture)
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

    positive, negative, _, text, _ = brushed(tiny, picture, "ATI")
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
        ("wan21_from_an_image", 5, "of a clip of 4 latent frames, not of 5"),
    ],
)
def test_another_model_or_clip_is_refused(tiny, picture, model, latent_frames, told):
    from longtake.host.comfyui.conditioning import Prompts
    from longtake.host.sampling.camera import check_motion
    from longtake.models.errors import InputError

    made = Prompts(*brushed(tiny, picture)[:2])
    check_motion(tiny.model, made, 4)
    other = getattr(host_models, model)().model
    with pytest.raises(InputError, match=told):
        check_motion(other, made, latent_frames)
