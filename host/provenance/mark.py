"""The invisible watermark within ComfyUI: its id, and finding it in a VIDEO or IMAGE."""

from collections.abc import Callable, Iterable, Iterator
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

ANY_RATE = Fraction(1)  # each frame is marked by itself


def mark_stage(hidden: Any) -> Callable[[Iterable[Tensor]], Iterator[Tensor]]:
    """A stage on a frame stream that marks frames with the first bits of the graph's SHA-256.

    The credentials hold the same hash, so that a copy without them can be traced to the graph.

    Args:
        hidden: a node's `hidden`, with `prompt`.
    """
    prompt = getattr(hidden, "prompt", None)
    return partial(embed_mark, id=int(graph_hash(prompt)[: ID_BITS // 4], 16) if prompt else 0)


def find_mark_in(video: Any) -> Mark:
    """Look for the mark in a VIDEO or IMAGE. Raises InputError for anything else."""
    bar = comfy.utils.ProgressBar(FRAMES + len(SCALES))

    def step() -> None:
        check_cancelled()
        bar.update(1)

    if not torch.is_tensor(video) and not isinstance(video, Input.Video):
        raise InputError("connect a VIDEO or an IMAGE: only frames carry a mark.")
    with open_footage(video, ANY_RATE) as footage, closing(footage.stream()) as frames:
        return find_mark(_sampled(frames, footage.frames, step), step)


def _sampled(chunks: Iterable[Tensor], total: int, step: Callable[[], None]) -> Iterator[Tensor]:
    """FRAMES of the frames, spread over the footage."""
    every = max(1, total // FRAMES)
    frames = (frame for chunk in chunks for frame in chunk.split(1))
    for number, frame in enumerate(islice(frames, 0, every * FRAMES)):
        check_cancelled()
        if number % every == 0:
            step()
            yield frame
