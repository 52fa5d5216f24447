"""Latents to frames, a few at a time, with whatever VAE the host has loaded."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import comfy.model_management as mm
import comfy.sd
import torch
from einops import rearrange
from torch import Tensor

from ...engine.canvas.grid import BlockGrid
from ...engine.canvas.masked import check_video
from ...engine.frames.overlapped import Seams, context_of, overlapped
from ...engine.frames.prefetch import poured
from ...engine.frames.stream import decoded_pieces, frame_stream, to_bytes
from ...engine.frames.tiled import tile_by_tile
from ...engine.heap import give_back_holes
from ...models.errors import InputError
from ..comfyui.progress import check_cancelled
from ..networks.vae import PieceDecoder, grid_of, in_tiles, make_room, streams

PIECE = 512 * 2**20  # bytes of the pixels that a VAE of core's decodes at a time, about
FEW = 64 * 2**20  # bytes of those that are rounded to bytes at a time, about
LATENTS = 32 * 2**20  # bytes of latents that a decoder of blocks is given, and copies, at a time
TILE = 256  # pixels along a side of a tile, at least at first; core's own number
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
        tiles: where tiles of them met, where memory did not suffice for whole pictures.

    Raises:
        InputError: if it is not a video VAE.
    """

    def __init__(self, vae: comfy.sd.VAE):
        self.vae, self.grid, self.seams = vae, grid_of(vae), Seams()
        self._remembers = PieceDecoder(vae) if streams(vae) else None
        self.tiles, self._short = Seams(), False  # of memory for whole pictures

    @property
    def note(self) -> str:
        """What to say of it afterwards; nothing if it was exact."""
        if self._remembers is not None and self._remembers.tiles > 1:
            return in_tiles(self._remembers.tiles)
        notes = [str(self.seams)] if self.seams.count else []
        if self.tiles.count:
            notes.append(f"short of memory: in tiles, which differ by {self.tiles.apart}")
        return "; ".join(notes)

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
        return (rearrange(some, "1 c f h w -> f h w c").contiguous() for some in made)

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
            if not isinstance(self.grid, BlockGrid):
                return latents.shape[2]  # all of them, for its pieces would have seams
            return max(4 * self.grid.block, LATENTS // (latents[:, :, :1].numel() * 4))
        cell = latents.shape[3] * latents.shape[4] * self.grid.stride_hw**2
        context = context_of(self.grid)
        around = context.before + context.after + 1
        most = self.grid.enough(max(1, PIECE // (12 * cell))) - around
        # At least half of what is decoded at a time is new.
        room, least = mm.get_total_memory(self.vae.device) / 2, around

        def needs(count: int) -> float:
            shape = (*latents.shape[:2], count + around, *latents.shape[3:])
            return self.vae.memory_used_decode(shape, self.vae.vae_dtype)

        most = min(most, max(least, latents.shape[2]))
        while most > least and needs(most) > room:
            most = self.grid.as_clip(most // 2)
        return max(least, most)

    def _clip(self, latents: Tensor) -> Iterator[Tensor]:
        """Pixels of a clip (1, c, t, h, w), (1, 3, f, h, w) in bytes."""
        check_cancelled()
        make_room(self.vae, latents)
        given = 0
        if not self._short and self._fits(latents):
            try:
                for some in self._untiled(latents):
                    given += some.shape[2]
                    yield some
                return
            except torch.cuda.OutOfMemoryError:
                log.warning("longtake: too little memory to decode whole pictures")
                self._short = True
                mm.soft_empty_cache()
        rows = self._by_core(latents) if pours(self.vae) else self._in_tiles(latents)
        for some in zip(*(row[:, :, given:].split(8, dim=2) for row in rows), strict=True):
            yield torch.cat(some, dim=3)

    def _fits(self, latents: Tensor) -> bool:
        """Whether to try; a GPU says so itself, a CPU's system ends whoever asks for too much.

        A network that pours is always tried: core's estimate is of the whole video, not of its
        pieces, and on a CPU core would only decode it in the same way and hold all its pixels.
        """
        device = self.vae.device
        if pours(self.vae):
            return True
        needed = self.vae.memory_used_decode(latents.shape, self.vae.vae_dtype)
        return not mm.is_device_cpu(device) or needed <= mm.get_total_memory(device)

    def _by_core(self, latents: Tensor) -> list[Tensor]:
        """(1, 3, f, h, w) in bytes, alone, of a network that pours: core has it tile."""
        with torch.inference_mode(), same_noise():
            image = rearrange(self.vae.decode(latents), "1 f h w c -> 1 c f h w")
        made = in_bytes(some.float() * 2 - 1 for some in few_of(image))
        return [torch.cat(list(made), dim=2)]

    def _in_tiles(self, latents: Tensor) -> list[Tensor]:
        """See `tile_by_tile`; in bytes: where whole pictures do not fit, the largest tiles that do.

        Core's own tiling holds them in numbers, and a weight for each.
        """
        vae, side = self.vae, max(4, TILE // self.grid.stride_hw)
        room = mm.get_total_memory(vae.device) / 2

        def needs(side: int) -> float:
            shape = (*latents.shape[:3], *(min(side, n) for n in latents.shape[3:]))
            return vae.memory_used_decode(shape, vae.vae_dtype)

        while 2 * side < max(latents.shape[3:]) and needs(2 * side) <= room:
            side *= 2

        def finish(pixels: Tensor) -> Tensor:
            give_back_holes()
            return torch.cat(list(in_bytes(few_of(pixels))), dim=2)

        while True:
            try:
                return tile_by_tile(latents, side, self._tile, finish, self.tiles)
            except torch.cuda.OutOfMemoryError:
                if side <= 4:
                    raise
            mm.soft_empty_cache()
            side //= 2

    def _tile(self, latents: Tensor) -> Tensor:
        check_cancelled()
        return torch.cat(list(self._at_once(latents)), dim=2)

    def _untiled(self, latents: Tensor) -> Iterator[Tensor]:
        """The same, in bytes as soon as they are there.

        Raises:
            OutOfMemoryError: of the device, after none or some of them.
        """
        if pours(self.vae):
            yield from poured(partial(self._pour, latents), depth=1)
            return
        ready = deque(in_bytes(self._at_once(latents)))  # whose numbers are gone then
        give_back_holes()
        while ready:
            yield ready.popleft()

    def _at_once(self, latents: Tensor) -> Iterator[Tensor]:
        """What core's network makes of all of them, in [-1, 1], a few frames at a time.

        Core's VAE would hold them three times in numbers before it gives them.
        """
        with torch.inference_mode(), same_noise():
            there = latents.to(self.vae.device, self.vae.vae_dtype)
            pixels = self.vae.first_stage_model.decode(there)
        for some in few_of(pixels):
            yield self._shown(some)

    def _pour(self, latents: Tensor, give: Callable[[Tensor], None]) -> None:
        """Have core's network decode, and take its pixels as it makes them."""
        vae, network = self.vae, self.vae.first_stage_model
        with torch.inference_mode(), same_noise():
            on_device = latents.to(vae.device, vae.vae_dtype)
            shape = network.decode_output_shape(on_device.shape)

            def take(pixels: Tensor) -> None:
                for some in in_bytes(map(self._shown, few_of(pixels))):
                    check_cancelled()
                    give(some)
                give_back_holes()

            network.decode(on_device, output_buffer=Sink(shape, take))

    @torch.inference_mode()
    def _shown(self, pixels: Tensor) -> Tensor:
        """A network's pixels as core's VAE gives them, but in [-1, 1]."""
        shown = self.vae.process_output(pixels.to("cpu", torch.float32, copy=True))
        return shown.mul_(2).sub_(1)  # in place: it is a copy


def few_of(pixels: Tensor) -> tuple[Tensor, ...]:
    """Pixels (1, 3, f, h, w) a few frames at a time."""
    return pixels.split(max(1, FEW // (4 * pixels[:, :, :1].numel())), dim=2)


def in_bytes(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Pixels (1, 3, f, h, w) in [-1, 1] as bytes.

    Raises:
        NotFiniteError: see `decoded_pieces`.
    """
    for chunk in decoded_pieces(lambda pixels, _: (pixels, None), pieces, to_bytes):
        yield rearrange(chunk, "f h w c -> 1 c f h w")


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
