"""Every kind of file holds the pictures, the sound and the graph, in time."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from longtake.engine.container.formats import FORMATS, Quality, check_quality, encoder_of
from longtake.engine.media.reader import media_facts, read_frames
from longtake.engine.media.sound import Sound
from longtake.engine.media.still import write_still
from longtake.engine.media.writer import copy_video, write_video
from longtake.models.errors import InputError
from tests.engine.clips import clip, read_sound
from tests.engine.streams import Stream

RATES = [Fraction(r) for r in ("24000/1001", "24", "25", "30000/1001", "30", "60")]
QUICK = Quality(preset="ultrafast")
VIDEOS = [name for name, form in FORMATS.items() if not form.animation]
GRAPH = {"workflow": {"nodes": ["Sëhr"]}, "prompt": {"3": {}}}


def flashes(fps, seconds=3, lit=1):
    """Black but for one white frame, `lit` seconds after the first."""
    total, at = round(seconds * fps), round(lit * fps)
    for n in range(total):
        yield np.full((1, 34, 58, 3), 255 if n == at else 0, np.uint8)


def click(fps, rate=44100, seconds=4, lit=1):
    """Silence but for a burst that lasts as long as the white frame."""
    samples = np.zeros((2, seconds * rate), np.float32)
    start = round(round(lit * fps) / fps * rate)
    samples[:, start : start + rate // 50] = 0.9
    return Sound(samples, rate)


def heard_at(sound: Sound) -> float:
    loud = np.abs(sound.samples[0]) > 0.3
    return float(np.argmax(loud) / sound.rate)


def seen_at(path: Path) -> float:
    facts = media_facts(path)
    bright = [float(frame.float().mean()) for chunk in read_frames(path) for frame in chunk]
    return float(int(np.argmax(bright)) / facts.fps)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_pictures_and_sound_keep_time(tmp_path, fps):
    path = tmp_path / "a.mp4"
    write_video(path, flashes(fps), fps, quality=QUICK, sound=click(fps))
    with av.open(path) as container:
        frames = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        container.seek(0)
        sound = next(container.decode(audio=0))
        end = container.duration / av.time_base
    assert frames == [n / fps for n in range(round(3 * fps))]
    assert abs(sound.time) <= 1024 / 44100
    assert abs(heard_at(read_sound(path)) - seen_at(path)) <= 1024 / 44100
    assert end == pytest.approx(len(frames) / float(fps), abs=1024 / 44100 + 0.001)


@pytest.mark.parametrize("name", VIDEOS)
def test_a_kind_of_file_is_what_it_says(tmp_path, name):
    form, fps = FORMATS[name], Fraction(24000, 1001)
    path = tmp_path / f"a{form.suffix}"
    write_video(path, flashes(fps), fps, quality=QUICK, form=form, sound=click(fps), metadata=GRAPH)
    facts = media_facts(path)
    assert (facts.frames, facts.width, facts.height) == (72, 58, 34)
    assert (facts.codec, facts.fps, facts.constant) == (form.codec, fps, True)
    assert facts.start == 0
    with av.open(path) as container:
        (sound,) = container.streams.audio
        assert sound.codec_context.name.removeprefix("lib") == form.sound_codecs[0]
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert {name: json.loads(tags[name]) for name in GRAPH} == GRAPH
    assert abs(heard_at(read_sound(path)) - seen_at(path)) <= 0.025
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_an_animation_moves_and_repeats(tmp_path, name):
    fps, path = Fraction(10), tmp_path / f"a.{name}"
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (7, 5, 9, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    write_video(path, [frames], fps, form=FORMATS[name], metadata=GRAPH)
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.info["loop"]) == (7, 0)
        shown = []
        for n in range(7):
            picture.seek(n)
            shown.append(np.asarray(picture.convert("RGB"), dtype=int))
        assert np.abs(np.stack(shown) - frames).mean() < (40 if name == "gif" else 25)
        if name == "webp":
            exif = dict(picture.getexif())
            assert exif[0x0110] == "prompt:" + json.dumps(GRAPH["prompt"])
            assert exif[0x010F] == "workflow:" + json.dumps(GRAPH["workflow"])
    assert list(tmp_path.iterdir()) == [path]


def test_sound_of_a_file_goes_along(tmp_path):
    fps = Fraction(25)
    first, second, third = (tmp_path / name for name in ("a.mp4", "b.webm", "c.mp4"))
    write_video(first, flashes(fps), fps, quality=QUICK, sound=click(fps))
    write_video(second, flashes(fps), fps, quality=QUICK, form=FORMATS["webm vp9"], sound=first)
    copy_video(first, third, sound=click(fps, rate=8000, lit=2))
    for path, lit in ((first, 1), (second, 1), (third, 2)):
        assert heard_at(read_sound(path)) == pytest.approx(lit, abs=0.03), path.name
    assert read_sound(second).layout == "stereo"  # encoded anew
    assert same_pictures(first, third)


def same_pictures(first: Path, second: Path) -> bool:
    return all((a == b).all() for a, b in zip(read_frames(first), read_frames(second), strict=True))


def test_sound_that_begins_later_is_not_moved(tmp_path):
    """The copy counts from its first picture, and so does the sound."""
    source, path = (
        clip(tmp_path / "a.mp4", range(16, 40), Fraction(8), sound=True),
        tmp_path / "b.mp4",
    )
    copy_video(source, path)
    with av.open(path) as container:
        assert next(container.decode(video=0)).pts == 0


@pytest.mark.parametrize("name", ["mp4 h264", "mkv h264"])
def test_sound_stays_in_time_where_the_first_frame_is_late(tmp_path, name):
    """Copied in an mp4; in an mkv encoded anew, as Opus."""
    fps, form = Fraction(8), FORMATS[name]
    first, late, path = (tmp_path / name for name in ("a.mp4", "late.mp4", f"b{form.suffix}"))
    write_video(first, flashes(fps), fps, quality=QUICK, sound=click(fps))
    with av.open(first) as old, av.open(late, "w") as new:
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                by = round(5 / packet.time_base)
                packet.stream = copies[packet.stream_index]
                packet.pts, packet.dts = packet.pts + by, packet.dts + by
                new.mux(packet)
    assert media_facts(late).start > 0
    copy_video(late, path, form=form)
    assert heard_at(read_sound(path)) == pytest.approx(1, abs=0.03)
    assert seen_at(path) == 1


def test_a_copy_stops_at_cancel_and_leaves_nothing(tmp_path):
    source, packets = clip(tmp_path / "a.mp4", range(40)), []

    def check():
        packets.append(1)
        if len(packets) == 5:
            raise Signed

    with pytest.raises(Signed):
        copy_video(source, tmp_path / "b.mp4", check=check)
    assert len(packets) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_turned_video_is_still_turned_in_a_copy(tmp_path):
    source, path = clip(tmp_path / "a.mp4", rotation=90), tmp_path / "b.mp4"
    copy_video(source, path)
    assert media_facts(path).look.rotation == media_facts(source).look.rotation != 0


@pytest.mark.parametrize("count", [1, 2, 3, 12])
@pytest.mark.parametrize("name", ["mp4 h264", "mkv h264"])
def test_no_frame_of_a_matroska_file_is_lost(tmp_path, count, name):
    """It does not say when its first packets are decoded, where B-frames come after later ones."""
    source = clip(tmp_path / "a.mkv", range(count), sound=True)
    path = tmp_path / f"b{FORMATS[name].suffix}"
    with av.open(source) as container:
        assert any(packet.size and packet.dts is None for packet in container.demux(video=0))
    copy_video(source, path, form=FORMATS[name])
    with av.open(path) as container:
        assert sum(1 for _ in container.decode(video=0)) == count
    before_8_1_2 = av.library_versions["libavformat"] < (62, 12, 102)  # FFmpeg's own
    if before_8_1_2 and (count, path.suffix) == (2, ".mkv"):
        return  # it takes the rate of these two frames for 48, and shows three
    assert media_facts(path).frames == count
    assert same_pictures(source, path)


def test_what_cannot_be_copied_is_refused(tmp_path):
    with pytest.raises(InputError, match="is h264, which cannot be copied"):
        copy_video(clip(tmp_path / "a.mp4"), tmp_path / "b.webm", form=FORMATS["webm vp9"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_an_encoder_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"libx264", "gif"})
    with pytest.raises(
        InputError, match="needs the encoder libx265.* Choose from mp4 h264, mkv h264, gif"
    ):
        encoder_of(FORMATS["mp4 h265"])


@pytest.mark.parametrize(
    ("available", "side", "encoder"),
    [
        ({"libsvtav1", "libaom-av1"}, 64, "libsvtav1"),
        ({"libsvtav1", "libaom-av1"}, 62, "libaom-av1"),
        ({"libsvtav1"}, 62, "libsvtav1"),
        ({"libaom-av1"}, 64, "libaom-av1"),
    ],
)
def test_what_an_older_encoder_refuses_goes_to_the_other(monkeypatch, available, side, encoder):
    monkeypatch.setattr(av, "codecs_available", available)
    assert encoder_of(FORMATS["mp4 av1"], side) == encoder


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        (Quality(crf=52), "crf 52: mp4 h264 takes 0 to 51"),
        (Quality(crf=-2), "crf -2"),
        (Quality(preset="slowest"), "preset 'slowest': choose from ultrafast"),
    ],
)
def test_qualities_that_there_are_not_are_named(quality, message):
    with pytest.raises(InputError, match=message):
        check_quality(FORMATS["mp4 h264"], quality)


def test_a_lower_crf_is_a_larger_and_better_file(tmp_path):
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (9, 34, 58, 3), dtype=np.uint8)
    sizes = []
    for crf in (10, 30):
        path = tmp_path / f"{crf}.mp4"
        write_video(path, [frames], Fraction(8), quality=Quality(crf, "ultrafast"))
        sizes.append(path.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


class Signed(Exception):
    pass


def test_the_last_step_may_replace_the_file(tmp_path):
    seen = []

    def finish(whole: Path) -> Path:
        with av.open(whole) as container:
            assert sum(1 for _ in container.decode(video=0)) == 3
        assert whole.parent == tmp_path
        assert whole.name.startswith(".")
        assert whole.suffix == ".mp4"
        signed = whole.with_name(whole.stem + ".signed" + whole.suffix)
        signed.write_bytes(whole.read_bytes() + b"signature")
        seen.append(signed)
        return signed

    path = tmp_path / "a.mp4"
    write_video(path, flashes(3, 1), Fraction(3), finish=finish)
    assert path.read_bytes().endswith(b"signature")
    copy_video(path, tmp_path / "b.mp4", finish=lambda whole: whole)
    assert not (tmp_path / "b.mp4").read_bytes().endswith(b"signature")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_last_step_that_fails_leaves_nothing(tmp_path):
    def finish(whole):
        raise Signed

    with pytest.raises(Signed):
        write_video(tmp_path / "a.mp4", flashes(3, 1), Fraction(3), finish=finish)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kind", "size"), [("poster", (58, 34)), ("contact sheet", None)])
def test_a_still_stands_for_the_video(tmp_path, kind, size):
    path = tmp_path / "a.png"
    stream = Stream(map(torch_of, flashes(Fraction(8), seconds=3, lit=1.5)))
    write_still(path, stream, 24, Fraction(8), kind, GRAPH)
    with Image.open(path) as picture:
        assert json.loads(picture.text["workflow"]) == GRAPH["workflow"]
        if size:
            assert picture.size == size
            assert np.asarray(picture).min() == 255  # the middle frame is the white one
        else:
            assert picture.width > 6 * 192
    assert stream.closed


def torch_of(chunk):
    import torch

    return torch.from_numpy(chunk)


@pytest.mark.parametrize(
    ("rate", "stored"),
    [(8000, 8000), (9000, 11025), (44100, 44100), (50000, 64000), (192000, 48000)],
)
def test_a_sample_rate_that_aac_lacks_becomes_the_next_higher_one(tmp_path, rate, stored):
    path = tmp_path / "a.mp4"
    write_video(path, flashes(Fraction(8)), Fraction(8), quality=QUICK, sound=click(8, rate))
    assert read_sound(path).rate == stored
    assert heard_at(read_sound(path)) == pytest.approx(1, abs=2 * 1024 / stored)
