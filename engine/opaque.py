"""What is transparent, laid over black: one answer for every picture and video that comes in."""

from torch import Tensor

from ..models.cpu import bands
from ..models.errors import InputError, NotFiniteError


def opaque(pictures: Tensor, over: float = 0.0) -> Tensor:
    """Pictures (n, h, w, 1, 3 or 4) as (n, h, w, 3): grey becomes RGB, alpha is laid over black.

    Args:
        over: another grey to lay it over, up to 1, which is white.

    Raises:
        InputError: for another shape.
        NotFiniteError: for NaN or infinite pixels.
    """
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3, 4) or not pictures.numel():
        raise InputError(
            f"pictures of shape {tuple(pictures.shape)} are not an IMAGE: need "
            f"(frames, height, width, 3) with at least 1 frame."
        )
    if not bands.all_finite(pictures, axis=1):
        raise NotFiniteError("the picture holds NaN or infinite pixels: check the node before.")
    if pictures.shape[-1] == 1:
        return pictures.expand(-1, -1, -1, 3)
    if pictures.shape[-1] == 3:
        return pictures
    return bands.by_rows(lambda rows: _laid(rows, over), pictures, axis=1)


def _laid(pictures: Tensor, over: float) -> Tensor:
    alpha = pictures[..., 3:]
    laid = pictures[..., :3] * alpha
    return laid + over * (1 - alpha) if over else laid
