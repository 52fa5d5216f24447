"""Latents to frames, a few at a time, with whatever VAE the host has loaded."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import comfy.model_management as mm
import comfy.sd
import torch
from einops import rearrange
from torch import Tensor

from ...engine.canvas.masked import check_video
from ...engine.frames.overlapped import Seams, context_of, overlapped
from ...engine.frames.prefetch import poured
from ...engine.frames.stream import decoded_pieces, frame_stream, to_bytes
from ...models.errors import InputError
from ..comfyui.progress import check_cancelled
from ..networks.vae import PieceDecoder, grid_of, in_tiles, make_room, streams

PIECE = 512 * 2**20  # bytes of the pixels that a VAE of core's decodes at a time, about
FEW = 8  # frames whose numbers are rounded to bytes at a time
log = logging.getLogger(__name__)
Busy = Callable[[], AbstractContextManager[Any]]
"""Around the work on a latent frame, from its decoding until the next one is asked for."""


class VideoDecoder:
    """Decodes one video with a VAE.

    Args:
        vae: any for videos. One that goes on from piece to piece is exact; any other is given
            pieces that overlap.

    Attributes:
        seams: where pieces met, of those that overlap.

    Raises:
        InputError: if it is not a video VAE.
    """

    def __init__(self, vae: comfy.sd.VAE):
        self.vae, self.grid, self.seams = vae, grid_of(vae), Seams()
        self._remembers = PieceDecoder(vae) if streams(vae) else None

    @property
    def note(self) -> str:
        """What to say of it afterwards; nothing if it was exact."""
        if self._remembers is not None and self._remembers.tiles > 1:
            return in_tiles(self._remembers.tiles)
        return str(self.seams) if self.seams.count else ""

    def frames(
        self, latents: Iterable[Tensor], total: int, busy: Busy = nullcontext
    ) -> Iterator[Tensor]:
        """The frame stream of latents that come in pieces.

        Args:
            latents: (1, c, t, h, w), piece after piece. While a piece is made, the weights may
                leave the device, and what the decoder remembers does.
            total: how many latent frames they are.
            busy: see Busy.
        """
        if self._remembers is not None:
            return frame_stream(self._remembers, self._one_by_one(latents, busy))
        pieces = self._checked(latents, busy)
        made = overlapped(self._clip, self.grid, pieces, total, context_of(self.grid), self.seams)
        return decoded_pieces(lambda pixels, _: (pixels, None), _few(made), to_bytes)

    def _one_by_one(self, latents: Iterable[Tensor], busy: Busy) -> Iterator[Tensor]:
        for piece in latents:
            make_room(self.vae, piece)  # sampling may have taken it
            for latent in piece.split(1, dim=2):
                with busy():
                    yield latent
            self._remembers.rest()

    def _checked(self, latents: Iterable[Tensor], busy: Busy) -> Iterator[Tensor]:
        """The pieces, none larger than what is decoded at a time."""
        for piece in latents:
            check_video(piece, self.grid.channels)
            if piece.shape[0] != 1:
                raise InputError(
                    f"a frame stream is one video, but these latents are {piece.shape[0]}."
                )
            for part in piece.split(self._most(piece), dim=2):
                with busy():
                    yield part

    def _most(self, latents: Tensor) -> int:
        """How many latent frames are decoded at a time, at most."""
        if pours(self.vae):
            return latents.shape[2]
        cell = latents.shape[3] * latents.shape[4] * self.grid.stride_hw**2
        most = self.grid.enough(max(1, PIECE // (12 * cell)))
        room, least = mm.get_total_memory(self.vae.device) / 2, 2 * sum(context_of(self.grid)[:2])

        def needs(count: int) -> float:
            shape = (*latents.shape[:2], count, *latents.shape[3:])
            return self.vae.memory_used_decode(shape, self.vae.vae_dtype)

        most = min(most, max(least, latents.shape[2]))
        while most > least and needs(most) > room:
            most = self.grid.as_clip(most // 2)
        return max(least, most)

    def _clip(self, latents: Tensor) -> Iterator[Tensor]:
        """Pixels of a clip (1, c, t, h, w), in [-1, 1]."""
        check_cancelled()
        make_room(self.vae, latents)
        given = 0
        if pours(self.vae):
            try:
                for pixels in poured(partial(self._pour, latents), depth=1):
                    given += pixels.shape[2]
                    yield pixels
                return
            except torch.cuda.OutOfMemoryError:
                log.warning("longtake: too little memory to decode at once, the VAE tiles")
        with torch.inference_mode(), same_noise():
            image = self.vae.decode(latents)  # tiles by itself where memory does not suffice
            image = image.float().mul_(2).sub_(1)  # in place: two of them may not fit
        yield rearrange(image[:, given:], "1 f h w c -> 1 c f h w")

    def _pour(self, latents: Tensor, give: Callable[[Tensor], None]) -> None:
        """Have core's network decode, and take its pixels as it makes them."""
        vae, network = self.vae, self.vae.first_stage_model
        with torch.inference_mode(), same_noise():
            on_device = latents.to(vae.device, vae.vae_dtype)
            shape = network.decode_output_shape(on_device.shape)

            def take(pixels: Tensor) -> None:
                check_cancelled()
                shown = vae.process_output(pixels.to("cpu", torch.float32, copy=True))
                give(shown.mul_(2).sub_(1))  # in place: it is a copy

            network.decode(on_device, output_buffer=Sink(shape, take))


def _few(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Pixels (1, 3, f, h, w), a few frames at a time; a piece is gone before the next is made."""
    for pixels in pieces:
        yield from pixels.split(FEW, dim=2)
        del pixels


def frames_of(vae: comfy.sd.VAE) -> Callable[[Tensor], Iterator[Tensor]]:
    """What decodes latents (1, c, t, h, w) into a frame stream."""
    return lambda latents: VideoDecoder(vae).frames([latents], latents.shape[2])


class Sink:
    """Where a network of core's writes the pixels that it decodes, in place of a tensor of all."""

    def __init__(self, shape: Iterable[int], take: Callable[[Tensor], None]):
        self.shape, self.copy_ = torch.Size(shape), take

    def __getitem__(self, _: Any) -> "Sink":
        return self


def pours(vae: comfy.sd.VAE) -> bool:
    """Whether a VAE's network gives pixels as it makes them, as newer hosts' do."""
    return getattr(vae.first_stage_model, "comfy_has_chunked_io", False)


@contextmanager
def same_noise() -> Iterator[None]:
    """Some of LTX's VAEs add noise to latents before they decode: the same noise each time."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        yield
