"""The file is whole or not there, and says what it holds."""

import errno
import json
import math
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from longtake.engine.container import remux
from longtake.engine.container.audio import packets_of
from longtake.engine.container.formats import FORMATS
from longtake.engine.container.publish import (
    claim,
    hidden_file,
    publish,
    video_bytes,
    writing_bytes,
)
from longtake.engine.frames import prefetch
from longtake.engine.media import writer
from longtake.engine.media.reader import read_frames
from longtake.engine.media.sound import sound_frame
from longtake.engine.media.writer import Quality, copy_video, write_video
from longtake.models.errors import InputError, OutputError
from pack import ROOT
from tests.engine.streams import Stream

FPS = Fraction(8)
RATES = [Fraction(8), Fraction(24000, 1001), Fraction(24), Fraction(30000, 1001), Fraction(60)]
QUICK = Quality(crf=10, preset="ultrafast")


def ramp(frames, height=34, width=58, chunk=5):
    """Each frame is of one grey, the next a little lighter."""
    for start in range(0, frames, chunk):
        levels = torch.arange(start, min(start + chunk, frames), dtype=torch.uint8)
        yield (20 + 3 * levels).view(-1, 1, 1, 1).expand(-1, height, width, 3).contiguous()


def frames_of(path):
    """(frames, h, w, 3) uint8, and the time of each frame."""
    with av.open(path) as container:
        decoded = list(container.decode(video=0))
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
        return pictures, [frame.pts * frame.time_base for frame in decoded]


def boxes(path):
    """The names of an mp4's top-level boxes, in order."""
    names, at, data = [], 0, path.read_bytes()
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("frames", [1, 2, 31])
def test_every_frame_arrives_on_time(tmp_path, fps, frames):
    path = tmp_path / "a.mp4"

    write_video(path, ramp(frames), fps, quality=QUICK)

    pictures, times = frames_of(path)
    assert pictures.shape == (frames, 34, 58, 3)
    assert np.abs(pictures.mean((1, 2, 3)) - (20 + 3 * np.arange(frames))).max() < 1.5
    assert times == [n / fps for n in range(frames)]
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate) == (frames, fps)
        assert container.duration == pytest.approx(frames / fps * 1_000_000, abs=1000)
    assert boxes(path) == ["ftyp", "moov", "free", "mdat"]  # the index before the pictures
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_the_same_frames_are_the_same_file_on_every_cpu(tmp_path, monkeypatch):
    """By itself x264 makes another where there is AVX2, and now this, now that with AVX-512."""
    generator = torch.Generator().manual_seed(3)
    wide = torch.randint(0, 256, (1, 3, 96, 120), generator=generator).float()
    smooth = torch.nn.functional.avg_pool2d(wide, 9, 1, 4).movedim(1, -1)
    frames = torch.cat([smooth[:, :, i : i + 80] for i in range(33)]).byte()
    write_video(tmp_path / "here.mp4", [frames], FPS)
    options = writer.encoder_options

    def without_kernels(*given):
        chosen = options(*given)
        return {**chosen, "x264-params": chosen.get("x264-params", "threads=2") + ":asm=0"}

    monkeypatch.setattr(writer, "encoder_options", without_kernels)
    write_video(tmp_path / "old.mp4", [frames], FPS)
    assert (tmp_path / "here.mp4").read_bytes() == (tmp_path / "old.mp4").read_bytes()


def test_colours_come_back(tmp_path):
    path = tmp_path / "a.mp4"
    colours = np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 128, 0], [0, 0, 0], [255, 255, 255]]
    )
    chunk = np.broadcast_to(colours[:, None, None], (6, 32, 48, 3)).astype(np.uint8)

    write_video(path, [chunk], FPS, quality=Quality(crf=4, preset="ultrafast"))

    pictures = torch.cat(list(read_frames(path))).numpy()
    assert np.abs(pictures.astype(int) - colours[:, None, None]).max() <= 3
    with av.open(path) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc)
        assert tags == (1, 1, 1)  # BT.709, all three
        assert context.color_range == 1  # 16 … 235
        assert context.pix_fmt == "yuv420p"


