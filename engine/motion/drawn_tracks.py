"""Tracks as a picture: where each point goes, on the picture that it is of."""

from itertools import pairwise

from PIL import Image, ImageDraw

from .brush import Tracks
from .drawn_path import LONG_SIDE, colour_at

POINT = 4  # pixels, half the width of the dot where a track ends


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
