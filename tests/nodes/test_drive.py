"""Drive: clips of any length, size and rate become canvases that a character performs on."""

import importlib
from fractions import Fraction
from math import ceil, floor

import av
import pytest
import torch

from longtake.models.errors import InputError, LongtakeError
from tests import host_models
from tests.engine.clips import clip, level
from tests.nodes.conftest import Graph

WHO = torch.rand(1, 40, 30, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tiny(host):
    return host_models.wan21()


@pytest.fixture
def driven(tiny):
    """A function: a clip and how it is asked for -> the canvas, and the sound."""
    module = importlib.import_module("longtake.host.video.driving")

    def made(clip, face=None, background=None, background_mask=None, **asked):
        asked = module.Asked(**{"width": 48, "height": 32, "fit": "stretch", **asked})
        more = {"background": background, "background_mask": background_mask}
        return module.driven_canvas(tiny.vae, WHO, clip, asked, module.Others(face, **more))

    return made


@pytest.fixture
def film(tmp_path):
    """A function: as `clip` -> VIDEO."""
    from comfy_api.latest import InputImpl

    def made(times=range(60), fps=30, **more):
        clip(tmp_path / "film.mp4", times, Fraction(fps), **more)
        return InputImpl.VideoFromFile(str(tmp_path / "film.mp4"))

    return made


def levels(canvas, frames: range) -> list[int]:
    """The grey of the clip's frames, away from the white corner."""
    seen = canvas.guidance.driving.at(frames)
    return [round(255 * float(picture[-4:, -4:].mean())) for picture in seen]


@pytest.mark.parametrize(("fps", "rate"), [(30, 16), (25, 16), (12, 16), (24, 30)])
def test_at_each_moment_the_frame_nearest_in_time_is_shown(driven, film, fps, rate):
    canvas, _ = driven(film(fps=fps), fps=float(rate))
    seen = levels(canvas, range(canvas.timeline.frames))
    last = canvas.guidance.driving.clip.frames - 1  # it is held
    for n, grey in enumerate(seen):
        at = min(59, min(n, last) * Fraction(fps, rate))
        nearest = {floor(at + Fraction(1, 2)), ceil(at - Fraction(1, 2))}  # two, halfway between
        assert min(abs(grey - level(number)) for number in nearest) <= 2
    assert abs(float(canvas.timeline.seconds) - 60 / fps) <= 2.01 / rate


def test_a_part_is_read_without_what_is_before_it(driven, film, monkeypatch):
    reader = importlib.import_module("longtake.engine.media.reader")
    decoded, frames = [], reader._at_constant_rate

    def counted(path, facts, first, stop):
        decoded.append((first, stop))
        return frames(path, facts, first, stop)

    canvas, _ = driven(film(), fps=16.0)
    monkeypatch.setattr(reader, "_at_constant_rate", counted)
    assert abs(levels(canvas, range(16, 21))[0] - level(30)) <= 2
    assert decoded == [(30, 39)]


def test_the_size_is_that_of_the_clip_at_the_model_s_pixels(driven, film):
    canvas, _ = driven(film(size=(64, 22)), width=0, height=0)
    height, width = canvas.size
    assert abs(width / height / (64 / 22) - 1) < 0.06
    assert 0.8 < width * height / (1280 * 720) < 1.2 or 0.8 < width * height / (832 * 480) < 1.2
    assert driven(film(size=(64, 22)), width=0, height=32)[0].size == (32, 96)


def test_a_clip_shorter_than_a_window_and_one_past_its_end(driven, film):
    canvas, _ = driven(film(range(3)), fps=16.0)
    assert canvas.timeline.frames == 1 or canvas.timeline.frames == 5
    held, _ = driven(film(range(10)), fps=30.0, seconds=1.0)
    assert levels(held, range(8, 29))[-1] == levels(held, range(9, 10))[0]
    assert "the clip ends 0.667 s before the canvas: it is held" in held.notes


def test_its_sound_comes_along(driven, film):
    assert driven(film())[1] is None
    sound = driven(film(sound=True))[1]
    assert sound["waveform"].shape[:2] == (1, 1)
    assert sound["waveform"].shape[2] / sound["sample_rate"] == pytest.approx(1.0, abs=0.2)


def test_as_the_first_frame_the_character_is_pinned_and_no_reference(driven, film):
    canvas, _ = driven(film(), character="first frame")
    assert canvas.video.known == [0]
    assert not canvas.guidance.as_control().references
    assert len(driven(film())[0].guidance.as_control().references) == 1


def test_a_long_clip_is_sampled_in_windows_by_sample_too(driven):
    images = torch.rand(200, 8, 8, 3, generator=torch.Generator().manual_seed(2))
    canvas, _ = driven(images, fps=16.0)
    assert [len(window.frames) for window in canvas.windows] == [21] * len(canvas.windows)
    assert len(canvas.windows) == 3


def test_another_clip_has_another_stamp_and_the_same_has_the_same(driven, film):
    def stamp(video, **more):
        return driven(video, **more)[0].guidance.driving.clip.stamp

    first = stamp(film())
    assert stamp(film()) == first
    assert stamp(film(range(1, 61))) != first
    assert stamp(film(), fit="crop") != first


def test_images_beside_a_video_go_with_it_frame_by_frame(driven, film):
    faces = torch.linspace(0, 1, 60)[:, None, None, None].expand(-1, 4, 4, 3)
    driving = driven(film(), faces, fps=15.0)[0].guidance.driving
    assert driving.face.frames == driving.clip.frames == 30
    seen = driving.at(range(29), driving.face)[:, 0, 0, 0] * 59
    assert torch.allclose(seen, torch.arange(0.0, 58, 2), atol=0.01)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_masks_lie_where_what_they_mark_lies(driven, film, fit):
    here = torch.zeros(60, 16, 64)
    for number in range(60):
        here[number, 4:, 8 + number // 2 : 32] = 1
    behind = here[..., None].expand(-1, -1, -1, 3)
    more = {"fit": fit, "background": behind, "background_mask": here}
    driving, frames = driven(film(), **more)[0].guidance.driving, range(7, 20)
    masks = driving.at(frames, driving.background_mask)
    seen = driving.at(frames, driving.background)[..., 0]
    assert masks.shape == (13, 32, 48)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert ((seen > 0.5) == (masks > 0.5)).float().mean() > 0.95


def test_a_picture_and_one_mask_are_for_all_frames(driven, film):
    picture, mask = torch.rand(1, 16, 64, 3), torch.ones(1, 16, 64)
    driving = driven(film(), background=picture, background_mask=mask)[0].guidance.driving
    for of in (driving.background, driving.background_mask):
        first, *rest = driving.at(range(5), of)
        assert all(torch.equal(one, first) for one in rest)
    stamps = [driving.background.stamp, driving.background_mask.stamp]
    assert list(driving.deciding(range(5))[-2:]) == stamps


def put_into(**more):
    clip = torch.rand(9, 8, 8, 3, generator=torch.Generator().manual_seed(4))
    return {"background": clip, "background_mask": torch.ones(9, 8, 8), **more}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (put_into(background_mask=None), "background and background_mask belong together"),
        (put_into(background=None), "background and background_mask belong together"),
        (put_into(background=torch.rand(4, 8, 8, 3)), "background lasts 0.25 s and the clip 0.56"),
        (
            put_into(background_mask=torch.ones(5, 8, 8)),
            "5 masks and there are 9 frames: connect 1",
        ),
        (
            put_into(background_mask=torch.ones(9, 8, 12)),
            "a mask of 12×8 does not fit a picture of 8×8",
        ),
        (put_into(background_mask=torch.zeros(1, 8, 8)), "background_mask is empty, so nobody"),
        (put_into(background_mask=torch.full((1, 8, 8), torch.nan)), "holds NaN or infinite"),
    ],
)
def test_a_background_that_does_not_fit_is_refused_in_a_line(driven, more, told):
    with pytest.raises(LongtakeError, match=told):
        driven(torch.rand(9, 8, 8, 3, generator=torch.Generator().manual_seed(4)), **more)