def test_the_graph_travels_in_the_file_and_in_copies_of_it(tmp_path):
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    workflow = {"nodes": [{"title": "Sëhr läng"}], "n": 7}

    write_video(first, ramp(9), FPS, metadata={"workflow": workflow, "note": "kept"})
    copy_video(first, second, metadata={"workflow": {"n": 8}, "prompt": "{}"})

    with av.open(first) as container:
        assert json.loads(container.metadata["workflow"]) == workflow
    with av.open(second) as container:
        assert json.loads(container.metadata["workflow"]) == {"n": 8}
        assert (container.metadata["note"], container.metadata["prompt"]) == ("kept", "{}")
    assert boxes(second) == boxes(first)
    before, after = frames_of(first), frames_of(second)
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]


def test_nothing_is_said_that_was_not_given(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, ramp(3), FPS)
    with av.open(path) as container:
        assert not {"workflow", "prompt"} & set(container.metadata)
    assert str(tmp_path).encode() not in path.read_bytes()


def test_sound_alone_is_not_a_video(tmp_path):
    sound = tmp_path / "a.m4a"
    with av.open(sound, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"a\.m4a has no video stream"):
        copy_video(sound, tmp_path / "a.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["a.m4a"]


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"somebody's")

    with pytest.raises(OutputError, match=r"a\.mp4 exists already"):
        write_video(path, ramp(3), FPS)

    assert path.read_bytes() == b"somebody's"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "a.mp4"

    def chunks():
        yield from ramp(3)
        path.write_bytes(b"somebody's")

    with pytest.raises(OutputError, match="exists already"):
        write_video(path, chunks(), FPS)
    assert path.read_bytes() == b"somebody's"
    assert len(list(tmp_path.iterdir())) == 1


def test_without_hard_links_it_is_renamed(tmp_path, monkeypatch):
    """Also where another program holds the new file for a moment, as on Windows."""
    held, rename = [PermissionError(errno.EACCES, "held")] * 2, Path.rename

    def link(*_):
        raise OSError("no hard links here")

    def patient_rename(file, path):
        if held:
            raise held.pop()
        return rename(file, path)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(Path, "rename", patient_rename)
    path = tmp_path / "a.mp4"
    write_video(path, ramp(3), FPS)
    assert len(frames_of(path)[0]) == 3
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OutputError, match="exists already"):
        write_video(path, ramp(3), FPS)


class Cancelled(Exception):
    """Stands for ComfyUI's interruption."""


def cancelled_after(frames):
    yield from ramp(frames)
    raise Cancelled


@pytest.mark.parametrize("frames", [0, 1, 40])
def test_cancel_leaves_nothing(tmp_path, frames):
    with pytest.raises(Cancelled):
        write_video(tmp_path / "a.mp4", cancelled_after(frames), FPS)
    assert not list(tmp_path.iterdir())


def test_what_an_encoder_held_back_is_made_packet_by_packet(tmp_path):
    """Of large frames each takes a second, and Cancel is looked for between packets."""
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        black = av.VideoFrame(64, 64, "yuv420p")
        for black.pts in range(6):
            assert not [*packets_of(stream, black)]
        rest = packets_of(stream, None)
        first = next(rest)
        assert first.stream is stream
        assert len([*rest]) == 5


def cancel(*_):
    raise Cancelled


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


LARGER = np.zeros((1, 36, 58, 3), np.uint8)
FAULTS = {
    "cancelled at a frame": ({"check": cancel}, Cancelled),
    "a stage before fails": ({"chunks": cancelled_after(7)}, Cancelled),
    "another size": ({"chunks": [*ramp(7), LARGER]}, InputError),
    "not one frame": ({"chunks": []}, InputError),
    "not signed": ({"finish": cancel}, Cancelled),
    "a full disk": ({"finish": full}, OutputError),
    "a taken name": ({"path": "taken.mp4"}, OutputError),
    "no folder": ({"path": "nowhere/a.mp4"}, OutputError),
    "no sound in the file": ({"sound": "taken.mp4"}, InputError),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_an_error_the_stream_is_closed_and_nothing_is_left(tmp_path, fault):
    """While the error is still at hand: its traceback alone would keep the stream alive."""
    options, error = FAULTS[fault]
    (tmp_path / "taken.mp4").write_bytes(b"somebody's")
    options = {"path": "a.mp4", "chunks": ramp(7), **options}
    options |= {key: tmp_path / options[key] for key in ("path", "sound") if key in options}
    stream = Stream(options.pop("chunks"))
    with pytest.raises(error) as raised:
        write_video(chunks=stream, fps=FPS, quality=QUICK, **options)
    assert stream.closed
    assert [file.name for file in tmp_path.iterdir()] == ["taken.mp4"]
    assert raised.value.__traceback__


def test_a_stream_is_closed_at_its_end(tmp_path):
    stream = Stream(ramp(7))
    write_video(tmp_path / "a.mp4", stream, FPS, quality=QUICK)
    assert stream.closed


def test_an_encoder_that_is_missing_closes_the_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", set())
    stream = Stream(ramp(7))
    with pytest.raises(InputError, match="needs the encoder"):
        write_video(tmp_path / "a.mp4", stream, FPS)
    assert stream.closed


@pytest.mark.parametrize(("error", "kept"), [(Cancelled, Cancelled), (InputError, InputError),
                                             (OSError, OutputError)])  # fmt: skip
def test_a_hidden_file_is_removed_whatever_happens(tmp_path, error, kept):
    with pytest.raises(kept), hidden_file(tmp_path / "a.mp4", "part", ".mp4") as part:  # noqa: PT012
        part.write_bytes(b"half")
        raise error("reason")
    assert not list(tmp_path.iterdir())


def test_a_signed_copy_is_removed_if_it_cannot_get_the_name(tmp_path):
    whole, path = tmp_path / ".whole.mp4", tmp_path / "a.mp4"
    whole.write_bytes(b"plain"), path.write_bytes(b"somebody's")

    def finish(file):
        signed = file.with_name(".signed.mp4")
        signed.write_bytes(file.read_bytes() + b", signed")
        return signed

    with pytest.raises(OutputError, match="exists already"):
        publish(whole, path, finish)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".whole.mp4", "a.mp4"]
    assert path.read_bytes() == b"somebody's"


