"""Latents to frames, a few at a time, so that memory does not grow with the length of a video.

A frame stream is an iterator of chunks: uint8 tensors (frames, h, w, 3) on the CPU. Decoding,
interpolation, watermarking and encoding are stages on it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...models.cpu import bands
from ...models.errors import InputError, NoPictureError, NotFiniteError
from ..opaque import opaque

FLAT = 3  # of 255: what a picture of one colour varies by, for rounding
MOST, PIXELS = 8, 2**24  # frames, and pixels of them, that are worked on at once

DecoderState = Any  # opaque; passed from one piece to the next
DecodePiece = Callable[[Tensor, DecoderState | None], tuple[Tensor, DecoderState]]
"""(b, c, t, h, w) latents and the state after the frames before -> (b, 3, f, h, w) in [-1, 1]."""


def decoded_pieces(
    decode_piece: DecodePiece,
    pieces: Iterable[Tensor],
    finish: Callable[[Tensor], Tensor] = lambda pixels: pixels,
) -> Iterator[Tensor]:
    """Decode a video that comes in pieces, each (b, c, t, h, w).

    Yields:
        What `finish` makes of (b, 3, f, h, w) pixels, about -1 … 1, not clamped. Together they are
        what decoding all the latents at once would give.

    Raises:
        NotFiniteError: if a pixel is NaN or infinite; it would become black.
    """
    state, at = None, 0
    for piece in pieces:
        pixels, state = decode_piece(piece, state)
        if not bands.all_finite(pixels):
            raise NotFiniteError(
                f"the decoder gave NaN or infinite pixels at latent frame {at}: "
                f"the latents or the VAE's weights are damaged, or its dtype overflows."
            )
        at += piece.shape[2]
        pixels = finish(pixels)  # the same name: the decoder's tensor is not kept while we wait
        del piece  # nor, while the next one is made, what this may be a part of
        yield pixels


def to_bytes(pixels: Tensor) -> Tensor:
    """(1, 3, f, h, w) pixels in [-1, 1] -> a chunk (f, h, w, 3) of uint8, rounded to nearest."""
    return bands.by_rows(_levels, rearrange(pixels, "1 c f h w -> f h w c"), axis=1).cpu()


def _levels(pictures: Tensor) -> Tensor:
    scaled = pictures.float().add(1).mul_(127.5).round_().clamp_(0, 255)
    # In the order of an encoder's rows before it leaves a card, which turns it round at no cost.
    return scaled.to(torch.uint8).contiguous()


def frame_stream(decode_piece: DecodePiece, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The frames of one video that comes in pieces, each (1, c, t, h, w), as a frame stream.

    Memory holds the decoder's state, one piece and its frames, however long the video.
    """
    return decoded_pieces(decode_piece, map(_one_video, pieces), to_bytes)


def _one_video(latents: Tensor) -> Tensor:
    """The latents themselves. Raises InputError if they are not those of one video."""
    if latents.shape[0] != 1:
        raise InputError(f"a frame stream is one video, but these latents are {latents.shape[0]}.")
    return latents


def without_first(chunks: Iterable[Tensor], frames: int) -> Iterator[Tensor]:
    """A frame stream without its first `frames` frames."""
    for chunk in chunks:
        if frames < len(chunk):
            yield chunk[frames:]
        frames = max(0, frames - len(chunk))


