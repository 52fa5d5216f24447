"""Contact sheets: clips as rows of frames, each with its words under it."""

from textwrap import wrap

import torch
from PIL import Image, ImageDraw
from torch import Tensor

LINE = 12  # pixels of height for a line of text


def clip_sheet(
    clips: list[Tensor], texts: list[str], *, every: int = 4, columns: int = 2, lines: int = 2
) -> Image.Image:
    """A picture of every `every`-th frame of each clip, its text below.

    Args:
        clips: uint8 (frames, h, w, 3) each, all of one size; texts: one for each clip.
        columns: clips side by side; lines: room for text.
    """
    strips = [torch.cat(list(clip[::every]), 1) for clip in clips]
    height, width = strips[0].shape[:2]
    cell_h, cell_w = height + lines * LINE + 4, width + 6
    rows = -(-len(strips) // columns)
    sheet = Image.new("RGB", (columns * cell_w, rows * cell_h), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (strip, text) in enumerate(zip(strips, texts, strict=True)):
        x, y = i % columns * cell_w, i // columns * cell_h
        sheet.paste(Image.fromarray(strip.numpy()), (x, y))
        for k, line in enumerate(wrap(text, width // 6)[:lines]):
            pen.text((x + 2, y + height + 1 + k * LINE), line, fill="black")
    return sheet


def to_frames(pixels: Tensor) -> Tensor:
    """(b, 3, frames, h, w) in [-1, 1] -> uint8 (b, frames, h, w, 3) on the CPU."""
    levels = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 4, 1).cpu().contiguous()