def test_a_minute_of_720p_is_estimated_at_forty_megabytes():
    """And takes twice that while its index is put first."""
    assert video_bytes(1441, 1280, 720) == 41_500_800
    assert writing_bytes(1441, 1280, 720) == 2 * video_bytes(1441, 1280, 720)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder cannot be flushed")
def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """And its folder's entry after that: no power cut leaves a name without its content."""
    steps, path = [], tmp_path / "a.mp4"
    fsync, link = os.fsync, os.link

    def flush(number):
        steps.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "link", lambda *names: steps.append("name") or link(*names))
    write_video(path, ramp(3), FPS, quality=QUICK)
    assert steps == ["file", "name", "folder"]


def test_of_names_the_first_free_one_is_claimed(tmp_path):
    file, names = tmp_path / ".ready.mp4", [tmp_path / f"{n}.mp4" for n in range(3)]
    file.write_bytes(b"ours"), names[0].write_bytes(b"somebody's")
    assert claim(file, names) == names[1]
    assert [name.read_bytes() for name in names[:2]] == [b"somebody's", b"ours"]
    assert not file.exists()
    file.write_bytes(b"again")
    with pytest.raises(OutputError, match="every name"):
        claim(file, names[:2])
    assert file.exists()


def test_a_file_that_has_its_name_may_keep_the_hidden_one(tmp_path, held):
    file, path = tmp_path / ".ready.mp4", tmp_path / "a.mp4"
    file.write_bytes(b"film")
    held("unlink")
    assert claim(file, [path]) == path
    assert path.read_bytes() == b"film"


@pytest.fixture
def disks(tmp_path, monkeypatch):
    """Two folders on different disks: neither links nor renames lead from one to the other."""
    folders = tmp_path / "temp", tmp_path / "output"
    for folder in folders:
        folder.mkdir()

    def apart(real):
        def call(source, target, **more):
            if Path(source).parent != Path(target).parent:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return real(source, target, **more)

        return call

    for name in ("link", "rename", "replace"):
        monkeypatch.setattr(os, name, apart(getattr(os, name)))
    return folders


def test_a_file_is_claimed_across_disks(disks, monkeypatch):
    temp, output = disks
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd)), real(fd)))
    (temp / "film.mp4").write_bytes(b"film")
    (output / "a_1.mp4").write_bytes(b"another")
    path = claim(temp / "film.mp4", [output / "a_1.mp4", output / "a_2.mp4"])
    assert {file.name: file.read_bytes() for file in output.iterdir()} == {
        "a_1.mp4": b"another",
        "a_2.mp4": b"film",
    }
    assert path == output / "a_2.mp4"
    assert not list(temp.iterdir())
    assert any(stat.S_ISREG(found.st_mode) and found.st_size == 4 for found in synced)


def test_a_full_disk_leaves_the_film_on_the_other(disks, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    temp, output = disks
    (temp / "film.mp4").write_bytes(b"film")
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OutputError, match=r"a\.mp4 cannot be written: No space left"):
        claim(temp / "film.mp4", [output / "a.mp4"])
    assert (temp / "film.mp4").exists()
    assert not list(output.iterdir())


