"""A VIDEO that ComfyUI has trimmed is read at its source: what ComfyUI shows, not encoded."""

import importlib
import io
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
from longtake.models.errors import InputError
from tests.engine.clips import clip, level, read_sound

RATE, FRAMES = 8000, 50  # samples a second; 2 s of frames at 25 a second
WINDOWS = {  # (start, seconds), both as Trim Video takes them
    "to the end": (0.5, 0.0),
    "a middle": (0.48, 0.4),
    "between frames": (0.499, 0.261),
    "the last half second": (-0.5, 0.0),
    "before the beginning": (-9.0, 0.2),
    "from the beginning": (0.0, 0.3),
    "longer than the file": (1.6, 7.0),
    "one frame": (1.0, 0.002),
}


@pytest.fixture
def footage(pack):
    return importlib.import_module("longtake.host.video.footage")


@pytest.fixture
def save(pack):
    return importlib.import_module("longtake.host.video.save")


@pytest.fixture
def trimmed(comfyui, monkeypatch):
    """What Trim Video gives; a host without one gets a file that says the same of itself."""
    from comfy_api.latest import InputImpl

    def trim(source, start, seconds):
        video = InputImpl.VideoFromFile(source)
        if hasattr(video, "as_trimmed"):
            return video.as_trimmed(start, seconds, strict_duration=False)
        video._VideoFromFile__start_time, video._VideoFromFile__duration = start, seconds
        begin = start if start >= 0 else max(0.0, video.get_duration() + start)
        monkeypatch.setattr(type(video), "get_active_trim_window", windows, raising=False)
        told[id(video)] = (begin, seconds)
        return video

    def windows(video):
        return told[id(video)]

    def transcode(*_, **__):
        raise AssertionError("ComfyUI was asked to encode it")

    told = {}
    monkeypatch.setattr(InputImpl.VideoFromFile, "save_to", transcode)
    return trim


def swell() -> Sound:
    """A tone whose loudness says when it is heard: from 0 at 0 s to 0.9 at 2 s."""
    times = np.arange(2 * RATE, dtype=np.float32) / RATE
    samples = 0.45 * times * np.sin(2 * np.pi * 500 * times)
    return Sound(np.stack([samples, samples]).astype(np.float32), RATE)


def film(path: Path) -> Path:
    """Two seconds at 25 a second, a keyframe each; frame n has the grey of `level(n)`."""
    shades = torch.tensor([level(n) for n in range(FRAMES)], dtype=torch.uint8)
    chunk = shades.view(-1, 1, 1, 1).expand(-1, 34, 58, 3)
    form = FORMATS[f"{path.suffix[1:]} h264"]
    write_video(path, [chunk], Fraction(25), form=form, quality=Quality(4), sound=swell())
    return path


def numbers(frames: torch.Tensor) -> list[int]:
    """Which frame of the film each is, but for multiples of 32."""
    shades = frames.float().mean((1, 2, 3)).tolist()
    return [round((shade - level(0)) / 7) for shade in shades]


def shown(path: Path, start: float, seconds: float) -> list[int]:
    """The numbers of the frames whose time is in a window, by ComfyUI's rule."""
    with av.open(path) as container:
        tick, length = container.streams.video[0].time_base, container.duration / av.time_base
        times = sorted(frame.pts for frame in container.decode(video=0))
    start = start if start >= 0 else max(0.0, length + start)
    first, last = int(start / tick), int((start + seconds) / tick)
    return [n for n, t in enumerate(times) if t >= first and (not seconds or t < last)]


