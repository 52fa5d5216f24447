"""Tracks as a picture: where each point goes, on the picture that it is of; and as a clip."""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from .brush import Tracks
from .drawn_path import LONG_SIDE, colour_at

POINT = 4  # pixels, half the width of the dot where a track ends
# Of a clip for LTX: frames that a dot is seen for, its radius when it goes and when it comes, and
# the short side that it is drawn at, in pixels.
TRAIL, SMALL, LARGE, DRAWN_AT = 50, 2.0, 8.0, 1080


def drawn_tracks(tracks: Tracks, shown: Image.Image) -> Image.Image:
    """Lines from blue at the beginning to orange at the end, where there is a dot."""
    scale = LONG_SIDE / max(shown.size)
    size = tuple(max(1, round(side * scale)) for side in shown.size)
    sheet = Image.eval(shown.convert("RGB").resize(size), lambda level: level // 2)
    draw, last = ImageDraw.Draw(sheet), max(1, len(tracks.path) - 2)
    for track in (tracks.path * scale).unbind(1):
        places = [tuple(place) for place in track.tolist()]
        for n, (a, b) in enumerate(pairwise(places)):
            draw.line((a, b), colour_at(n / last), 2)
        x, y = places[-1]
        draw.ellipse((x - POINT, y - POINT, x + POINT, y + POINT), colour_at(1))
    return sheet


def trails(tracks: Tracks, size: tuple[int, int], frame: int) -> Tensor:
    """One frame (h, w, 3) of a clip of coloured dots, as LTX's IC-LoRA for tracks was trained on.

    Where a point is, there is a blue dot; where it was, dots that turn green and red and shrink.

    Args:
        size: (width, height) in pixels.

    Source:
        LTXVDrawTracks of Lightricks/ComfyUI-LTXVideo, whose colours come out as BGR.
    """
    width, height = size
    scale = DRAWN_AT / min(size)
    wide, high = int(width * scale), int(height * scale)
    drawn = np.zeros((high, wide, 3), np.float32)
    for at in range(max(0, frame - TRAIL), frame + 1):  # the newest lies on top
        share = 1 - (frame - at) / TRAIL
        places = tracks.path[at][tracks.visible[at]]
        places = (places * torch.tensor([wide / width, high / height])).round().long().numpy()
        _dot(drawn, places, SMALL + (LARGE - SMALL) * share, aged(share))
    picture = rearrange(torch.from_numpy(drawn), "h w c -> 1 c h w")
    small = F.interpolate(picture, (height, width), mode="bilinear", align_corners=False)
    return rearrange(small[0], "c h w -> h w c")


def aged(share: float) -> tuple[float, float, float]:
    """The colour of a dot of which so much of its time is left: 1 blue, then green, 0 red."""
    if share <= 1 / 3:
        return 1 - share * 3, share * 3, 0.0
    if share <= 2 / 3:
        return 0.0, 1.0, (share - 1 / 3) * 3
    return 0.0, 1 - (share - 2 / 3) * 3, 1.0


def _dot(drawn: np.ndarray, places: np.ndarray, radius: float, colour: tuple) -> None:
    """Filled circles around (n, 2) places, x and y."""
    reach = np.arange(-int(LARGE) - 1, int(LARGE) + 2)
    rows, columns = np.meshgrid(reach, reach, indexing="ij")
    inside = rows**2 + columns**2 <= radius**2
    y = (places[:, 1, None] + rows[inside]).ravel()
    x = (places[:, 0, None] + columns[inside]).ravel()
    there = (y >= 0) & (y < drawn.shape[0]) & (x >= 0) & (x < drawn.shape[1])
    drawn[y[there], x[there]] = colour
