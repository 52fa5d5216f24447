"""The invisible mark within ComfyUI: which id, and looking for it in VIDEO or IMAGE."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import Input
from torch import Tensor

from ...engine.frames.watermark import FRAMES, ID_BITS, SCALES, Mark, embed_mark, find_mark
from ...models.errors import InputError
from ..comfyui.progress import check_cancelled
from ..video.footage import open_footage
from .lineage import graph_hash

ANY_RATE = Fraction(1)  # the mark is in frames by themselves


def mark_stage(hidden: Any) -> Any:
    """A stage on a frame stream that marks frames with the beginning of the graph's SHA-256.

    It is the hash that the credentials hold, so that a copy without them can be told to be of the
    same graph.
    """
    prompt = getattr(hidden, "prompt", None)
    return partial(embed_mark, id=int(graph_hash(prompt)[: ID_BITS // 4], 16) if prompt else 0)


def find_mark_in(video: Any) -> Mark:
    """Look for the mark in a VIDEO or IMAGE. Raises InputError if it is neither."""
    bar = comfy.utils.ProgressBar(FRAMES + len(SCALES))

    def step() -> None:
        check_cancelled()
        bar.update(1)

    if not torch.is_tensor(video) and not isinstance(video, Input.Video):
        raise InputError("connect a VIDEO or an IMAGE: there is a mark in frames only.")
    with open_footage(video, ANY_RATE) as clip, closing(clip.stream()) as frames:
        return find_mark(_some(frames, clip.frames, step), step)


def _some(chunks: Iterable[Tensor], total: int, step: Any) -> Iterator[Tensor]:
    """FRAMES of the frames, spread over the clip."""
    every = max(1, total // FRAMES)
    frames = (frame for chunk in chunks for frame in chunk.split(1))
    for frame in islice(frames, 0, every * FRAMES, every):
        step()
        yield frame
