"""Whether a file that was just written is complete.

libavformat does not report an error in what it writes last, as it closes a file.
"""

from pathlib import Path

from PIL import Image

from ...models.errors import InputError, OutputError
from .publish import display_name
from .reader import open_media


def check_complete(file: Path, path: Path, packets: int = 0) -> None:
    """Read back the index of a file, and the sizes in it.

    Args:
        file: the one that was written.
        path: the name that it is to have, for the message.
        packets: video packets that went into it; of an animation its last picture is looked at.

    Raises:
        OutputError: if a part of it is missing.
    """
    animation = file.suffix in (".gif", ".webp") and file.is_file()
    if _animation_is_complete(file) if animation else _intact_packets(file) == packets:
        return
    if not file.is_file():
        raise OutputError(f"{display_name(path)} was deleted while it was written.")
    raise OutputError(
        f"{display_name(path)} cannot be written: not all of it reached the disk, which may be "
        f"full."
    )


def _intact_packets(file: Path) -> int:
    """How many video packets are there and whole; -1 if the file cannot be read."""
    try:
        with open_media(file) as container:
            packets = container.demux(container.streams.video[0])
            return sum(bool(packet.size) and not packet.is_corrupt for packet in packets)
    except InputError:
        return -1


def _animation_is_complete(file: Path) -> bool:
    """Whether its end is there, and its last picture can be seen."""
    with file.open("rb") as opened:
        head = opened.read(8)
        opened.seek(-1, 2)
        end, size = opened.read(), opened.tell()
    if not (end == b";" if head[:3] == b"GIF" else int.from_bytes(head[4:], "little") + 8 == size):
        return False
    try:
        with Image.open(file) as picture:
            picture.seek(getattr(picture, "n_frames", 1) - 1)
            picture.load()
    except (OSError, EOFError, ValueError, SyntaxError):
        return False
    return True
