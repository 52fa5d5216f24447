"""Save Video: any VIDEO, any format, and what the browser shows of it."""

import io
import json
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from longtake.engine.container.formats import FORMATS
from longtake.engine.media.reader import crf_in, media_facts, read_frames
from longtake.models.errors import InputError, OutputError
from tests.engine.clips import clip, read_sound


@pytest.fixture(autouse=True)
def unsigned(monkeypatch):
    """Signing is tried elsewhere."""
    monkeypatch.setattr(
        "longtake.host.provenance.credentials.Signing.__call__", lambda self, whole: whole
    )


@pytest.fixture
def video(pack):
    import importlib

    return importlib.import_module("longtake.host.video.save")


def node_of(**inputs) -> dict:
    """A grey clip of 11 frames, 58 × 34, with sound, saved by our node."""
    save = {"video": ["video", 0], "filename_prefix": "formats/a", **inputs}
    nodes = {
        "clip": ("EmptyImage", {"width": 58, "height": 34, "batch_size": 11, "color": 0x6496C8}),
        "video": ("CreateVideo", {"images": ["clip", 0], "fps": 8.0}),
        "save": ("LongtakeSaveVideo", save),
    }
    return {key: {"class_type": kind, "inputs": values} for key, (kind, values) in nodes.items()}


def files(host, run) -> list:
    return [host.base / "output" / f["subfolder"] / f["filename"] for f in run.ui["save"]["files"]]


def hidden(folder) -> list:
    return [file for file in folder.rglob("*") if file.name.startswith(".")]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_saved_and_shown(host, name):
    run = host.run(node_of(format=name, crf=20, preset="ultrafast", picture="poster"))
    assert run.error is None
    path, picture = files(host, run)
    form = FORMATS[name]
    assert path.suffix == form.suffix
    assert picture == path.with_suffix(".png")
    if not form.animation:
        assert media_facts(path).frames == 11
    (shown,) = run.ui["save"]["images"]
    playable = form.suffix in (".webm", ".webp") or name in ("mp4 h264", "mp4 av1")
    assert bool(run.ui["save"].get("animated")) == playable
    assert shown["type"] == ("output" if playable or name == "gif" else "temp")
    with Image.open(picture) as still:
        assert still.size == (58, 34)
        assert json.loads(still.text["prompt"])["save"]["class_type"] == "LongtakeSaveVideo"
    assert not hidden(path.parent)


def made(host, inputs):
    run = host.run(node_of(**inputs))
    assert run.error is None
    return files(host, run)[0]


def test_what_is_as_asked_for_is_copied_and_the_rest_is_encoded_once(host, video, tmp_path):
    from comfy_api.latest import InputImpl

    from longtake.engine.container.formats import Quality
    from longtake.host.video.save import SaveOptions

    path = made(host, {"crf": 21, "preset": "veryfast"})
    assert crf_in(path) == 21
    source = InputImpl.VideoFromFile(str(path))
    packets = [bytes(packet) for packet in av.open(path).demux(video=0)]
    for options in (
        SaveOptions(),
        SaveOptions(quality=Quality(21, "slow")),
        SaveOptions(FORMATS["mkv h264"]),
    ):
        saved = video.save_video(source, "copied/a", {}, options)
        assert "copied without loss" in saved.summary
        if options.form.suffix == ".mp4":
            assert [bytes(packet) for packet in av.open(saved.path).demux(video=0)] == packets
    for options in (SaveOptions(quality=Quality(24)), SaveOptions(FORMATS["mp4 h265"])):
        saved = video.save_video(source, "copied/a", {}, options)
        assert "encoded at crf" in saved.summary
        assert media_facts(saved.path).codec == options.form.codec


@pytest.mark.parametrize(("dot", "flat"), [(0.0, True), (0.5, False)])
@pytest.mark.parametrize("form", ["mp4 h264", "webm vp9", "gif"])
def test_a_card_of_one_colour_is_saved_and_said(host, video, form, dot, flat):
    from comfy_api.latest import InputImpl, Types

    from longtake.host.video.save import SaveOptions

    images = torch.zeros(5, 34, 58, 3)
    images[2, 8:16, 8:16] = dot
    card = InputImpl.VideoFromComponents(
        Types.VideoComponents(images=images, frame_rate=Fraction(8))
    )
    saved = video.save_video(card, "cards/a", {}, SaveOptions(FORMATS[form]))
    assert saved.path.is_file()
    assert ("all of one colour" in saved.summary) == flat


def test_videos_of_every_origin_are_streamed(host, video, tmp_path):
    from comfy_api.latest import InputImpl

    path = clip(tmp_path / "a.mkv", range(13), Fraction(25), sound=False)
    in_memory = io.BytesIO(clip(tmp_path / "b.mp4", range(13), sound=True).read_bytes())
    for source, sound in ((str(path), False), (in_memory, True)):
        saved = video.save_video(InputImpl.VideoFromFile(source), "origins/a", {})
        assert media_facts(saved.path).frames == 13
        assert (read_sound(saved.path) is not None) == sound
        assert ("with sound" in saved.summary) == sound
    assert not list((host.base / "temp").glob("source*"))


