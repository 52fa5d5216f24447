"""A decoded frame as it is displayed: its colours, what is transparent, its shape, its rotation."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import torch
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ...models.errors import InputError
from ..rounding import nearest
from .tone import ORDINARY, PEAK, PQ_PEAK, ColourSpace, as_sdr

# Colour matrices by their number in the file (ISO/IEC 23091-2): those that FFmpeg converts, by its
# own number. PyAV has a name for each of them from version 18 on only.
BT709, FCC, BT601, SMPTE240M, BT2020 = 1, 4, 5, 7, 9
MATRICES = {**{n: n for n in (BT709, FCC, BT601, SMPTE240M, BT2020)}, 6: BT601, 10: BT2020}
HDR = {16: "PQ", 18: "HLG"}  # by their number in the file (the same, transfer)
WIDEST = 8  # times as wide as high, a pixel; what claims more is not believed


@dataclass(frozen=True)
class Look:
    """How a file's frames are to be displayed.

    Attributes:
        stored: width and height of a frame in the file.
        shape: width of a pixel to its height.
        rotation: degrees counterclockwise by which frames are turned: 0, 90, 180 or 270.
        colours: what their code values stand for.
        transparent: whether they have an alpha channel.
    """

    stored: tuple[int, int]
    shape: Fraction = Fraction(1)
    rotation: int = 0
    colours: ColourSpace = ORDINARY
    transparent: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in square pixels, before it is turned. No row or column is given up."""
        width, height = self.stored
        if self.shape >= 1:
            return nearest(width * self.shape), height
        return width, nearest(height / self.shape)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as displayed, in square pixels."""
        width, height = self.upright
        return (height, width) if self.rotation % 180 else (width, height)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say about how the frames are changed to be displayed."""
        notes = []
        if self.colours.transfer:
            notes.append(f"its {self.colours.transfer} colours are brought into those of SDR")
        elif not self.colours.are_ordinary:
            notes.append("its wide colours are brought into those of BT.709")
        if self.transparent:
            notes.append("what is transparent became black")
        if self.shape != 1:
            size = "×".join(map(str, self.stored))
            notes.append(f"its pixels of {self.shape} to 1 ({size}) are made square")
        return tuple(notes)


def look_of(stream: Any, first: av.VideoFrame) -> Look:
    """How the frames of a stream are displayed. first: the first of them, decoded."""
    context = stream.codec_context
    shape = Fraction(stream.sample_aspect_ratio or 1)
    colours = ColourSpace(
        HDR.get(int(context.color_trc or 0)), int(context.color_primaries or 0), _peak(first)
    )
    return Look(
        (first.width, first.height),
        shape if 1 / WIDEST <= shape <= WIDEST else Fraction(1),
        round(getattr(first, "rotation", 0) / 90) % 4 * 90,
        colours,
        any(component.is_alpha for component in first.format.components),
    )


def _peak(frame: av.VideoFrame) -> float:
    """The brightest light of a video in cd/m², where it says so (CTA-861.3, SMPTE ST 2086)."""
    content = _told(frame, Type.CONTENT_LIGHT_LEVEL)[:4]
    screen = _told(frame, Type.MASTERING_DISPLAY_METADATA)[72:80]  # after 8 chromaticities, black
    above, below = np.frombuffer(screen or bytes(8), np.int32).tolist()
    brightest = int.from_bytes(content, sys.byteorder) or (above / below if below else 0)
    return min(brightest, PQ_PEAK) if brightest > 0 else PEAK


def _told(frame: av.VideoFrame, kind: Type) -> bytes:
    """What stands beside a frame, as FFmpeg's struct; nothing if nothing of that kind does."""
    with suppress(KeyError):
        return bytes(frame.side_data[kind])
    return b""


def displayed(frame: av.VideoFrame, look: Look, name: str) -> NDArray[np.uint8]:
    """A frame as it is displayed: (h, w, 3).

    Args:
        look: of its file, whose name is `name`.

    Raises:
        InputError: if it is of another size than the first one.
    """
    if (frame.width, frame.height) != look.stored:
        was, now = look.stored, (frame.width, frame.height)
        raise InputError(
            f"{name} changes from {was[0]}×{was[1]} to {now[0]}×{now[1]}: all frames of a video "
            f"must be of one size."
        )
    rich = not look.colours.are_ordinary
    pixels = _rgb(frame, look, rich)
    if rich:
        colour = torch.from_numpy(pixels[..., :3].astype(np.int32))
        opacity = (pixels[..., 3:] >> 8).astype(np.uint8)
        pixels = np.dstack([as_sdr(colour, look.colours).numpy(), opacity])
    if look.transparent:
        opacity = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * opacity + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(pixels, look.rotation // 90))


def _rgb(frame: av.VideoFrame, look: Look, rich: bool) -> NDArray[Any]:
    """Its code values as RGB or RGBA, of 16 bits if `rich` and else of 8, in square pixels."""
    if (matrix := _matrix(frame)) is not None:
        frame.colorspace = matrix  # PyAV 17 takes BT.2020 from here only
    width, height = look.upright
    kinds = ("rgb48le", "rgba64le") if rich else ("rgb24", "rgba")
    picture = VideoReformatter().reformat(
        frame,
        width,
        height,
        format=kinds[look.transparent],
        src_colorspace=matrix,
        src_color_range=frame.color_range,
        # Nothing to RGB, but up to 16.1 PyAV looks at neither where they are equal.
        dst_colorspace=matrix and (BT601 if matrix == BT709 else BT709),
    )
    return picture.to_ndarray()


def _matrix(frame: av.VideoFrame) -> int | None:
    """The colour matrix of a frame; where it does not say, the one that players assume."""
    if frame.format.is_rgb or frame.format.has_palette:
        return None
    usual = BT709 if frame.height >= 720 else BT601
    return MATRICES.get(int(frame.colorspace), usual)
