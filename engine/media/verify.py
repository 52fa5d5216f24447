"""Whether all of a file that was just written is there.

What is written last, when a file is closed, may fail unheard: libavformat tells nobody.
"""

from pathlib import Path

from ...models.errors import InputError, OutputError
from .publish import called
from .reader import open_media


def check_written(file: Path, path: Path, pictures: int = 0) -> None:
    """Read the index of a file that was written, and the sizes in it.

    Args:
        file: the one that was written.
        path: the name that it is to have, for the message.
        pictures: packets of pictures that went into it; an animation has other marks of its end.

    Raises:
        OutputError: if a part of it is missing.
    """
    whole = {".gif": _gif_is_whole, ".webp": _webp_is_whole}.get(file.suffix)
    if whole(file) if whole else _packets(file) == pictures:
        return
    raise OutputError(
        f"{called(path)} cannot be written: not all of it reached the disk, which may be full."
    )


def _packets(file: Path) -> int:
    try:
        with open_media(file) as container:
            packets = container.demux(container.streams.video[0])
            return sum(bool(packet.size) and not packet.is_corrupt for packet in packets)
    except InputError:
        return -1


def _gif_is_whole(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(-1, 2)
        return opened.read() == b";"


def _webp_is_whole(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(8)
    return int.from_bytes(head[4:8], "little") + 8 == file.stat().st_size
