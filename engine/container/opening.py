"""Files that may come from strangers, opened.

A container must be one of a few and is opened as that one, so that no playlist with a video's name
can lead to other files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from ...models.errors import InputError

MOV, MATROSKA, AVI, GIF = "mov", "matroska", "avi", "gif"  # as libavformat calls them
MOV_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
READABLE = "mp4, mov, mkv, webm, avi and gif"


def container_of(path: Path) -> str:
    """The kind of container, by a file's first bytes.

    Raises:
        InputError: if it is not a regular file, or not one of READABLE.
    """
    if not path.is_file():
        raise InputError(f"{path.name} does not exist, or is not a file.")
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in MOV_BOXES:
        return MOV
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return MATROSKA
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return AVI
    if head[:4] == b"GIF8":
        return GIF
    problem = "is empty" if not head else "is not a video that can be read"
    raise InputError(f"{path.name} {problem}: {READABLE} files can be.")


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a video file as what its first bytes say it is.

    Raises:
        InputError: if it is damaged or has no video stream; also for damage found while it is open.
    """
    with opened_as(container_of(path), path) as container:
        if not container.streams.video:
            raise InputError(f"{path.name} has no video stream.")
        yield container


@contextmanager
def opened_as(kind: str, path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file as one kind of container. Raises InputError for damage, then or while open."""
    try:
        with av.open(str(path), format=kind, options={"protocol_whitelist": "file"}) as container:
            yield container
    except av.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, EOFError):
            raise
        raise InputError(
            f"{path.name} is damaged or cut off ({error.strerror}): make or download it again."
        ) from error


def codec_of(stream: Any) -> str:
    """The codec's own name, whichever library decodes it: av1, not libdav1d."""
    codec = stream.codec_context.codec
    return getattr(codec, "canonical_name", codec.name)