class ColoursSeen:
    """Looks at a frame stream as it passes: is all of it one colour?"""

    def __init__(self):
        self._low = self._high = None

    def seen(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """A frame stream as it is."""
        for chunk in chunks:
            if len(chunk) and (self._low is None or self.only is not None):
                least, most = edges(chunk)
                self._low = least if self._low is None else torch.minimum(self._low, least)
                self._high = most if self._high is None else torch.maximum(self._high, most)
            yield chunk

    @property
    def only(self) -> tuple[int, ...] | None:
        """Red, green and blue, 0 to 255, of all that has passed; None if there are more."""
        if self._low is None or varies(self._low, self._high):
            return None
        return tuple(self._low.tolist())


def with_a_picture(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """A frame stream as it is.

    Raises:
        NoPictureError: at its end, if all of it was one colour: so do weights of zeros, or latents
            that are none, come out of a decoder.
    """
    colours = ColoursSeen()
    yield from colours.seen(chunks)
    if colours.only is not None:
        raise no_picture(colours.only)


def varies(low: Tensor, high: Tensor) -> bool:
    """Whether colours between these two, (3,) in 0 to 255 each, are more than one."""
    return bool((high.int() - low.int() >= FLAT).any())


def no_picture(colour: Sequence[int]) -> NoPictureError:
    """colour: red, green and blue, 0 to 255."""
    return NoPictureError(
        f"all frames are one colour, {', '.join(map(str, colour))} of 255: the VAE's weights or "
        f"the latents are not those of a picture. Choose the VAE that belongs to the model, get "
        f"another copy of its file, or look at what made the LATENT."
    )


def edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the most of each colour of pictures (..., h, w, c): two of (c,)."""
    rows = bands.bands(pictures, axis=-3)
    found = [torch.aminmax(part.flatten(0, -2), dim=0) for (part,) in rows]
    return (
        torch.stack([edge.min for edge in found]).amin(0),
        torch.stack([edge.max for edge in found]).amax(0),
    )


def few_at_a_time(images: Tensor) -> Iterator[Tensor]:
    """Pictures (n, h, w, c) a few at a time, as many as take a moment to work on."""
    return iter(images.split(max(1, min(MOST, PIXELS // (images.shape[1] * images.shape[2])))))


def image_stream(images: Tensor) -> Iterator[Tensor]:
    """ComfyUI's IMAGE, (frames, h, w, c) in [0, 1], as a frame stream: opaque, in bytes."""
    for piece in few_at_a_time(images):
        yield bands.by_rows(lambda rows: to_chunk(opaque(rows)), piece, axis=1)


def to_chunk(pictures: Tensor) -> Tensor:
    """Pictures (..., h, w, 3) in [0, 1] in bytes, on the CPU."""
    return pictures.float().mul(255).round_().clamp_(0, 255).to(torch.uint8).contiguous().cpu()


def with_even_sides(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The frames with even sides, as 4:2:0 video needs: an odd one's last row or column twice."""
    for chunk in chunks:
        for axis in (1, 2):
            if chunk.shape[axis] % 2:
                chunk = torch.cat([chunk, chunk.narrow(axis, chunk.shape[axis] - 1, 1)], axis)
        yield chunk


def all_frames(decode_piece: DecodePiece, latents: Tensor, frames: int, size: int = 1) -> Tensor:
    """All the frames at once, as ComfyUI's IMAGE has them.

    Args:
        decode_piece: see DecodePiece.
        latents: (b, c, t, h, w).
        frames: pixel frames of each of the b videos.
        size: latent frames to decode at a time.

    Returns:
        (b·frames, h, w, 3) float32 in [0, 1] on the CPU, one video after another. It is filled in
        place: the peak is this tensor and one piece.

    Raises:
        NotFiniteError: if a pixel is NaN or infinite.
        NoPictureError: if all frames are one colour.
    """
    out, at = torch.empty(0), 0
    for pixels in decoded_pieces(decode_piece, latents.split(size, dim=2)):
        if at == 0:
            b, c, _, h, w = pixels.shape
            out = torch.empty(b, frames, h, w, c)
        stop = at + pixels.shape[2]
        pictures = rearrange(pixels, "b c f h w -> b f h w c")
        for piece, place in bands.bands(pictures, out[:, at:stop], axis=2):
            place.copy_(piece.float().add(1).div_(2).clamp_(0, 1))
        at = stop
    return as_image(out)


def as_image(pixels: Tensor) -> Tensor:
    """Videos (b, f, h, w, c) in [0, 1] as ComfyUI's IMAGE: (b·f, h, w, c).

    Raises:
        NoPictureError: if all frames are one colour.
    """
    low, high = (edge.mul(255).round() for edge in edges(pixels))
    if not varies(low, high):
        raise no_picture(low.int().tolist())
    return rearrange(pixels, "b f h w c -> (b f) h w c")