@pytest.mark.parametrize(
    ("images", "more", "told"),
    [
        (torch.rand(1, 8, 8, 3), {}, "the clip is a single picture: connect a VIDEO or a batch"),
        (torch.full((9, 8, 8, 3), 0.3), {}, "there is nobody in the clip: its frames 0, 2, 4, 6,"),
        (torch.rand(1, 8, 8, 3).expand(9, -1, -1, -1), {}, "nothing moves in the clip"),
        (torch.rand(9, 8, 8, 3), {"width": 50}, "48"),
        (
            torch.rand(9, 8, 8, 3),
            {"face": torch.rand(4, 8, 8, 3)},
            "face lasts 0.25 s",
        ),
    ],
)
def test_what_nobody_could_perform_is_refused_in_a_line(driven, images, more, told):
    with pytest.raises(InputError, match=told):
        driven(images, **more)


def graph_of(model: str, film, **more) -> Graph:
    """Long Take of a performance, in windows."""
    drive = {
        "vae": ["model", 2], "character": ["who", 0], "clip": ["film", 0], "seconds": 0.0,
        "fps": 16.0, "width": 32, "height": 32, "character_is": "reference", "fit": "crop",
        "strength": 1.0,
    }  # fmt: skip
    return Graph().add(
        model=(host_models.NODE, {"name": model}),
        prompt=("LongtakePrompt", {"clip": ["model", 1], "text": "a dancer"}),
        negative=("LongtakePrompt", {"clip": ["model", 1], "text": ""}),
        who=("EmptyImage", {"width": 32, "height": 48, "batch_size": 1, "color": 0xC04020}),
        film=("LoadVideo", {"file": film}),
        drive=("LongtakeDrive", {**drive, **more}),
        schedule=(
            "LongtakeSchedule",
            {"model": ["model", 0], "steps": 1, "shift": 3.0, "curve": "linear", "denoise": 1.0},
        ),
        take=(
            "LongtakeLongTake",
            {
                "model": ["model", 0], "vae": ["model", 2], "negative": ["negative", 0],
                "sigmas": ["schedule", 0], "seconds": 0.0, "fps": 0.0, "width": 0, "height": 0,
                "seed": 1, "cfg": 1.0, "sampler": "euler", "window": 17, "overlap": 5,
                "shots": "each by itself", "anchor": "off", "keep": "keep",
                "positive": ["prompt", 0], "canvas": ["drive", 0], "audio": ["drive", 1],
            },
        ),
    )  # fmt: skip


@pytest.mark.usefixtures("pack")
def test_in_a_graph_it_becomes_a_take_with_the_clip_s_sound(host):
    import folder_paths

    host_models.register_tiny_models()
    file = folder_paths.get_input_directory() + "/longtake_drive_test.mp4"
    clip(file, range(60), Fraction(30), sound=True)
    graph = graph_of(
        "wan_animate",
        "longtake_drive_test.mp4",
        background=["film", 0],
        background_mask=["where", 0],
    ).add(where=("SolidMask", {"value": 1.0, "width": 38, "height": 22}))
    run = host.run(graph, want=["take"])
    assert run.success, run.error
    with av.open(run.values["take"][0].get_stream_source()) as made:
        assert len(list(made.decode(made.streams.video[0]))) == 33
        assert made.streams.audio
    built_in = graph_of("wan21", "longtake_drive_test.mp4")
    run = host.run(built_in, want=["take"])
    assert "holds a clip that a character performs, and this model is Wan T2V" in run.error
