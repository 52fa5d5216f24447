"""What a crash has left of a video, made into an ordinary video.

The node Salvage does this in ComfyUI, and salvage.py in the pack's folder without it, by any Python
that has PyAV: nothing of this room imports anything else that is not Python's own.
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
from .opening import MOV, codec_of, container_of, open_media
from .publish import UNFINISHED, claim, leftovers
from .remux import remux
from .webp import webp_times

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


def salvage_command(path: Path) -> str:
    """What recovers a video without ComfyUI, to be typed as it is into any folder's console."""
    script = Path(__file__).resolve().parents[2] / "salvage.py"
    return f'"{sys.executable}" "{script}" "{path}"'


def _can_be_mended(file: Path) -> bool:
    if not UNFINISHED.fullmatch(file.name):
        return False
    try:
        if _is_ready(file) and file.stat().st_nlink > 1:
            return False  # it has its name; the hidden one was held and could not be deleted
        if file.suffix == ".webp":
            return bool(webp_times(file))
        with open_media(file) as container:
            if not _is_ready(file):
                _form_of(file, codec_of(container.streams.video[0]))
            first = next(container.demux(video=0), None)
            return first is not None and first.size > 0 and not first.is_corrupt
    except (InputError, OSError):  # PyAV's errors are OSErrors, too
        return False


def _is_ready(part: Path) -> bool:
    """Whether it is complete already, perhaps signed, and lacks its name alone."""
    return part.stem.endswith(".ready")


def salvage(part: Path, path: Path | None = None) -> Salvaged:
    """Copy the intact frames of a file whose writing was cut off; the file itself stays.

    Args:
        part: a fragmented mp4 that was never finished, or an mp4 whose end is missing; what was
            complete and only lacked its name gets one.
        path: of the new file; a new name beside `part` by default. Never overwritten.

    Raises:
        InputError: if there is no intact frame in it.
        OutputError: if the result cannot be written.
    """
    if _is_ready(part):
        return _give_name(part, path)
    if container_of(part) != MOV:
        raise InputError(f"{part.name} is not an unfinished mp4.")
    times, step = _times(part)
    form, number = _form_in(part), _without_gaps(times, step)
    path = path or next(name for name in _names(part, form.suffix) if not name.exists())
    path = path.with_suffix(form.suffix)
    remux(part, path, form, frames=number)
    return Salvaged(path, number, _seconds(times[:number], step))


def _give_name(ready: Path, path: Path | None) -> Salvaged:
    if ready.suffix == ".webp":
        times = webp_times(ready)
        seconds = float(sum(times))
    else:
        times, step = _times(ready)
        seconds = _seconds(times, step)
    path = claim(ready, [path] if path else _names(ready, ready.suffix))
    return Salvaged(path, len(times), seconds)


def _names(part: Path, suffix: str) -> Iterator[Path]:
    stem = part.name.lstrip(".").split(".")[0]
    yield part.with_name(f"{stem}_salvaged{suffix}")
    yield from (part.with_name(f"{stem}_salvaged_{n}{suffix}") for n in count(2))


def _times(part: Path) -> tuple[list[Fraction], Fraction]:
    """(times of the intact packets in file order, seconds from one frame to the next)."""
    times = []
    with open_media(part) as container:
        stream = container.streams.video[0]
        rate, length = stream.average_rate, Fraction(container.duration or 0, av.time_base)
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    break
                if packet.size:  # the last packet is empty and only flushes the stream
                    times.append(packet.pts * packet.time_base)
        except av.FFmpegError:  # the damage that is expected
            pass
    if not times:
        raise InputError(f"nothing of {part.name} can be recovered: no frame had been written yet.")
    steps = [after - before for before, after in pairwise(sorted(times))]
    return times, min(steps, default=1 / Fraction(rate) if rate else length)


def _seconds(times: list[Fraction], step: Fraction) -> float:
    return float(max(times) - min(times) + step)


def _without_gaps(times: list[Fraction], step: Fraction) -> int:
    """How many of the packets to keep, so that no frame between others is missing."""
    for number in range(len(times), max(0, len(times) - REORDERED), -1):
        kept = times[:number]
        if max(kept) - min(kept) <= step * (number - 1) * Fraction(1001, 1000):
            return number
    return len(times)  # of a varying rate, which has gaps


def _form_in(part: Path) -> Format:
    with open_media(part) as container:
        return _form_of(part, codec_of(container.streams.video[0]))


def _form_of(part: Path, codec: str) -> Format:
    for form in FORMATS.values():
        if form.codec == codec and not form.animation:
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