def test_a_part_of_a_file_is_left_to_the_host(host, video, tmp_path):
    """In newer hosts a VideoFromFile may begin later; what it then is, only save_to knows."""
    from comfy_api.latest import InputImpl

    source = InputImpl.VideoFromFile(str(clip(tmp_path / "a.mp4")))
    whole = clip(tmp_path / "part.mp4", range(4)).read_bytes()
    source._VideoFromFile__start_time = 0.5
    source.save_to = lambda path, **_: Path(path).write_bytes(whole)
    saved = video.save_video(source, "parts/a", {})
    assert media_facts(saved.path).frames == 4


def cut_off(path: Path) -> Path:
    data = clip(path, range(40), options={"movflags": "faststart"}).read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


STRANGE = {  # what a stranger may hand over -> (frames, width, height) of what is saved, or words
    "no frame": (lambda p: clip(p, []), "has no (frames|video stream)"),
    "cut off": (cut_off, "is cut off"),
    "a rate that varies": (lambda p: clip(p, [0, 1, 2, 5, 6, 9]), (10, 38, 22)),
    "turned": (lambda p: clip(p, rotation=90), (9, 22, 38)),
    "ten bits": (lambda p: clip(p, pixels="yuv420p10le"), (9, 38, 22)),
    "transparent": (lambda p: clip(p, codec="png", pixels="rgba", muxer="mov"), (9, 38, 22)),
    "odd sides": (lambda p: clip(p, pixels="yuv444p", size=(37, 23)), (9, 38, 24)),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("crf", [None, 30], ids=["as it is", "encoded"])
def test_files_of_strangers_are_saved_right_or_refused_in_a_line(host, video, tmp_path, kind, crf):
    from comfy_api.latest import InputImpl

    from longtake.engine.container.formats import Quality
    from longtake.host.video.save import SaveOptions

    make, expected = STRANGE[kind]
    source, options = (
        InputImpl.VideoFromFile(str(make(tmp_path / "a.mp4"))),
        SaveOptions(quality=Quality(crf)),
    )
    before = set((host.base / "output").rglob("*.*"))
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as refused:
            video.save_video(source, "strange", {}, options)
        assert "\n" not in str(refused.value)
        assert set((host.base / "output").rglob("*.*")) == before
        return
    saved = media_facts(video.save_video(source, "strange", {}, options).path)
    assert (saved.frames, saved.width, saved.height) == expected
    assert (saved.codec, saved.pixel_format) == ("h264", "yuv420p")  # which every player knows


def test_sides_that_are_odd_are_made_even(host):
    nodes = node_of()
    nodes["clip"]["inputs"].update(width=57, height=33)
    (path,) = files(host, host.run(nodes))
    (picture, *_) = read_frames(path)
    assert picture.shape[1:] == (34, 58, 3)
    assert np.abs(picture.numpy().astype(int) - [0x64, 0x96, 0xC8]).max() <= 3


def test_sound_that_is_connected_replaces_the_videos_own(host, video):
    from comfy_api.latest import InputImpl, Types

    from longtake.host.video.footage import sound_from
    from longtake.host.video.save import SaveOptions

    def audio(level, seconds):
        return {"waveform": torch.full((1, 2, seconds * 8000), level), "sample_rate": 8000}

    parts = Types.VideoComponents(torch.zeros(16, 34, 58, 3), Fraction(8), audio(0.1, 9))
    source = InputImpl.VideoFromComponents(parts)
    own = read_sound(video.save_video(source, "sound/a", {}).path)
    new = video.save_video(source, "sound/a", {}, SaveOptions(sound=sound_from(audio(0.6, 1)))).path
    assert own.seconds == pytest.approx(2, abs=2 * 1024 / 8000)
    assert abs(own.samples[:, 4000:8000].mean() - 0.1) < 0.02
    assert abs(read_sound(new).samples[:, 2000:6000].mean() - 0.6) < 0.05
    with pytest.raises(InputError, match="audio holds no waveform"):
        sound_from({"waveform": None})


def test_nothing_is_kept_of_what_a_file_said_when_the_host_says_so(
    host, video, tmp_path, monkeypatch
):
    from comfy_api.latest import InputImpl

    from longtake.engine.media.writer import write_video

    path = tmp_path / "a.mp4"
    chunk = torch.zeros(3, 16, 16, 3, dtype=torch.uint8)
    write_video(path, [chunk], Fraction(8), metadata={"prompt": "a secret"})
    source = InputImpl.VideoFromFile(str(path))
    assert b"a secret" in video.save_video(source, "kept/a", {}).path.read_bytes()
    monkeypatch.setattr("comfy.cli_args.args.disable_metadata", True)
    assert b"a secret" not in video.save_video(source, "kept/a", {}).path.read_bytes()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"format": "mp5"}, "format 'mp5': choose from mp4 h264"),
        ({"crf": 64}, "crf 64: choose a whole number from -1 to 63"),
        ({"format": "mp4 h264", "crf": 52}, "crf 52: mp4 h264 takes 0 to 51"),
        ({"crf": 1.5}, None),  # ComfyUI makes it 1
        ({"preset": "placebo"}, "preset 'placebo': choose from ultrafast"),
        ({"picture": "icon"}, "picture 'icon': choose from none"),
        ({"filename_prefix": "taken/a"}, "'taken' is not a folder"),
        ({"filename_prefix": "out/a"}, "leads out of the output folder"),
    ],
)
@pytest.mark.usefixtures("links")
def test_what_cannot_be_is_refused_before_anything_runs(host, inputs, message, tmp_path):
    output = host.base / "output"
    (output / "taken").write_bytes(b"")
    if not (output / "out").is_symlink():
        (output / "out").symlink_to(tmp_path, target_is_directory=True)
    refusal = host.refusal(node_of(**inputs))
    (output / "taken").unlink()
    assert refusal is None if message is None else message in refusal


