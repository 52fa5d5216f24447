"""Frames as they are displayed: HDR, alpha beside the packets, pixels that are not square."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from longtake.engine.container.formats import FORMATS
from longtake.engine.media import displayed
from longtake.engine.media.reader import media_facts, read_frames
from longtake.engine.media.tone import BT2020, ColourSpace, as_sdr
from longtake.engine.media.writer import copy_video, write_video
from longtake.models.errors import InputError
from tests.engine.clips import clip, grey, level


def frames(path) -> np.ndarray:
    chunks = list(read_frames(path))
    assert all(chunk.dtype == torch.uint8 for chunk in chunks)
    return torch.cat(chunks).numpy()


def hdr(path, transfer: int, primaries: int = 9, told: str = ""):
    """Greys of ten bits in steps of 100, as a camera makes them."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx265", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, 9
        context.color_range = 1
        stream.options = {"x265-params": f"log-level=error:lossless=1{told}"}
        for number in range(9):
            code = min(65535, round(100 * number / 876 * 65535))  # 64 is black, 940 white
            frame = av.VideoFrame.from_ndarray(np.full((32, 64, 3), code, np.uint16), "rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9)
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (1, None)])
def test_wide_colours_are_those_of_an_ordinary_screen(tmp_path, transfer, name):
    path = hdr(tmp_path / "a.mp4", transfer)
    assert media_facts(path).look.colours == ColourSpace(name, BT2020)
    values = torch.tensor([100 * number / 876 for number in range(9)])
    greys = (values.view(-1, 1, 1).clamp(0, 1) * 65535).int().expand(-1, 1, 3)
    expected = as_sdr(greys, ColourSpace(name, BT2020))[:, 0, 0].int()
    shown = frames(path)[:, 16, 32].astype(int)
    assert np.abs(shown - expected.numpy()[:, None]).max() <= 2


def test_two_matrices_are_named_since_older_pyavs_look_at_neither_where_they_are_equal(
    monkeypatch,
):
    asked, real = [], displayed.VideoReformatter

    class Older:
        def reformat(self, frame, *sizes, src_colorspace=None, dst_colorspace=None, **more):
            unsaid = int(frame.colorspace)  # as PyAV up to 16.1 takes what it is not given
            pair = [unsaid if n is None else n for n in (src_colorspace, dst_colorspace)]
            asked.append(tuple(map(int, pair)))
            return real().reformat(frame, *sizes, **more)

    monkeypatch.setattr(displayed, "VideoReformatter", Older)
    for matrix in displayed.MATRICES:
        frame = av.VideoFrame(58, 34, "yuv420p")
        frame.colorspace = matrix
        displayed.displayed(frame, displayed.Look((58, 34)), "a.mp4")
    assert [source for source, _ in asked] == list(displayed.MATRICES.values())
    assert all(source != target for source, target in asked)


