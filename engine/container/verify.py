"""Whether a file that was just written is complete.

libavformat does not report an error in what it writes last, as it closes a file.
"""

from pathlib import Path

from ...models.errors import InputError, OutputError
from .opening import open_media
from .publish import display_name


def check_complete(file: Path, path: Path, packets: int) -> None:
    """Read back the index of a video file, and the sizes in it.

    Args:
        file: the one that was written.
        path: the name that it is to have, for the message.
        packets: video packets that went into it.

    Raises:
        OutputError: if a part of it is missing.
    """
    if _intact_packets(file) != packets:
        raise incomplete(file, path)


def incomplete(file: Path, path: Path) -> OutputError:
    """What to say of a file of which a part is missing."""
    if not file.is_file():
        return OutputError(f"{display_name(path)} was deleted while it was written.")
    return OutputError(
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
