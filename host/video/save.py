"""A VIDEO into ComfyUI's output folder."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from comfy.cli_args import args
from comfy_api.latest import Input
from torch import Tensor

from ...engine.container.formats import MP4, VISUALLY_LOSSLESS, Format, Quality
from ...engine.container.names import safe_name
from ...engine.container.opening import MOV
from ...engine.container.publish import (
    Finish,
    check_space,
    claim,
    hidden_file,
    publish,
    writing_bytes,
)
from ...engine.files import discard
from ...engine.frames.prefetch import prefetch
from ...engine.frames.stream import ColoursSeen
from ...engine.frames.watermark import weakness
from ...engine.media.reader import crf_in
from ...engine.media.sound import Sound
from ...engine.media.still import NONE, write_still
from ...engine.media.writer import copy_video, write_video
from ...engine.take.time_left import bytes_of
from ...models.errors import OutputError
from ..comfyui.output import fill_in_dates, folder_for, numbered_names, output_folder
from ..comfyui.owner import FILE_CHECKS
from ..comfyui.progress import check_cancelled, with_progress
from .footage import Footage, open_video

PLAYABLE = ("yuv420p", "yuvj420p")  # h264 of ten bits or 4:4:4 does not play everywhere


@dataclass(frozen=True)
class SaveOptions:
    """How a video is to be saved.

    Attributes:
        form: container and codec.
        quality: of the encoder.
        sound: in place of the video's own.
        picture: also save a PNG beside it, one of still.PICTURES.
        mark: a stage of the frame stream that marks its frames.
    """

    form: Format = MP4
    quality: Quality = VISUALLY_LOSSLESS
    sound: Sound | None = None
    picture: str = NONE
    mark: Callable[[Iterable[Tensor]], Iterator[Tensor]] | None = None


class SavedVideo(NamedTuple):
    """What was saved.

    Attributes:
        path: of the video.
        name: of the video, relative to the output folder.
        picture: name of the PNG beside it, if any.
        summary: what is in the file and how it was made, a line.
    """

    path: Path
    name: PurePosixPath
    picture: PurePosixPath | None
    summary: str


def save_video(
    video: Input.Video,
    prefix: str,
    metadata: Mapping[str, Any],
    options: SaveOptions = SaveOptions(),
    finish: Finish | None = None,
) -> SavedVideo:
    """Save a VIDEO as a file that is complete or not there.

    Its video stream is copied if it already is what `options` ask for, and encoded otherwise.

    Args:
        video: from any node.
        prefix: the beginning of the name, perhaps in folders; a counter is added.
        metadata: to be embedded, JSON values by name.
        options: how.
        finish: the last step before the video and its picture get their names; see publish.Finish.

    Raises:
        InputError: for a name that is not allowed, or a VIDEO that cannot be read.
        OutputError: if it cannot be written.
        Whatever `finish` raises. Nothing is left behind then.
    """
    with open_video(video) as footage:
        name = safe_name(fill_in_dates(prefix, footage.width, footage.height))
        try:
            return _save(footage, name, metadata, options, finish)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"the file cannot be written: {error.strerror or error}") from error


def _save(
    footage: Footage,
    name: PurePosixPath,
    metadata: Mapping[str, Any],
    options: SaveOptions,
    finish: Finish | None,
) -> SavedVideo:
    folder, stem, suffix = folder_for(name), name.name, options.form.suffix
    check_space(folder, _bytes_needed(footage))
    ready = folder / f".{stem[:40]}.{secrets.token_hex(4)}.ready{suffix}"
    still = ready.with_suffix(".png")
    try:
        if options.picture != NONE:
            _write_still(still, footage, options.picture, metadata, finish)
        how = _write(footage, ready, metadata, options, finish)
        for check in FILE_CHECKS:
            check(ready)
        summary = _summary(footage, ready, options, how)
        path = claim(ready, numbered_names(folder, stem, suffix))
        picture = claim(still, _names_beside(path)) if still.exists() else None
    finally:
        discard(ready)
        discard(still)
    names = (_relative(path), picture and _relative(picture))
    return SavedVideo(path, *names, summary)


def _write_still(
    path: Path, footage: Footage, kind: str, metadata: Mapping[str, Any], finish: Finish | None
) -> None:
    with hidden_file(path, "still", path.suffix) as draft:
        write_still(draft, prefetch(footage.stream()), footage.frames, footage.fps, kind, metadata)
        publish(draft, path, finish)


def _bytes_needed(footage: Footage) -> int:
    if footage.file is not None:
        return 2 * footage.file.stat().st_size
    return writing_bytes(footage.frames, footage.width, footage.height)


def _relative(path: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(output_folder()).as_posix())


def _names_beside(video: Path) -> Iterator[Path]:
    yield video.with_suffix(".png")
    yield from (video.with_name(f"{video.stem}{n}.png") for n in count(2))


def _write(
    footage: Footage,
    path: Path,
    metadata: Mapping[str, Any],
    options: SaveOptions,
    finish: Finish | None,
) -> str:
    """Copy or encode footage, and say which."""
    common = {
        "metadata": metadata,
        "form": options.form,
        "finish": finish,
        "check": check_cancelled,
        "quality": options.quality,
    }
    source = footage.file if options.mark is None else None
    if source is not None and (options.form.animation or may_be_copied(footage, options)):
        keep = not args.disable_metadata
        copy_video(source, path, sound=options.sound, keep=keep, **common)
        if not options.form.animation:
            return "copied without loss"
        return ", ".join(("made of its frames", *footage.notes))
    colours = ColoursSeen()
    frames = colours.seen(prefetch(footage.stream()))
    marked = frames if options.mark is None else options.mark(frames)
    sound = footage.sound if options.sound is None else options.sound
    write_video(path, with_progress(marked, footage.frames), footage.fps, sound=sound, **common)
    crf = options.form.visually_lossless if options.quality.crf is None else options.quality.crf
    # A title card may well be: it is saved, and said, for those whose sampler made nothing.
    flat = "all of one colour" if colours.only is not None else ""
    weak = weakness(footage.height, footage.width) if options.mark else ""
    said = (flat, f"encoded at crf {crf}", options.quality.preset, *footage.notes, weak)
    return ", ".join(filter(None, said))


def _summary(footage: Footage, path: Path, options: SaveOptions, how: str) -> str:
    silent = options.form.animation or (options.sound is None and footage.sound is None)
    sound = "no sound" if silent else "with sound"
    if options.sound is None and footage.facts is not None and footage.facts.unheard:
        sound = "without its sound, whose order of channels cannot be read"
    return (
        f"{footage.seconds:.2f} s, {footage.frames} frames of {footage.width}×{footage.height} at "
        f"{float(footage.fps):.6g}/s, {options.form.name}, {how}, {sound}, "
        f"{bytes_of(path.stat().st_size)}"
    )


def may_be_copied(footage: Footage, options: SaveOptions) -> bool:
    """Whether the footage's own packets are what is asked for, so that nothing need be encoded."""
    facts = footage.facts
    if facts is None or footage.file is None or facts.container != MOV:
        return False
    if facts.codec != options.form.codec or (facts.look.rotation and options.form.suffix != ".mp4"):
        return False
    if options.form == MP4 and facts.pixel_format not in PLAYABLE:
        return False
    return options.quality.crf in (None, crf_in(footage.file))
