"""The ledger of fingerprints: what is known again, and what a damaged or shared file costs."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.engine.frames.watermark import Mark
from longtake.engine.recognition.evidence import Evidence, describe_evidence
from longtake.engine.recognition.ledger import (
    FINE,
    Known,
    LedgerLine,
    Prints,
    Search,
    add_entry,
    entries,
    fine_moments,
    frame_numbers,
    moments,
)
from longtake.engine.recognition.match import Agreement
from longtake.engine.recognition.picture_hash import (
    BYTES,
    CROPS,
    WHOLE,
    hash_frames,
    mirrored,
    picture_hashes,
)
from longtake.engine.recognition.sound_print import KEPT, RATE, SOUGHT, sound_print

SILENT = np.zeros((0, 4), np.uint8)


def video(seed: int, frames: int = 40, side: tuple[int, int] = (54, 94)) -> torch.Tensor:
    """Coloured clouds that drift: uint8 (frames, h, w, 3)."""
    random = torch.Generator().manual_seed(seed)
    size = (side[0] + frames, side[1] + frames)
    land = sum(
        grain**0.7
        * F.interpolate(
            torch.randn(1, 3, size[0] // grain + 2, size[1] // grain + 2, generator=random),
            size,
            mode="bicubic",
        )
        for grain in (4, 8, 16, 32)
    )
    land = (land / land.std() * 45 + 120).clamp(0, 255).to(torch.uint8)[0]
    cut = [land[:, n : n + side[0], n : n + side[1]] for n in range(frames)]
    return torch.stack(cut).movedim(1, 3).contiguous()


def prints(frames: torch.Tensor, fps: float, fine: bool, sound: np.ndarray = SILENT) -> Prints:
    seconds = len(frames) / fps
    times = fine_moments(seconds) if fine else moments(seconds)
    numbers = frame_numbers(times, fps, len(frames))
    hashes = list(hash_frames(frames.split(7), numbers, (WHOLE,) if fine else CROPS))
    return Prints(np.stack(hashes), sound, seconds)


def entry(seed: int, **more) -> LedgerLine:
    return LedgerLine(
        f"{seed}.mp4", "2026-01-02T03:04:05Z", "ab" * 32, prints(video(seed), 8, False)
    )


def tune(seed: int, seconds: float = 5.0) -> np.ndarray:
    random, t = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    note = random.integers(0, 24, 40)[(t * 6).astype(int)]
    pitch = 220 * 2 ** (note / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return (sum(np.sin(k * phase) / k for k in range(1, 7)) * 0.2).astype(np.float32)


def test_a_hash_is_the_signs_of_the_cosine_transform():
    """Written out slowly, for a picture that has the size of the transform already."""
    frame = video(3, 1, (64, 64))[0]
    luma = (frame.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.double)).numpy()
    wave = [[np.cos(np.pi / 64 * (n + 0.5) * k) for n in range(64)] for k in range(1, 17)]
    waves = np.array([[(luma * np.outer(y, x)).sum() for x in wave] for y in wave])
    wanted = (waves > np.sort(waves.ravel())[127]).ravel()
    (found,) = picture_hashes(frame, (WHOLE,))
    assert (np.unpackbits(found) != wanted).mean() < 0.01  # float32 near the median


def test_a_mirrored_hash_is_that_of_the_mirrored_picture():
    frame = video(5, 1)[0]
    apart = np.unpackbits(mirrored(picture_hashes(frame)) ^ picture_hashes(frame.flip(1)), axis=1)
    assert apart[0].mean() < 0.05
    assert not mirrored(np.zeros((2, BYTES), np.uint8)).any()


def test_what_shows_nothing_has_no_hash():
    assert not picture_hashes(torch.full((30, 40, 3), 77, dtype=torch.uint8)).any()


@pytest.mark.parametrize(
    ("change", "fps"),
    [
        pytest.param(lambda v: v, 8, id="as it was"),
        pytest.param(lambda v: v[11:], 8, id="begun later"),
        pytest.param(lambda v: v.repeat_interleave(3, 0), 24, id="another rate"),
        pytest.param(lambda v: v[:, 2:51, 5:89], 8, id="a tenth cropped"),
        pytest.param(lambda v: v[:, ::2, ::2], 8, id="half the size"),
        pytest.param(lambda v: v.flip(2), 8, id="mirrored"),
        pytest.param(lambda v: (v * 0.6).to(torch.uint8), 8, id="darker"),
    ],
)
def test_a_video_is_known_again_and_no_other_is(change, fps):
    search = Search(prints(change(video(1)).contiguous(), fps, True))
    assert search.compare(entry(1)).seen
    assert not search.compare(entry(2)).seen


def test_it_says_where_a_cut_out_part_was():
    found = Search(prints(video(1)[16:], 8, True)).compare(entry(1)).pictures
    assert found.offset == -2 * FINE
    assert found.common >= 2


def test_sound_is_known_again_and_no_other_is():
    kept = sound_print([tune(1)], KEPT)
    other = sound_print([tune(2)], KEPT)
    later = tune(1)[int(1.77 * RATE) :] * 0.3
    sought = sound_print(np.array_split(later, 9), SOUGHT)
    search = Search(prints(video(9), 8, True, sought))
    assert search.compare(LedgerLine("", "", "", prints(video(8), 8, False, kept))).heard
    assert not search.compare(LedgerLine("", "", "", prints(video(8), 8, False, other))).heard


def test_long_sound_has_the_same_print_in_blocks(monkeypatch):
    whole = sound_print([tune(1)], KEPT)
    monkeypatch.setattr("longtake.engine.recognition.sound_print.BLOCK", 2 * RATE)
    assert np.array_equal(sound_print([tune(1)], KEPT), whole)


def test_silence_says_nothing():
    assert not sound_print([np.zeros(3 * RATE, np.float32)]).any()


def test_it_comes_back_as_it_was_written(tmp_path):
    file = tmp_path / "deep" / "ledger.jsonl"
    assert list(entries(file)) == []
    first = LedgerLine("Ä b.mp4", "at", "", prints(video(1), 8, False, sound_print([tune(1)])))
    add_entry(file, first)
    add_entry(file, entry(2))
    back = list(entries(file))
    assert [one.name for one in back] == ["Ä b.mp4", "2.mp4"]
    assert np.array_equal(back[0].prints.pictures, first.prints.pictures)
    assert np.array_equal(back[0].prints.sound, first.prints.sound)
    assert file.stat().st_size < 2 * 5 * 400 + 2000  # of five seconds each


def test_damage_costs_one_line(tmp_path):
    file = tmp_path / "ledger.jsonl"
    for seed in (1, 2, 3):
        add_entry(file, entry(seed))
    lines = file.read_bytes().splitlines(keepends=True)
    middle = bytearray(lines[1])
    middle[len(middle) // 2] ^= 1
    file.write_bytes(lines[0] + bytes(middle) + lines[2][:-40])  # and the last one torn
    add_entry(file, entry(4))
    assert [one and one.name for one in entries(file)] == ["1.mp4", None, None, "4.mp4"]


@pytest.mark.parametrize("junk", [b"\x00" * 90, b"\xff\xfe\n\n{}", b"12345678 {}", b"00000000 []"])
def test_whatever_is_in_it_is_no_entry(tmp_path, junk):
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(junk)
    assert not any(entries(file))


def _fill(file: Path, name: str) -> None:
    from longtake.engine.files import append_line

    for n in range(40):
        append_line(file, f"{name} {n} ".encode() + b"x" * 9000)


def test_two_processes_write_whole_lines(tmp_path):
    file = tmp_path / "lines"
    spawn = multiprocessing.get_context("fork" if hasattr(__import__("os"), "fork") else "spawn")
    writers = [spawn.Process(target=_fill, args=(file, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    lines = file.read_bytes().splitlines()
    assert sorted(line.split(b" x")[0] for line in lines) == sorted(
        f"{name} {n}".encode() for name in "ab" for n in range(40)
    )
    assert {len(line.split(b" ")[2]) for line in lines} == {9000}


@pytest.mark.parametrize(
    ("distance", "verdict", "says"),
    [
        (0.10, "known", "its pictures are mine.mp4's"),
        (0.20, "unknown", "its pictures resemble mine.mp4's"),
        (0.30, "unknown", "its pictures are in none of 3 videos"),
    ],
)
def test_how_near_it_is_decides_what_is_said(distance, verdict, says):
    line = LedgerLine("mine.mp4", "2026-12-01", "", Prints(np.zeros((1, 1, 32)), SILENT, 1.0))
    known = Known(line, Agreement(distance, 4, 0), Agreement(0.5, 0, 0))
    evidence = Evidence("there are none", Mark(0.0, None, 1.0, False), picture=known, lines=3)
    assert evidence.verdict == verdict
    assert says in describe_evidence(evidence)
