"""Frames that memory cannot hold all at once, said before the first of them is made."""

import comfy.model_management as mm
import torch

from ...models.errors import InputError

PIXEL = 12  # bytes, as ComfyUI's IMAGE has them


def check_images(frames: int, width: int, height: int, instead: str, copies: int = 1) -> None:
    """Refuse an IMAGE for which the computer has too little memory.

    Args:
        frames, width, height: of it.
        instead: what else can be done, a sentence's end.
        copies: how often it is in memory at once.

    Raises:
        InputError: with how many frames fit.
    """
    each = PIXEL * width * height * copies
    there = mm.get_total_memory(torch.device("cpu"))
    if frames * each > there:
        raise InputError(
            f"{frames} frames of {width}×{height} in memory at once need "
            f"{frames * each / 1e9:.0f} GB, and there are {there / 1e9:.0f}: at most "
            f"{int(there / each)} fit; {instead}."
        )
