"""What a crash has left of a video, made into an ordinary video.

The node Salvage does this in ComfyUI, and salvage.py in the pack's folder without it.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import av

from ...models.errors import InputError, LongtakeError
from ..files import discard
from .formats import FORMATS, Format
from .publish import UNFINISHED, claim, leftovers
from .reader import MOV, codec_of, container_of, media_facts, open_media
from .writer import copy_video

REORDERED = 32  # packets at the end, among which an earlier frame may be missing


ABANDONED = 3600.0  # seconds after which nobody comes back for what cannot be mended


class Salvaged(NamedTuple):
    """What was recovered.

    Attributes:
        path: of the new video.
        frames, seconds: its length.
    """

    path: Path
    frames: int
    seconds: float


def unfinished(folder: Path) -> list[Path]:
    """Videos below `folder` that can be mended and nobody writes to, oldest first."""
    return [file for file in leftovers(folder) if _can_be_mended(file)]


def clean(folder: Path) -> int:
    """Delete what a crash left below `folder` and nobody can use, such as a still without its
    video, or a video without a frame; returns how many files."""
    useless = [file for file in leftovers(folder, ABANDONED) if not _can_be_mended(file)]
    for file in useless:
        discard(file)
    return len(useless)


def _can_be_mended(file: Path) -> bool:
    if not UNFINISHED.fullmatch(file.name):
        return False
    try:
        with open_media(file) as container:
            if not file.stem.endswith(".ready"):
                _form_of(file, codec_of(container.streams.video[0]))
            first = next(container.demux(video=0), None)
            return first is not None and first.size > 0 and not first.is_corrupt
    except (InputError, OSError):  # PyAV's errors are OSErrors, too
        return False


def salvage(part: Path, path: Path | None = None) -> Salvaged:
    """Copy the intact frames of a file whose writing was cut off; the file itself stays.

    Args:
        part: a fragmented mp4 that was never finished, or an mp4 whose end is missing.
        path: of the new file; a new name beside `part` by default. Never overwritten.

    Raises:
        InputError: if there is no intact frame in it.
        OutputError: if the result cannot be written.
    """
    if part.stem.endswith(".ready"):  # complete already, and perhaps signed
        return _give_name(part, path)
    if container_of(part) != MOV:
        raise InputError(f"{part.name} is not an unfinished mp4.")
    form, times, step = _intact_frames(part)
    path = path or next(name for name in _names(part, form.suffix) if not name.exists())
    copy_video(part, path.with_suffix(form.suffix), form=form, frames=len(times))
    seconds = float((times[-1] - times[0] + step) if times else 0)
    return Salvaged(path.with_suffix(form.suffix), len(times), seconds)


def _give_name(ready: Path, path: Path | None) -> Salvaged:
    facts = media_facts(ready)
    path = claim(ready, [path] if path else _names(ready, ready.suffix))
    return Salvaged(path, facts.frames, float(facts.seconds))


def _names(part: Path, suffix: str) -> Iterator[Path]:
    stem = part.name.lstrip(".").split(".")[0]
    yield part.with_name(f"{stem}_salvaged{suffix}")
    yield from (part.with_name(f"{stem}_salvaged_{n}{suffix}") for n in count(2))


def _intact_frames(part: Path) -> tuple[Format, list[Fraction], Fraction]:
    """(format, times of the intact packets in file order, seconds from one frame to the next)."""
    times = []
    with open_media(part) as container:
        stream = container.streams.video[0]
        form = _form_of(part, codec_of(stream))
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    break
                if packet.dts is not None:
                    times.append(packet.pts * packet.time_base)
        except av.FFmpegError:  # the damage that is expected
            pass
    if not times:
        raise InputError(f"nothing of {part.name} can be recovered: no frame had been written yet.")
    steps = [after - before for before, after in pairwise(sorted(times))]
    step = min(steps, default=Fraction(0))
    for number in range(len(times), max(0, len(times) - REORDERED), -1):
        if _without_gaps(times[:number], step):
            return form, times[:number], step
    return form, times, step  # of a varying rate, which has gaps


def _without_gaps(times: list[Fraction], step: Fraction) -> bool:
    return max(times) - min(times) <= step * (len(times) - 1) * Fraction(1001, 1000)


def _form_of(part: Path, codec: str) -> Format:
    for form in FORMATS.values():
        if form.codec == codec:
            return form
    raise InputError(f"{part.name} is {codec}, which Longtake does not write.")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("salvage.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "file", type=Path, nargs="+", help="an unfinished video, or folders to look for some"
    )
    parser.add_argument("--out", type=Path, help="the new file; by default beside the old one")
    options = parser.parse_args(arguments)
    for folder in filter(Path.is_dir, options.file):
        clean(folder)
        parts = unfinished(folder)
        sys.stdout.writelines(f"{part}\n" for part in parts)
        sys.stderr.write(f"{len(parts)} unfinished videos in {folder}\n")
    for file in options.file:
        if not file.is_dir():
            _save(file, options.out)


def _save(file: Path, path: Path | None) -> None:
    try:
        saved = salvage(file, path)
    except LongtakeError as error:
        sys.exit(f"salvage.py: {error}")
    sys.stderr.write(f"{saved.frames} frames, {saved.seconds:.2f} s\n")
    sys.stdout.write(f"{saved.path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
