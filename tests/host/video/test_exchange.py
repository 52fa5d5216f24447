"""A VIDEO from our nodes into core's and back: the same frames, rate, sound and colours."""

import importlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from longtake.engine.container.formats import FORMATS, Quality
from longtake.engine.media.reader import media_facts, read_frames
from longtake.engine.media.sound import Sound
from longtake.engine.media.writer import write_video
from tests.engine.clips import read_sound

RATE = Fraction(24000, 1001)
FRAMES, LIT, SAMPLES = 36, 13, 44100  # a white frame, with a click while it is seen
CORE_READS_BT709 = int(av.__version__.split(".")[0]) >= 17  # older PyAVs leave it at BT.601
FLAT = [*range(4, 15), *range(24, 35), *range(44, 54)]  # columns away from where colours meet


def pictures() -> torch.Tensor:
    """Frames in [0, 1], each of three colours; the one at LIT is white."""
    steps = torch.linspace(0.1, 0.8, FRAMES).view(-1, 1, 1, 1)
    frames = torch.zeros(FRAMES, 34, 58, 3)
    frames[:, :, :19, 0], frames[:, :, 19:39, 1], frames[:, :, 39:, 2] = (
        part.squeeze(-1) for part in (steps, 1 - steps, steps)
    )
    frames[LIT] = 1
    return frames