def test_what_is_changed_is_told(tmp_path):
    notes = media_facts(hdr(tmp_path / "a.mp4", 16)).look.notes
    assert notes == ("its PQ colours are brought into those of SDR",)
    notes = media_facts(hdr(tmp_path / "b.mp4", 1)).look.notes
    assert notes == ("its wide colours are brought into those of BT.709",)
    assert media_facts(clip(tmp_path / "c.mp4")).look.notes == ()


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("alpha", [0, 51, 255])
def test_alpha_beside_the_packets_counts(tmp_path, codec, alpha):
    path = tmp_path / "a.webm"
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=8, options={"crf": "4", "auto-alt-ref": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        for number in range(5):
            rgba = np.dstack([np.full((32, 64, 3), 200, np.uint8), np.full((32, 64), alpha)])
            frame = av.VideoFrame.from_ndarray(rgba.astype(np.uint8), format="rgba")
            frame = frame.reformat(format="yuva420p")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "what is transparent became black" in media_facts(path).look.notes
    shown = frames(path)
    assert shown.shape == (5, 32, 64, 3)
    assert np.abs(shown.astype(int) - round(200 * alpha / 255)).max() <= 3


def anamorphic(path, shape: Fraction, **options):
    """A clip whose pixels are `shape` times as wide as high."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 40, 24, "yuv420p"
        stream.codec_context.sample_aspect_ratio = shape
        for number in range(9):
            frame = av.VideoFrame.from_ndarray(grey(number, 40, 24)).reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("shape", "size"),
    [("4/3", (53, 24)), ("2", (80, 24)), ("1/2", (40, 48)), ("1", (40, 24)), ("100", (40, 24))],
)
def test_pixels_become_square(tmp_path, shape, size):
    path = anamorphic(tmp_path / "a.mp4", Fraction(shape))
    facts = media_facts(path)
    assert (facts.width, facts.height) == size
    shown = frames(path)
    assert shown.shape == (9, size[1], size[0], 3)
    assert [round(float(frame[-3, -3].mean())) for frame in shown] == pytest.approx(
        [level(number) for number in range(9)], abs=2
    )
    assert (shown[0] > 235).mean() == pytest.approx(1 / 8, abs=0.03)  # the white corner
    assert bool(facts.look.notes) == (facts.look.shape != 1)


@pytest.mark.parametrize("name", ["mp4 h264", "mkv h264"])
def test_a_copy_keeps_the_shape_of_pixels(tmp_path, name):
    form = FORMATS[name]
    source, path = anamorphic(tmp_path / "a.mp4", Fraction(4, 3)), tmp_path / f"b{form.suffix}"
    copy_video(source, path, form=form)
    with av.open(path) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert (media_facts(path).width, media_facts(path).height) == (53, 24)


@pytest.mark.parametrize(("fps", "count"), [(480, 120), (960, 240)])
def test_a_fast_camera_keeps_its_rate(tmp_path, fps, count):
    facts = media_facts(clip(tmp_path / "a.mp4", range(count), Fraction(fps)))
    assert (facts.fps, facts.frames, facts.constant) == (fps, count, True)


@pytest.mark.parametrize("name", ["gif", "webp"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_an_animation_that_does_not_move_can_be_opened(tmp_path, name, count):
    path = tmp_path / f"a.{name}"
    still = np.full((count, 32, 48, 3), 120, np.uint8)
    write_video(path, [still], Fraction(8), form=FORMATS[name], metadata={"prompt": {"1": "x"}})
    with Image.open(path) as picture:
        assert picture.size == (48, 32)
        picture.seek(picture.n_frames - 1)
        shown = np.asarray(picture.convert("RGB")).astype(int)
        assert name == "gif" or picture.getexif()[0x0110] == 'prompt:{"1": "x"}'
    assert np.abs(shown - 120).max() <= 4


@pytest.mark.parametrize(
    ("name", "size", "instead"),
    [("mp4 h265", (8, 64), ", or choose mp4 h264"), ("webm av1", (64, 2), ", or choose mp4 h264"),
     ("mp4 h264", (9000, 16), ""), ("gif", (16, 9000), "")],
)  # fmt: skip
def test_a_size_that_a_codec_lacks_is_told_with_what_it_has(tmp_path, name, size, instead):
    width, height = size
    path = tmp_path / f"a{FORMATS[name].suffix}"
    with pytest.raises(InputError, match=rf"{width}×{height} as {name}: .* to 8192 .*{instead}\."):
        write_video(
            path, [np.zeros((1, height, width, 3), np.uint8)], Fraction(8), form=FORMATS[name]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_the_smallest_frames_are_written_and_read(tmp_path, name):
    form = FORMATS[name]
    path, side = tmp_path / f"a{form.suffix}", form.least
    write_video(path, [np.full((3, side, side, 3), 100, np.uint8)], Fraction(8), form=form)
    if name == "webp":
        return  # looked at with Pillow, above
    assert frames(path).shape == (3, side, side, 3)


@pytest.mark.parametrize("name", FORMATS)
def test_a_rate_is_told_before_its_encoder_fails(tmp_path, name):
    form = FORMATS[name]
    frames = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), np.uint8)
    path = tmp_path / f"a{form.suffix}"
    write_video(path, [frames], Fraction(form.fastest), form=form)
    if name != "webp":
        assert media_facts(path).frames == 20
    if form.fastest < 1000:
        with pytest.raises(InputError, match=r"as .*: at most \d+\. Interpolate .* mp4 h264\."):
            write_video(tmp_path / f"b{form.suffix}", [frames], Fraction(500), form=form)


SCREEN_OF_4000 = (
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)"
)


@pytest.mark.parametrize(
    ("told", "peak"),
    [("", 1000), (f":{SCREEN_OF_4000}", 4000), (f":{SCREEN_OF_4000}:max-cll=2500,400", 2500)],
)
def test_the_brightest_light_is_the_one_that_the_file_tells_of(tmp_path, told, peak):
    path = hdr(tmp_path / "a.mp4", 16, told=told)
    assert media_facts(path).look.colours.peak == peak


def test_a_file_that_is_too_fast_for_a_gif_is_told_so_before_it_is_drawn(tmp_path):
    write_video(tmp_path / "a.mp4", [torch.zeros(4, 64, 64, 3, dtype=torch.uint8)], Fraction(480))
    with pytest.raises(InputError, match="480 frames per second as gif: at most 100"):
        copy_video(tmp_path / "a.mp4", tmp_path / "a.gif", form=FORMATS["gif"])
