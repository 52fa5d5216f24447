"""A picture of each shot of a take, taken while its frames pass, for the strip on Storyboard."""

import json
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from PIL import Image
from torch import Tensor

from ...engine.take.layout import frame_starts
from ...engine.take.storyboard import Shot
from ..comfyui.films import temporary_file

LARGEST = 256  # pixels of a side
NAME = "longtake_shots"  # in a node's `ui`; web/storyboard/pictures.js reads it


class ShotPictures:
    """The middle frame of each shot, small, in ComfyUI's temp folder.

    Args:
        shots: of the take, in order.
        frames: how many it has.
        fps: of them a second.

    Attributes:
        files: the pictures.
    """

    def __init__(self, shots: Sequence[Shot], frames: int, fps: Fraction):
        spans = list(pairwise([*frame_starts(shots, frames, fps), frames]))
        self._shots = [
            {"words": shot.words, "start": float(start / fps), "end": float(end / fps)}
            for shot, (start, end) in zip(shots, spans, strict=True)
        ]
        self.files: list[Path] = []
        self._due = {(start + end) // 2: number for number, (start, end) in enumerate(spans)}

    def passing(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """The take's frame stream, unchanged: uint8 (frames, h, w, 3)."""
        first = 0
        for chunk in chunks:
            for place, frame in enumerate(chunk, start=first):
                if (number := self._due.get(place)) is not None:
                    self._save(self._shots[number], frame)
            first += len(chunk)
            yield chunk

    def _save(self, shot: dict, frame: Tensor) -> None:
        picture, path = Image.fromarray(frame.numpy()), temporary_file("shot", ".jpg")
        picture.thumbnail((LARGEST, LARGEST))
        try:
            picture.save(path, quality=85)
        except OSError:
            return  # a take is worth more than a picture of it
        shot["picture"] = path.name
        self.files.append(path)

    def shown(self, video: Path) -> dict[str, list[str]]:
        """For a node's `ui`: as text, or the browser would list each of them as what was made.

        Args:
            video: the take, in ComfyUI's temp folder.
        """
        return {NAME: [json.dumps({"video": video.name, "shots": self._shots})]}