def click() -> np.ndarray:
    samples = np.zeros((2, 2 * SAMPLES), np.float32)
    start = round(LIT / RATE * SAMPLES)
    samples[:, start : start + SAMPLES // 40] = 0.8
    return samples


def in_step(path: Path) -> bool:
    """Whether the white frame is where it was, and the click within 0.03 s of it."""
    bright = torch.cat(list(read_frames(path))).float().mean((1, 2, 3))
    sound = read_sound(path)
    heard = int(np.argmax(np.abs(sound.samples[0]) > 0.3)) / sound.rate
    return int(bright.argmax()) == LIT and abs(heard - float(LIT / RATE)) < 0.03


@pytest.fixture
def save(pack):
    return importlib.import_module("longtake.host.video.save")


@pytest.fixture
def ours(host):
    """A file as our nodes make it, in the input folder."""
    path = host.base / "input" / "ours.mp4"
    if not path.exists():
        chunk = pictures().mul(255).round().to(torch.uint8)
        write_video(path, [chunk], RATE, quality=Quality(4), sound=Sound(click(), SAMPLES))
    return path


def file_of(host, run, node: str = "save") -> Path:
    assert run.error is None, run.error
    (shown,) = run.ui[node]["images"]
    return host.base / "output" / shown["subfolder"] / shown["filename"]


def test_core_loads_what_we_save(host, ours):
    graph = {
        "load": {"class_type": "LoadVideo", "inputs": {"file": ours.name}},
        "parts": {"class_type": "GetVideoComponents", "inputs": {"video": ["load", 0]}},
    }
    images, audio, fps, *newer = host.run(graph, want=["parts"]).values["parts"]
    away = (images * 255 - torch.cat(list(read_frames(ours)))).abs()
    assert len(images) == FRAMES
    assert (
        away[:, :, FLAT].max() <= 3 or not CORE_READS_BT709
    )  # ComfyUI scales colours up in floats
    assert fps == pytest.approx(float(RATE))
    assert int((audio["waveform"][0, 0].abs() > 0.3).float().argmax()) / SAMPLES == pytest.approx(
        float(LIT / RATE), abs=0.03
    )
    assert newer in ([], [8, "sRGB"])  # bits and colours, which newer hosts tell


def test_core_saves_what_we_made_packet_for_packet(host, ours):
    graph = {
        "load": {"class_type": "LoadVideo", "inputs": {"file": ours.name}},
        "again": {"class_type": "LongtakeSaveVideo", "inputs": {"video": ["load", 0]}},
        "save": {
            "class_type": "SaveVideo",
            "inputs": {
                "video": ["again", 0],
                "filename_prefix": "exchange/core",
                "format": "auto",
                "codec": "auto",
            },
        },
    }
    graph["again"]["inputs"].update(
        filename_prefix="exchange/ours", format="mp4 h264", crf=-1, preset="medium", picture="none"
    )
    path = file_of(host, host.run(graph))

    def packets(file):
        with av.open(file) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(path) == packets(ours)
    assert media_facts(path).fps == RATE
    assert in_step(path)


@pytest.mark.parametrize("bits", [8, 10])
def test_we_save_what_core_creates(host, save, bits):
    """Ten bits are for whoever asks core for them: what we save, every player shows."""
    from comfy_api.latest import InputImpl, Types

    audio = {"waveform": torch.from_numpy(click())[None], "sample_rate": SAMPLES}
    parts = Types.VideoComponents(images=pictures(), audio=audio, frame_rate=RATE)
    try:
        video = InputImpl.VideoFromComponents(parts, **({"bit_depth": bits} if bits > 8 else {}))
    except TypeError:
        pytest.skip("this host's CreateVideo has no bit depth")
    path = save.save_video(video, "exchange/created", {}, save.SaveOptions(quality=Quality(4))).path
    facts = media_facts(path)
    assert (facts.fps, facts.pixel_format) == (RATE, "yuv420p")
    frames = torch.cat(list(read_frames(path)))
    away = (frames / 255 - pictures()).abs()
    assert len(frames) == FRAMES
    assert away[:, :, FLAT].max() < 0.04
    assert in_step(path)


def test_core_saves_a_part_of_what_we_made(host, ours):
    """Both read the same frames of it, before and after."""
    from comfy_api.latest import InputImpl

    if not hasattr(InputImpl.VideoFromFile, "as_trimmed"):
        pytest.skip("this host has no Trim Video")
    graph = {
        "load": {"class_type": "LoadVideo", "inputs": {"file": ours.name}},
        "trim": {
            "class_type": "Video Slice",
            "inputs": {
                "video": ["load", 0],
                "start_time": 0.25,
                "duration": 1.0,
                "strict_duration": False,
            },
        },
        "save": {
            "class_type": "SaveVideo",
            "inputs": {
                "video": ["trim", 0],
                "filename_prefix": "exchange/trimmed",
                "format": "auto",
                "codec": "auto",
            },
        },
        "again": {
            "class_type": "LongtakeSaveVideo",
            "inputs": {
                "video": ["trim", 0],
                "filename_prefix": "exchange/trimmed_too",
                "format": "mp4 h264",
                "crf": -1,
                "preset": "medium",
                "picture": "none",
            },
        },
    }
    run = host.run(graph)
    theirs, own = file_of(host, run), file_of(host, run, "again")
    first, second = (torch.cat(list(read_frames(path))).float() for path in (theirs, own))
    assert len(first) == len(second) == 24
    assert (first - second).abs().mean() < 2
    heard = [int(np.argmax(np.abs(read_sound(p).samples[0]) > 0.3)) for p in (theirs, own)]
    assert heard[0] == pytest.approx(heard[1], abs=SAMPLES / float(RATE))


def hdr(path: Path, transfer: int, codec: str = "libx265") -> Path:
    """Ten bits in BT.2020, as a camera or core's Save Video makes them."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 58, 34, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, transfer, 9
        stream.options = {"x265-params": "log-level=error"}
        for n in range(5):
            frame = np.full((34, 58, 3), 9000 * n, np.uint16)
            frame = av.VideoFrame.from_ndarray(frame, format="rgb48le")
            container.mux(stream.encode(frame.reformat(format="yuv420p10le", dst_colorspace=9)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("transfer", "name", "core"), [(16, "PQ", "HDR PQ"), (18, "HLG", "HDR")])
def test_hdr_is_kept_in_a_copy_and_said_where_it_is_not(host, save, tmp_path, transfer, name, core):
    from comfy_api.latest import InputImpl

    source = InputImpl.VideoFromFile(str(hdr(tmp_path / "a.mp4", transfer)))
    kept = save.save_video(source, "exchange/hdr", {}, save.SaveOptions(FORMATS["mp4 h265"]))
    assert "copied without loss" in kept.summary
    facts = media_facts(kept.path)
    assert (facts.look.colours.transfer, facts.pixel_format) == (name, "yuv420p10le")
    video = InputImpl.VideoFromFile(str(kept.path))
    if hasattr(video, "get_color_space"):
        assert (video.get_bit_depth(), video.get_color_space()) == (10, core)

    flat = save.save_video(source, "exchange/hdr", {})
    assert f"its {name} colours are brought into those of SDR" in flat.summary
    facts = media_facts(flat.path)
    assert (facts.look.colours.transfer, facts.pixel_format) == (None, "yuv420p")