def test_a_full_disk_is_reported_before_anything_runs(host, monkeypatch):
    class Usage:
        free = 40 * 2**20

    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", lambda folder: Usage)
    assert "has 40 MiB free" in host.refusal(node_of())


@pytest.mark.parametrize("where", ["while encoding", "while copying", "at the end"])
def test_a_disk_that_fails_leaves_no_stub_and_the_next_save_works(host, video, monkeypatch, where):
    from comfy_api.latest import InputImpl

    from longtake.host.video.save import SaveOptions

    source = made(host, {})
    before = set((host.base / "output").rglob("*"))
    failing = {
        "while encoding": ("longtake.engine.media.writer.mux", FORMATS["webm vp9"]),
        "while copying": ("longtake.engine.container.remux.mux", FORMATS["mp4 h264"]),
        "at the end": ("longtake.engine.container.publish.os.fsync", FORMATS["gif"]),
    }
    target, form = failing[where]

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    video_of = InputImpl.VideoFromFile(str(source))
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(OutputError, match="No space left on device"):
            video.save_video(video_of, "formats/b", {}, SaveOptions(form))
    assert set((host.base / "output").rglob("*")) == before
    assert video.save_video(video_of, "formats/b", {}, SaveOptions(form)).path.exists()


@pytest.mark.parametrize("name", ["mp4 h264", "webm vp9", "gif"])
def test_cancel_stops_every_stage_and_leaves_nothing(host, video, monkeypatch, name):
    """Cancelled while it decodes a file ahead, encodes, or draws an animation."""
    import comfy.model_management as mm
    from comfy_api.latest import InputImpl

    from longtake.engine.container.formats import Quality
    from longtake.host.video.save import SaveOptions

    source = InputImpl.VideoFromFile(str(made(host, {"crf": 30})))
    before = set(host.base.rglob("*"))
    seen = []

    def cancel(*_):
        seen.append(threading.get_ident())
        if len(seen) == 6:
            mm.interrupt_current_processing(True)
        mm.throw_exception_if_processing_interrupted()

    monkeypatch.setattr(video, "check_cancelled", cancel)
    monkeypatch.setattr("longtake.host.comfyui.progress.check_cancelled", cancel)
    options = SaveOptions(FORMATS[name], Quality(crf=25, preset="ultrafast"), picture="poster")
    with pytest.raises(mm.InterruptProcessingException):
        video.save_video(source, "cancelled/a", {}, options)
    # ComfyUI interrupts one thread, which looks no more: not one more frame. The node's thread and
    # the encoder's both look, and the other may have been about to.
    assert seen[5:].count(seen[5]) == 1
    assert len(seen) <= 8
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()
    assert {p for p in set(host.base.rglob("*")) - before if p.is_file()} == set()


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_an_animation_of_a_file_says_how_it_was_read(host, video, tmp_path, name):
    from comfy_api.latest import InputImpl

    from longtake.host.video.save import SaveOptions

    clip(tmp_path / "a.mov", codec="png", pixels="rgba", muxer="mov", alpha=51)
    source = InputImpl.VideoFromFile(str(tmp_path / "a.mov"))
    saved = video.save_video(source, "clear/a", {}, SaveOptions(FORMATS[name]))
    assert "what is transparent became black" in saved.summary


def threads() -> list:
    return [t for t in threading.enumerate() if t.name.startswith("longtake-")]


def test_sound_without_a_sample_is_none(host, monkeypatch):
    import torch
    from comfy_api.latest import InputImpl, Types

    from longtake.host.video.footage import heard, open_video

    empty = {"waveform": torch.zeros(1, 2, 0), "sample_rate": 44100}
    assert heard(empty) is None
    pictures = torch.rand(3, 48, 64, 3)
    components = Types.VideoComponents(images=pictures, audio=empty, frame_rate=8)
    with open_video(InputImpl.VideoFromComponents(components)) as footage:
        assert footage.sound is None