@pytest.mark.parametrize("kind", ["path", "bytes"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("window", WINDOWS)
def test_it_has_the_frames_that_comfyui_shows(footage, trimmed, tmp_path, window, suffix, kind):
    path = film(tmp_path / f"a{suffix}")
    source = str(path) if kind == "path" else io.BytesIO(path.read_bytes())
    video = trimmed(source, *WINDOWS[window])
    expected = shown(path, *WINDOWS[window])
    with footage.open_video(video) as part:
        frames = torch.cat(list(part.stream()))
        assert part.frames == len(frames) == len(expected)
        assert part.file is None
        assert torch.equal(frames, torch.cat(list(read_frames(path)))[expected])
    if hasattr(type(video), "as_trimmed"):
        core = video.get_components()
        assert core.images.shape == frames.shape
        assert part.fps == core.frame_rate
        assert (core.images[..., :3] * 255 - frames).abs().max() <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("window", ["to the end", "between frames", "longer than the file"])
def test_its_sound_is_that_of_its_frames(save, trimmed, tmp_path, window, suffix):
    path = film(tmp_path / f"a{suffix}")
    expected = shown(path, *WINDOWS[window])
    saved = save.save_video(trimmed(str(path), *WINDOWS[window]), "trimmed/a", {})
    assert "encoded at crf" in saved.summary
    pictures = torch.cat(list(read_frames(saved.path)))
    assert numbers(pictures) == [n % 32 for n in expected]
    sound = read_sound(saved.path)
    assert sound.seconds == pytest.approx(len(expected) / 25, abs=2 * 1024 / sound.rate)
    at = slice(round(0.1 * sound.rate), round(0.14 * sound.rate))
    loudness = np.sqrt(2 * (sound.samples[0, at] ** 2).mean())
    assert loudness == pytest.approx(0.45 * (expected[0] / 25 + 0.12), abs=0.01)  # 0.02 s


def test_a_file_that_begins_late_is_trimmed_by_its_own_clock(footage, trimmed, tmp_path):
    path = clip(tmp_path / "a.mkv", range(10, 40), Fraction(10))
    facts = media_facts(path)
    assert facts.start > 0
    with footage.open_video(trimmed(str(path), 2.0, 0.5)) as part:
        frames = torch.cat(list(part.stream()))
    assert torch.equal(frames, torch.cat(list(read_frames(path)))[10:15])


def test_a_rate_that_varies_is_trimmed_by_time(footage, trimmed, tmp_path):
    path = clip(tmp_path / "a.mp4", [0, 1, 2, 3, 8, 9, 10, 11], Fraction(8))
    whole = torch.cat(list(read_frames(path)))
    fps = media_facts(path).fps
    with footage.open_video(trimmed(str(path), 0.5, 0.75)) as part:
        first = -(-fps // 2)
        assert torch.equal(torch.cat(list(part.stream())), whole[first : first + part.frames])
        assert part.frames == pytest.approx(0.75 * float(fps), abs=1)


def test_a_part_without_frames_is_refused(footage, trimmed, tmp_path):
    path = film(tmp_path / "a.mp4")
    with (
        pytest.raises(InputError, match=r"a\.mp4 from 1\.97 s on for 0\.02 s.*lasts 2\.00 s"),
        footage.open_video(trimmed(str(path), 1.97, 0.02)),
    ):
        pass


@pytest.mark.parametrize("form", ["gif", "mkv h264", "mp4 h265"])
def test_every_format_is_made_of_the_part(save, trimmed, tmp_path, form):
    video = trimmed(str(film(tmp_path / "a.mp4")), 0.4, 0.6)
    path = save.save_video(video, "trimmed/b", {}, save.SaveOptions(FORMATS[form])).path
    assert numbers(torch.cat(list(read_frames(path)))) == list(range(10, 25))


def test_what_is_cropped_as_well_is_left_to_the_host(footage, comfyui, tmp_path):
    """A crop has no getter in any host: what it leaves of a frame, only save_to knows."""
    from comfy_api.latest import InputImpl

    made = clip(tmp_path / "part.mp4", range(4)).read_bytes()
    video = InputImpl.VideoFromFile(str(film(tmp_path / "a.mp4")))
    video._VideoFromFile__start_time, video._VideoFromFile__crop = 0.5, (0, 0, 8, 8)
    video.save_to = lambda path, **_: Path(path).write_bytes(made)
    with footage.open_video(video) as part:
        assert (part.frames, part.width) == (4, 38)


def test_pictures_in_memory_are_looked_at_for_cancel_a_few_at_a_time(footage, monkeypatch):
    looks = []
    monkeypatch.setattr(footage, "check_cancelled", lambda: looks.append(1))
    clip = footage.footage_of(torch.rand(20, 4, 4, 3), Fraction(8))
    assert len([*clip.stream()]) == len(looks) == 3
