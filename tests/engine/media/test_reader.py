"""Files of strangers: a right result, or one line that says what is wrong."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import Colorspace

from longtake.engine.media.reader import MediaLimits, crf_in, media_facts, read_frames
from longtake.engine.media.sound import Sound
from longtake.engine.media.writer import Quality, write_video
from longtake.models.errors import InputError, LongtakeError
from tests.engine.clips import clip, grey, level, read_sound

RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)]


def frames(path, *part, **options) -> np.ndarray:
    return torch.cat(list(read_frames(path, *part, **options))).numpy()


def levels(pictures: np.ndarray) -> list[int]:
    """Which frame of the clip each picture is, by the grey of its right half."""
    greys = pictures[:, :, pictures.shape[2] // 2 :].mean((1, 2, 3))
    return [round((grey - level(0)) / 7) for grey in greys]


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("muxer", ["mp4", "matroska", "avi"])
def test_the_rate_is_exact_in_every_container(tmp_path, fps, muxer):
    codec = "ffv1" if muxer == "avi" else "libx264"
    path = clip(tmp_path / "a", range(23), fps, muxer=muxer, codec=codec)

    facts = media_facts(path)

    assert (facts.frames, facts.fps, facts.constant) == (23, fps, True)
    assert (facts.width, facts.height, facts.seconds) == (38, 22, 23 / fps)
    assert levels(frames(path)) == list(range(23))


@pytest.mark.parametrize(
    ("part", "expected"),
    [((0, 3), [0, 1, 2]), ((-4,), [27, 28, 29, 30]), ((11, 13), [11, 12]), ((40,), [])],
)
def test_a_part_is_that_part(tmp_path, part, expected):
    path = clip(tmp_path / "a.mp4", range(31), Fraction(5))
    found = list(read_frames(path, *part, size=2))
    assert levels(torch.cat(found).numpy()) == expected if expected else not found
    assert all(len(chunk) <= 2 for chunk in found)


def test_the_end_of_a_long_clip_is_found_by_its_keyframe(tmp_path):
    path = tmp_path / "a.mp4"
    shades = (torch.arange(190) % 32 * 7 + 20).to(torch.uint8).view(-1, 1, 1, 1)
    write_video(path, [shades.expand(-1, 16, 16, 3)], Fraction(10), quality=Quality(crf=4))
    assert levels(frames(path, -3)) == [n % 32 for n in (187, 188, 189)]
    assert levels(frames(path, 95, 97)) == [n % 32 for n in (95, 96)]


def test_a_rate_that_varies_is_brought_to_a_constant_one(tmp_path):
    path = clip(tmp_path / "a.mp4", [0, 1, 2, 3, 4, 5, 9, 10, 14], Fraction(24))
    facts = media_facts(path)
    assert not facts.constant
    pictures = levels(frames(path))
    assert len(pictures) == facts.frames
    assert facts.seconds == pytest.approx(15 / 24, abs=1 / 24)
    assert pictures == sorted(pictures)
    assert {0, 8} <= set(pictures)
    if facts.fps == 24:
        assert pictures == [0, 1, 2, 3, 4, 5, 5, 5, 5, 6, 7, 7, 7, 7, 8]


@pytest.mark.parametrize(("rotation", "corner"), [(90, "bl"), (180, "br"), (-90, "tr")])
def test_a_turned_video_is_turned(tmp_path, rotation, corner):
    path = clip(tmp_path / "a.mp4", rotation=rotation)
    facts = media_facts(path)
    size = (38, 22) if rotation == 180 else (22, 38)
    assert (facts.width, facts.height) == size
    picture = frames(path)[0].astype(int)
    assert picture.shape == (size[1], size[0], 3)
    rows = slice(0, 3) if corner[0] == "t" else slice(-3, None)
    columns = slice(0, 3) if corner[1] == "l" else slice(-3, None)
    assert picture[rows, columns].min() > 200
    assert (picture > 200).mean() < 0.3


def test_ten_bits_become_eight(tmp_path):
    path = clip(tmp_path / "a.mp4", pixels="yuv420p10le")
    assert media_facts(path).pixel_format == "yuv420p10le"
    assert levels(frames(path)) == list(range(9))


def test_a_camera_s_jpegs_use_all_levels(tmp_path):
    path = clip(tmp_path / "a.mov", codec="mjpeg", pixels="yuvj420p")
    assert media_facts(path).pixel_format == "yuvj420p"
    pictures = frames(path)
    assert levels(pictures) == list(range(9))
    assert pictures[:, 2, 2].min() > 250


def test_what_is_transparent_becomes_black(tmp_path):
    path = clip(tmp_path / "a.mov", codec="png", pixels="rgba", alpha=0)
    assert not frames(path).any()
    opaque = clip(tmp_path / "b.mov", codec="png", pixels="rgba", alpha=255)
    assert levels(frames(opaque)) == list(range(9))
    half = clip(tmp_path / "c.mov", codec="png", pixels="rgba", alpha=51)
    assert abs(frames(half)[0, 0, 0, 0] - 51) <= 1


def test_odd_sides_are_read(tmp_path):
    path = clip(tmp_path / "a.mp4", pixels="yuv444p", size=(37, 23))
    assert frames(path).shape == (9, 23, 37, 3)


def test_a_gif_is_a_video(tmp_path):
    path = clip(tmp_path / "a.gif", codec="gif", pixels="rgb8", fps=Fraction(25))
    assert media_facts(path).fps == 25
    assert frames(path).shape == (9, 22, 38, 3)


def test_sound_begins_with_the_pictures(tmp_path):
    path = clip(tmp_path / "a.mp4", [5, 6, 7, 8], Fraction(8), sound=True)
    sound = read_sound(path)
    assert (sound.rate, sound.layout) == (8000, "mono")
    assert sound.seconds == pytest.approx(1 - 5 / 8, abs=2 * 1024 / 8000)
    assert media_facts(path).sound
    assert read_sound(clip(tmp_path / "b.mp4")) is None


def test_the_crf_is_read_from_the_file(tmp_path):
    path = tmp_path / "a.mp4"
    chunk = torch.zeros(3, 16, 16, 3, dtype=torch.uint8)
    write_video(path, [chunk], Fraction(8), quality=Quality(crf=21))
    assert crf_in(path) == 21
    assert crf_in(clip(tmp_path / "b.gif", codec="gif", pixels="rgb8")) is None


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = clip(tmp_path / "a.mp4", range(40), options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match=r"a\.mp4 is cut off: \d+ of its 40 frames are there"):
        media_facts(path)


def test_without_its_index_it_is_damaged(tmp_path):
    path = clip(tmp_path / "a.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.mp4 is damaged or cut off"):
        media_facts(path)


DISGUISED = {
    "an empty file": (b"", "is empty"),
    "a web page": (b"<!doctype html><html>", "is not a video that can be read"),
    "a list of files": (b"ffconcat version 1.0\nfile other.mp4\n", "is not a video"),
    "a playlist": (b"#EXTM3U\n#EXTINF:1,\nother.mp4\n", "is not a video"),
    "a session": (b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "is not a video"),
    "a manifest": (b"<?xml version='1.0'?><MPD></MPD>", "is not a video"),
    "noise": (bytes(range(7, 250)) * 9, "is not a video"),
    "only a head": (
        b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
        "is damaged|has no video stream",
    ),
    "a Matroska head": (b"\x1a\x45\xdf\xa3" + b"\0" * 40, "is damaged|has no video stream"),
}


@pytest.mark.parametrize("kind", DISGUISED)
def test_what_only_has_the_name_of_a_video_is_refused(tmp_path, kind):
    data, message = DISGUISED[kind]
    clip(tmp_path / "other.mp4")
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as refused:
        media_facts(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("muxer", ["mp4", "mov", "matroska", "avi"])
def test_a_video_without_a_frame_is_refused(tmp_path, muxer):
    path = clip(tmp_path / "a", [], muxer=muxer)
    assert path.stat().st_size > 100
    with pytest.raises(InputError, match="has no (frames|video stream)|is damaged") as refused:
        media_facts(path)
    assert "\n" not in str(refused.value)


def test_sound_alone_no_file_and_a_pipe_are_refused(tmp_path):
    sound = tmp_path / "a.mp4"
    with av.open(sound, "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="has no video stream"):
        media_facts(sound)
    with pytest.raises(InputError, match="or is not a file"):
        media_facts(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match="or is not a file"):
        media_facts(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(InputError, match="or is not a file"):
            media_facts(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (MediaLimits(side=37), "frames of 38×22: at most 37 pixels a side"),
        (MediaLimits(pixels=38 * 22 - 1), "megapixels"),
        (MediaLimits(frames=8), "too long"),
        (MediaLimits(decoded=9 * 38 * 22 * 3 - 1), "would decode to 0.0 TiB"),
    ],
)
def test_what_is_too_much_is_refused_before_it_is_decoded(tmp_path, limits, message, monkeypatch):
    path = clip(tmp_path / "a.mp4")
    assert media_facts(path, MediaLimits(38, 38 * 22, 1, 9, 9 * 38 * 22 * 3)).frames == 9
    monkeypatch.setattr("longtake.engine.media.reader._facts", None)  # would decode
    with pytest.raises(InputError, match=message):
        media_facts(path, limits)


def test_a_day_of_one_picture_is_refused(tmp_path):
    path = clip(tmp_path / "a.mp4", [0, 24 * 3600], Fraction(1))
    with pytest.raises(InputError, match="too long"):
        next(read_frames(path))


def test_a_lying_head_is_found_out(tmp_path):
    """The head claims one second; the index holds more frames than are allowed."""
    path = clip(tmp_path / "a.mp4", range(60), Fraction(60))
    with pytest.raises(InputError, match="too long"):
        media_facts(path, MediaLimits(frames=59))


def test_damage_anywhere_is_a_picture_or_a_line(tmp_path):
    whole = clip(tmp_path / "whole.mp4", range(12), sound=True).read_bytes()
    random = np.random.default_rng(5)
    path, messages = tmp_path / "a.mp4", []
    for _ in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 3):
            data[at] ^= 1 << random.integers(0, 8)
        path.write_bytes(data[: random.integers(len(data) // 2, len(data) + 1)])
        try:
            for chunk in read_frames(path):
                assert chunk.dtype == torch.uint8
        except LongtakeError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in line for line in messages)


@pytest.mark.parametrize("shape", [(9, 5), (0, 5), (3,)])
def test_sound_of_strange_shapes_is_refused(shape):
    with pytest.raises(InputError, match="sound of shape"):
        Sound(np.zeros(shape, np.float32), 8000)
    with pytest.raises(InputError, match="3 samples a second"):
        Sound(np.zeros((1, 5), np.float32), 3)
    with pytest.raises(LongtakeError, match="NaN"):
        Sound(np.full((1, 5), np.nan, np.float32), 8000)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mp4", "mov"), ("a.mkv", "matroska"), ("a.avi", "avi")]
)
def test_a_file_is_opened_as_what_it_is_and_may_name_no_other(tmp_path, monkeypatch, name, kind):
    path = clip(tmp_path / name, codec="ffv1" if kind == "avi" else "libx264")
    calls, real = [], av.open

    def opened(*args, **options):
        calls.append(options)
        return real(*args, **options)

    monkeypatch.setattr(av, "open", opened)
    list(read_frames(path))
    assert calls
    assert all(
        call == {"format": kind, "options": {"protocol_whitelist": "file"}} for call in calls
    )


def test_a_session_that_begins_like_a_gif_asks_nobody(tmp_path, monkeypatch):
    """libavformat itself would take it for what it is, and listen on the address."""
    path = tmp_path / "a.gif"
    path.write_bytes(b"GIF8\nv=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n" * 9)
    with pytest.raises(InputError, match="is damaged or cut off"):
        media_facts(path)


def test_frames_too_close_together_count_all_the_same(tmp_path):
    """Eight thousand a second are read at 1,000; each is in the file, whose head does not say."""
    options = {"muxer": "mp4", "options": {"movflags": "empty_moov+frag_keyframe"}}
    path = clip(tmp_path / "a", range(60), Fraction(8000), **options)
    assert media_facts(path).frames < 20
    with pytest.raises(InputError, match="too long"):
        media_facts(path, MediaLimits(frames=59))


def test_a_day_that_the_head_does_not_tell_of_is_refused(tmp_path):
    path = clip(
        tmp_path / "a", [0, 24 * 3600], Fraction(1), muxer="matroska", options={"live": "1"}
    )
    with av.open(path) as container:
        assert not container.duration
    with pytest.raises(InputError, match="too long"):
        media_facts(path)


@pytest.mark.parametrize(
    ("height", "matrix"), [(718, Colorspace.ITU601), (720, Colorspace.ITU709)], ids=["sd", "hd"]
)
def test_colours_without_a_tag_are_what_players_assume(tmp_path, height, matrix):
    path, colour = tmp_path / "a.mp4", np.array([200, 40, 60], np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 32, height, "yuv420p"
        rgb = np.broadcast_to(colour, (height, 32, 3)).copy()
        frame = av.VideoFrame.from_ndarray(rgb).reformat(format="yuv420p", dst_colorspace=matrix)
        frame.colorspace = 2  # unspecified
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    assert np.abs(frames(path)[0, 8, 8].astype(int) - colour).max() <= 4


@pytest.mark.parametrize(
    ("tag", "red", "blue"),
    [(1, 0.2126, 0.0722), (4, 0.30, 0.11), (5, 0.299, 0.114), (6, 0.299, 0.114),
     (7, 0.212, 0.087), (9, 0.2627, 0.0593), (10, 0.2627, 0.0593)],
)  # fmt: skip
@pytest.mark.parametrize("full", [False, True], ids=["16 to 235", "0 to 255"])
def test_colours_are_read_by_the_matrix_that_the_file_names(tmp_path, tag, red, blue, full):
    """Y'CbCr by its definition (ISO/IEC 23091-2): Kr and Kb are what the tag stands for."""
    path, colour = tmp_path / "a.mp4", np.array([200, 40, 60])
    r, g, b = colour / 255
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / 2 / (1 - blue), (r - y) / 2 / (1 - red)
    low, luma, chroma = (0, 255, 255) if full else (16, 219, 224)
    planes = round(low + luma * y), round(128 + chroma * cb), round(128 + chroma * cr)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if full else 1
        pixels = np.repeat(np.array(planes, np.uint8), 32 * 32).reshape(3, 32, 32)
        frame = av.VideoFrame.from_ndarray(pixels, format="yuv444p")
        frame.colorspace, frame.color_range = tag, 2 if full else 1
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    assert np.abs(frames(path)[0, 8, 8].astype(int) - colour).max() <= 3


def test_a_size_that_changes_is_refused(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(path, "w") as container:
        stream = container.add_stream("png", rate=8)
        stream.width, stream.height, stream.pix_fmt = 38, 22, "rgb24"
        container.start_encoding()
        for number, size in enumerate([(38, 22), (38, 22), (20, 24)]):
            encoder = av.CodecContext.create("png", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, "rgb24"
            encoder.time_base = Fraction(1, 8)
            frame = av.VideoFrame.from_ndarray(grey(0, *size), format="rgb24")
            for packet in (*encoder.encode(frame), *encoder.encode()):
                packet.stream, packet.time_base = stream, Fraction(1, 8)
                packet.pts = packet.dts = number
                container.mux(packet)
    with pytest.raises(InputError, match="changes from 38×22 to 20×24"):
        frames(path)