def test_a_name_is_waited_for_while_another_program_holds_the_file(tmp_path, held):
    for name in ("link", "unlink"):
        held(name, times=3)
    held("rename")  # it would overwrite what is there
    write_video(tmp_path / "a.mp4", ramp(3), FPS, quality=QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_hidden_file_that_cannot_be_deleted_costs_no_video(tmp_path, held):
    def finish(file):
        return Path(shutil.copy(file, file.with_name(".signed.mp4")))

    held("unlink")
    write_video(tmp_path / "a.mp4", ramp(3), FPS, quality=QUICK, finish=finish)
    assert (tmp_path / "a.mp4").exists()


def test_a_hidden_file_that_cannot_be_deleted_hides_no_error(tmp_path, held):
    def write():
        with hidden_file(tmp_path / "a.mp4", "part", ".mp4") as file:
            file.touch()
            raise OSError(errno.EIO, "the first error")

    held("unlink")
    with pytest.raises(OutputError, match="cannot be written: the first error"):
        write()


@pytest.mark.parametrize("form", ["mp4 h264", "mp4 av1", "webm vp9", "gif"])
def test_odd_sides_are_refused_in_words_that_hold_for_every_format(tmp_path, form):
    form = FORMATS[form]
    with pytest.raises(InputError, match="must be even. Nearest: 4×2") as refused:
        write_video(
            tmp_path / f"a{form.suffix}", [np.zeros((1, 3, 5, 3), np.uint8)], FPS, form=form
        )
    assert "h264" not in str(refused.value)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "at least 1 frame"),
        ([np.zeros((0, 4, 4, 3), np.uint8)], "at least 1 frame"),
        ([np.zeros((1, 4, 4, 3), np.float32)], "must be uint8 .* not float32"),
        ([np.zeros((1, 3, 4, 4), np.uint8)], r"shape \(1, 3, 4, 4\)"),
        ([np.zeros((1, 5, 4, 3), np.uint8)], "4×5 .* Nearest: 4×4"),
        ([np.zeros((1, 4, 1, 3), np.uint8)], "1×4 .* Nearest: 2×4"),
        ([np.zeros((1, 4, 6, 3), np.uint8), np.zeros((1, 6, 4, 3), np.uint8)], "4×6 .* of 6×4"),
    ],
)
def test_frames_that_cannot_be_written_are_refused(tmp_path, chunks, message):
    with pytest.raises(InputError, match=message):
        write_video(tmp_path / "a.mp4", chunks, FPS)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"a\.mp4 cannot be written: No such file"):
        write_video(tmp_path / "nowhere" / "a.mp4", ramp(3), FPS)


WRITER = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np

sys.path.append(sys.argv[1])
from pack import register

register()
from longtake.engine.media.writer import write_video

def chunks():
    noise = np.random.default_rng(0)
    for n in range(int(sys.argv[3])):
        yield noise.integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
        print(n, flush=True)

