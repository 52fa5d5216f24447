"""The ledger within ComfyUI: what Save Video adds, and looking a VIDEO up."""

import time
from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
from comfy_api.latest import Input

from ...engine.media.sound import Sound
from ...engine.media.sound_part import SoundPart, sound_part
from ...engine.recognition import ledger
from ...engine.recognition.ledger import Known, LedgerLine, Prints, Search
from ...engine.recognition.picture_hash import CROPS, WHOLE, hash_frames
from ...engine.recognition.sound_print import KEPT, SOUGHT, listened, sound_print
from ...models.errors import LongtakeError
from ..comfyui.progress import check_cancelled, with_progress
from ..video.footage import Footage, open_footage, open_video
from .lineage import graph_hash

ANY_RATE = Fraction(24)  # of an IMAGE, which has none: its frames are compared as if at this one


def ledger_file() -> Path:
    """In ComfyUI's user folder, in the part of it that its server does not serve."""
    return Path(folder_paths.get_system_user_directory("longtake")) / "ledger.jsonl"


def enter_ledger(video: Input.Video, name: str, sound: Sound | None, hidden: Any) -> str:
    """Add a saved VIDEO to the ledger, and say so or why not: its file is there in either case.

    Args:
        video: as it came.
        name: of its file, relative to the output folder.
        sound: that was saved in place of its own, if any.
        hidden: a node's `hidden`, with `prompt`.
    """
    try:
        with open_video(video) as footage:
            prints = _prints(footage, footage.sound if sound is None else sound, fine=False)
        prompt = getattr(hidden, "prompt", None)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ledger.add_entry(
            ledger_file(), LedgerLine(name, at, graph_hash(prompt) if prompt else "", prints)
        )
    except (LongtakeError, OSError) as error:
        return f"not in the ledger: {getattr(error, 'strerror', None) or error}"
    return "in the ledger"


def prints_of(video: Any) -> Prints:
    """The fingerprints of a VIDEO or IMAGE that is looked up."""
    with open_footage(video, ANY_RATE) as footage:
        return _prints(footage, footage.sound, fine=True)


def _prints(footage: Footage, sound: Sound | SoundPart | Path | None, *, fine: bool) -> Prints:
    times = (ledger.fine_moments if fine else ledger.moments)(footage.seconds)
    numbers = ledger.frame_numbers(times, float(footage.fps), footage.frames)
    crops = (WHOLE,) if fine else CROPS
    with closing(with_progress(footage.stream(), footage.frames)) as chunks:
        hashes = list(hash_frames(chunks, numbers, crops))
    heard = sound_print(listened(_frames(footage, sound)), SOUGHT if fine else KEPT)
    return Prints(np.stack(hashes), heard, footage.seconds)


def _frames(footage: Footage, sound: Sound | SoundPart | Path | None) -> Iterable[Any]:
    """The sound as frames, no more of it than there are pictures."""
    if isinstance(sound, Path):
        start = footage.facts.start * footage.facts.tick
        sound = sound_part(sound, start, Fraction(footage.frames) / footage.fps)
    for frame in () if sound is None else sound.frames():
        check_cancelled()
        yield frame


class Found:
    """What the ledger says of a video.

    Attributes:
        picture, sound: the entries that it resembles most, by each.
        lines, damaged: how many were compared, and how many cannot be read.
        graphs: a file's name by the hash of its graph.
    """

    def __init__(self, prints: Prints):
        self.picture: Known | None = None
        self.sound: Known | None = None
        self.lines = self.damaged = 0
        self.graphs: dict[str, str] = {}
        search = Search(prints)
        for entry in ledger.entries(ledger_file()):
            check_cancelled()
            if entry is None:
                self.damaged += 1
            else:
                self._take(search.compare(entry))

    def _take(self, known: Known) -> None:
        self.lines += 1
        self.graphs.setdefault(known.entry.graph, known.entry.name)
        if self.picture is None or known.pictures.distance < self.picture.pictures.distance:
            self.picture = known
        if self.sound is None or known.sound.distance < self.sound.sound.distance:
            self.sound = known

    def file_of(self, mark_id: str) -> str | None:
        """A file whose graph's hash begins with these digits."""
        return next(
            (name for graph, name in self.graphs.items() if graph.startswith(mark_id)), None
        )


def look_up(video: Any) -> Found:
    """Compare a VIDEO or IMAGE with all that the ledger holds."""
    return Found(prints_of(video))
