"""A camera's path on its way to a Fun-Camera checkpoint of core's classes."""

import importlib
from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.plan import Window
from longtake.engine.motion.camera_text import parse_camera
from longtake.engine.motion.rays import LENS, camera_conditions
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError
from tests.host_models import wan21
from tests.host_models.wan import fun_camera, fun_camera_22

pytestmark = pytest.mark.usefixtures("comfyui")
FPS, MOVES = Fraction(16), parse_camera("[0s] truck right 1w\n[0s] roll left 30° ease")


def module(name: str):
    return importlib.import_module(f"longtake.host.{name}")


@pytest.fixture
def tiny():
    return wan21()


@pytest.fixture(params=[fun_camera, fun_camera_22])
def camera_model(request):
    return request.param()


def canvas_of(tiny, latent_frames: int, plan=()) -> Canvas:
    codec = module("networks.codec").codec_for(tiny.vae)
    blank = Canvas.blank(codec, codec.grid.frames(latent_frames), 32, 48, FPS)
    return Canvas(blank.video, codec, FPS, plan=plan)


def prompts_of(tiny, frames: int):
    own = module("sampling.camera")
    camera = own.camera_for(MOVES, float(frames / FPS), FPS)
    both = (tiny.positive, tiny.negative)
    return module("comfyui.conditioning").Prompts(*(own.with_camera(p, camera) for p in both))


def rays_seen(tiny, canvas, monkeypatch) -> list:
    """What the adapter of the model is given, once for each step."""
    sample = module("sampling.sample")
    seen, adapter = [], tiny.model.model.diffusion_model.control_adapter
    adapter.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    prompts = prompts_of(tiny, canvas.timeline.frames)
    sample.sample(tiny.model, prompts, canvas, sample.Sampling(sigmas(1, 3.0), 5, 1.0))
    return seen


def test_it_is_given_the_rays_of_its_frames(camera_model, monkeypatch):
    canvas = canvas_of(camera_model, 3)
    (seen,) = rays_seen(camera_model, canvas, monkeypatch)
    path = module("sampling.camera").camera_for(MOVES, float(9 / FPS), FPS).path
    poses = path.poses([float(n / FPS) for n in range(9)], LENS)
    torch.testing.assert_close(seen, camera_conditions(poses, 48, 32))


def test_each_window_is_given_its_own_seen_from_its_first_frame(camera_model, monkeypatch):
    plan = (Window((0, 1, 2)), Window((2, 3, 4), context=1))
    seen = rays_seen(camera_model, canvas_of(camera_model, 5, plan), monkeypatch)
    path = module("sampling.camera").camera_for(MOVES, float(17 / FPS), FPS).path
    for rays, frames in zip(seen, (range(9), range(8, 17)), strict=True):
        poses = path.poses([float(n / FPS) for n in frames], LENS)
        torch.testing.assert_close(rays, camera_conditions(poses, 48, 32))


def test_a_picture_at_the_start_is_shown_as_core_s_node_shows_it(camera_model):
    """Frames of which nothing is known are zeros to these checkpoints, and grey to other ones."""
    from comfy_extras.nodes_wan import WanCameraImageToVideo

    prompts = module("comfyui.conditioning").Prompts(camera_model.positive, camera_model.negative)
    picture = torch.rand(1, 32, 48, 3, generator=torch.Generator().manual_seed(6))
    canvas = canvas_of(camera_model, 3).pin_image(picture, 0.0, "crop")
    own = module("sampling.image_channels")
    pins = module("sampling.routes").pins_for(canvas, camera_model.model)
    shown = own.with_channels(
        camera_model.model, prompts, pins.channels(range(3)), canvas.video, range(3)
    ).positive[0][1]
    core = WanCameraImageToVideo.execute(
        *prompts, camera_model.vae, 48, 32, 9, 1, start_image=picture
    ).args[0][0][1]
    for name in (own.IMAGE, own.MASK):
        torch.testing.assert_close(shown[name], core[name], rtol=1e-5, atol=1e-5)
    handed = canvas_of(camera_model, 3).video.with_known({0: canvas.video.latents[:, :, :1]})
    later = own.with_channels(camera_model.model, prompts, None, handed, range(3)).positive[0][1]
    torch.testing.assert_close(later[own.IMAGE], core[own.IMAGE], rtol=1e-5, atol=1e-5)


def test_a_take_gives_each_window_the_rays_of_its_frames(camera_model, tmp_path):
    boards, recipes, samplers = (
        module(f"take.{name}") for name in ("storyboards", "recipe", "sampler")
    )
    seconds = Fraction(33, 16)
    positive, negative = prompts_of(camera_model, 33)
    size = recipes.TakeSize(seconds, FPS, 48, 32)
    sampling = module("sampling.sample").Sampling(sigmas(1, 3.0), 5, 1.0)
    asked = recipes.WindowsAsked(17, 5)
    board = boards.Board(boards.one_shot(positive).shots, (positive,), positive, seconds, FPS)
    recipe = recipes.recipe_for(
        camera_model.model, camera_model.vae, board, negative, size, asked, sampling
    )
    seen, adapter = [], camera_model.model.model.diffusion_model.control_adapter
    adapter.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    list(samplers.TakeSampler(recipe, WindowStore(tmp_path)).windows(0))
    path = module("sampling.camera").camera_for(MOVES, float(seconds), FPS).path
    windows = recipe.take.clips[0].windows
    assert len(windows) == len(seen) > 1
    for rays, window in zip(seen, windows, strict=True):
        begin = 4 * window.frames[0]
        poses = path.poses([float(n / FPS) for n in range(begin, begin + 17)], LENS)
        torch.testing.assert_close(rays, camera_conditions(poses, 48, 32))


def test_a_model_that_reads_none_is_refused_before_its_weights_are_moved(tiny):
    sample = module("sampling.sample")
    with pytest.raises(InputError, match="this model .WAN21. reads none: load a Fun-Camera"):
        sample.sample(
            tiny.model,
            prompts_of(tiny, 9),
            canvas_of(tiny, 3),
            sample.Sampling(sigmas(1, 3.0), 5, 1.0),
        )


def test_rays_too_many_to_hold_are_refused(tiny):
    own = module("sampling.camera")
    with pytest.raises(InputError, match="the rays of 600 s at 1280×720 take .* GB"):
        own.with_camera(tiny.positive, own.camera_for(MOVES, 600.0, FPS), 1280, 720)


@pytest.mark.filterwarnings("ignore:Using torch.cross without specifying the dim")  # core's
def test_core_s_samplers_are_given_what_core_s_node_gives(tiny):
    from comfy_extras.nodes_camera_trajectory import WanCameraEmbedding

    own = module("sampling.camera")
    camera = own.camera_for(parse_camera("[0s] dolly in 3w"), 13 / 16, FPS)
    (entry,) = own.with_camera(tiny.positive, camera, 48, 32)
    expected = WanCameraEmbedding.execute("Zoom In", 48, 32, 13)[0]
    torch.testing.assert_close(entry[1]["camera_conditions"], expected, rtol=0, atol=1e-5)