write_video(Path(sys.argv[2]), chunks(), Fraction(8))
"""


def writing(path, seconds, **options):
    """Another process that writes so many seconds of noise, and prints a line after each."""
    command = [sys.executable, "-c", WRITER, str(ROOT), str(path), str(seconds)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_kill_leaves_a_part_that_plays_and_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with writing(path, seconds=10_000) as process:
        for _ in range(20):
            assert process.stdout.readline()
        process.kill()
        process.wait()

    assert not path.exists()
    (part,) = tmp_path.iterdir()
    pictures, times = frames_of(part)
    assert len(pictures) >= 20 * 8 - 8  # all but the last second
    assert times == [n / FPS for n in range(len(times))]
    copy_video(part, path)  # and can be rescued
    assert np.array_equal(frames_of(path)[0], pictures)


def test_killed_at_any_moment_the_video_is_whole_or_not_there(tmp_path):
    path = tmp_path / "a.mp4"
    with writing(path, seconds=2) as process:
        process.stdout.readline()
        started = time.monotonic()
        process.wait()
        rest = time.monotonic() - started
    assert len(frames_of(path)[0]) == 16
    for moment in np.linspace(0, 1.1, 6):
        path.unlink(missing_ok=True)
        with writing(path, seconds=2) as process:
            process.stdout.readline()
            time.sleep(moment * rest)
            process.kill()
            process.wait()
        if path.exists():
            assert len(frames_of(path)[0]) == 16


@pytest.mark.skipif(os.name != "posix", reason="file size limits are a POSIX thing")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    with writing(tmp_path / "a.mp4", seconds=100, preexec_fn=limit) as process:
        _, errors = process.communicate()

    assert "OutputError: a.mp4 cannot be written: File too large" in errors
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_length(tmp_path):
    """Frames handed over are let go: only a bounded number is alive at any time."""
    import weakref

    alive, peak = weakref.WeakSet(), 0

    def chunks():
        nonlocal peak
        for _ in range(60):
            chunk = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
            alive.add(chunk)
            peak = max(peak, len(alive))
            yield chunk
            del chunk

    write_video(tmp_path / "a.mp4", chunks(), FPS, quality=QUICK)
    assert peak <= 3
    assert math.isclose(float(frames_of(tmp_path / "a.mp4")[1][-1]), (60 * 8 - 1) / 8)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
@pytest.mark.parametrize("stage", [".part.", ".whole."])
def test_an_end_that_did_not_reach_the_disk_is_found(tmp_path, monkeypatch, name, stage):
    """libavformat says nothing if what it writes last, on closing, fails."""
    form = next(form for form in FORMATS.values() if form.suffix == Path(name).suffix)

    def cut_short(check):
        def checked(file, *rest):
            if stage in file.name:
                with file.open("r+b") as opened:
                    size = file.stat().st_size
                    opened.truncate(size // 2 if stage == ".part." else size - 9)
            check(file, *rest)

        return checked

    for module, name_of_check in (
        (writer, "check_complete"),
        (remux, "check_complete"),
        (writer, "check_animation"),
    ):
        check = getattr(module, name_of_check)
        monkeypatch.setattr(module, name_of_check, cut_short(check))
    with pytest.raises(OutputError, match=f"{name} cannot be written: not all of it reached"):
        write_video(tmp_path / name, ramp(9), FPS, form=form)
    assert not list(tmp_path.iterdir())


def test_sound_is_not_encoded_on_and_on_after_the_last_frame(tmp_path):
    """An hour of it may be connected to a second of video."""

    class Hour:
        rate, layout, asked = 8000, "mono", 0

        def frames(self):
            for self.asked in range(4000):
                yield sound_frame(np.zeros((1, 8000), np.float32), "mono", 8000, 8000 * self.asked)

    hour = Hour()
    black = torch.zeros(8, 64, 64, 3, dtype=torch.uint8)
    write_video(tmp_path / "a.mp4", [black], Fraction(8), sound=hour)
    assert hour.asked < 10
    with av.open(tmp_path / "a.mp4") as container:
        lengths = [float(s.duration * s.time_base) for s in container.streams]
    assert lengths == pytest.approx([1, 1], abs=0.15)


@pytest.mark.parametrize("name", ["mp4 h264", "mp4 h265", "mp4 av1", "webm vp9"])
def test_an_encoder_that_is_stopped_is_emptied_before_it_is_freed(tmp_path, monkeypatch, name):
    """PyAV frees it under Python's lock, and that waits for all frames it still has at hand."""
    streams, made = [], writer._video_stream
    monkeypatch.setattr(writer, "_video_stream", lambda *a: streams.append(made(*a)) or streams[0])
    with pytest.raises(Cancelled):
        write_video(tmp_path / "a", cancelled_after(9), FPS, form=FORMATS[name], quality=QUICK)
    for thread in threading.enumerate():
        if thread.name.startswith("longtake-"):
            thread.join(10)
    assert not any(tmp_path.iterdir())
    with pytest.raises(av.error.EOFError):
        streams[0].codec_context.encode(None)


def test_cancel_is_looked_at_while_one_frame_is_encoded(tmp_path, monkeypatch):
    encoding, may_end = threading.Event(), threading.Event()

    def slow(stream, frame):
        encoding.set()
        assert may_end.wait(10)
        return packets_of(stream, frame)

    def check():
        if encoding.is_set() and threading.current_thread() is threading.main_thread():
            raise Cancelled

    monkeypatch.setattr(writer, "packets_of", slow)
    monkeypatch.setattr(prefetch, "PATIENCE", 0.01)
    black = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    with pytest.raises(Cancelled):
        write_video(tmp_path / "a.mp4", [black], Fraction(8), check=check)
    assert not may_end.is_set()
    may_end.set()
    deadline = time.monotonic() + 10
    while any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(tmp_path.iterdir())
