"""Our causal VAE as ComfyUI's VAE, and decoding piece by piece with any Wan VAE."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import comfy.ops
import comfy.sd
import torch
from comfy.ldm.modules.diffusionmodules.model import vae_attention
from comfy.ldm.wan.vae import WanVAE as CoreWanVAE
from comfy.ldm.wan.vae2_2 import WanVAE as CoreWan22VAE
from einops import rearrange
from torch import Tensor

from ...engine.canvas.grid import BlockGrid, CausalGrid, Grid
from ...engine.canvas.masked import check_video
from ...engine.frames.composite import Taken
from ...engine.frames.stream import DecodePiece, all_frames, as_image
from ...engine.levels import as_numbers
from ...models.attention import Attention, sdpa
from ...models.checkpoint import load_into
from ...models.cpu import bands, channels_last
from ...models.errors import CheckpointError, InputError, NotFiniteError, SizeError
from ...models.layers import norms_are_fused
from ...models.wan.causal import move
from ...models.wan.config import VAEConfig
from ...models.wan.detect import detect
from ...models.wan.tiles import WAITING, Tiling, remembered, tilings
from ...models.wan.vae import WanVAE
from ...models.weights_file import DTYPES as FILE_DTYPES
from ...models.weights_file import Header, TensorInfo
from ..comfyui.node_text import show_text
from ..comfyui.room import check_images
from .forward import in_pieces
from .layers import layers_from
from .patching import patcher_for, take_over

log = logging.getLogger(__name__)
# Latent cells along a side of a token, where they are not 2: LTX's and HunyuanVideo 1.5's.
PATCHES = {128: 1, 32: 1}
SEAM = "1 of 255"  # the most that tests/host/networks/test_vae.py found
WORKING = [torch.bfloat16, torch.float16, torch.float32]
# Peak memory by whether norms are fused, in units of a piece's largest tensor and with the past of
# all convolutions: as counted by tests/host/networks/test_vae.py, and a sixth more for what
# kernels need. Layout 2.2 needs more for its shortcuts.
ENCODING = {True: {False: 4.2, True: 4.9}, False: {False: 6.2, True: 7.0}}
DECODING = {True: {False: 5.7, True: 8.1}, False: {False: 7.7, True: 11.0}}


class ComfyWanVAE(WanVAE):
    """WanVAE as core's VAE calls it: whole clips in and out, computed a piece at a time.

    Newer hosts look for `comfy_has_chunked_io`: they pass the tensor to be filled, and pixels
    that are not on the device yet.
    """

    comfy_has_chunked_io = True

    def decode_output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(b, z, t, h, w) of latents -> (b, 3, f, h·s, w·s) of their pixels.

        Raises:
            InputError: for latents of another VAE; newer hosts ask this before they decode.
        """
        check_video(torch.empty(shape, device="meta"), self.config.latent_channels)
        (b, _, t, h, w), config = shape, self.config
        frames = 1 + (t - 1) * config.stride_t
        return b, 3, frames, h * config.stride_hw, w * config.stride_hw

    def decode(self, latents: Tensor, output_buffer: Tensor | None = None) -> Tensor:
        """Pixels of latents: (b, z, t, h, w), not clamped.

        Returns:
            (b, 3, f, h·s, w·s) float32 where the host keeps finished images, or `output_buffer`,
            filled. Never more than one piece is on the device.

        Raises:
            InputError: for latents of another VAE.
        """
        check_video(latents, self.config.latent_channels)
        out, at, state = output_buffer, 0, None
        if out is None:
            shape = self.decode_output_shape(latents.shape)
            out = torch.empty(shape, device=mm.intermediate_device())
        for latent in latents.split(1, dim=2):
            pixels, state = self.decode_piece(latent, state)
            bands.fill(out[:, :, at : at + pixels.shape[2]], pixels)
            at += pixels.shape[2]
        return out

    def encode(self, pixels: Tensor, device: torch.device | None = None) -> Tensor:
        """(b, 3, f, h, w) -> (b, z, t, h / s, w / s); frames that fill no latent are dropped."""
        weight = self.conv1.weight

        def on_device(frames: Tensor) -> Tensor:
            return frames if device is None else frames.to(device, weight.dtype)

        step, frames = self.config.stride_t, pixels.shape[2]
        pieces = _encoded_pieces(self, step, frames, lambda at: on_device(pixels[:, :, at]))
        return torch.cat(list(pieces), dim=2)


def _encoded_pieces(
    by: WanVAE | Tiling, step: int, frames: int, pixels: Callable[[slice], Tensor]
) -> Iterator[Tensor]:
    """Latents of so many frames, a latent frame at a time.

    Args:
        by: what encodes.
        step: pixel frames in each latent frame after the first.
        frames: of which a rest that fills no latent frame is dropped.
        pixels: gives (b, 3, f, h, w) of some of them, in order.
    """
    state, whole = None, 1 + (frames - 1) // step * step
    for start, stop in zip([0, *range(1, whole, step)], range(1, whole + 1, step), strict=True):
        latents, state = by.encode_piece(pixels(slice(start, stop)), state)
        yield latents


class ComfyVAE(comfy.sd.VAE):
    """Core's VAE around one of our networks; tiling, offloading and previews are core's."""

    def __init__(self, network: ComfyWanVAE, dtype: torch.dtype, dynamic: bool = True):
        # Core recognises networks by their weights, and none of ours. For this stand-in it sets
        # every attribute that its version has; those that differ are set below.
        super().__init__(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=dtype)
        config = network.config
        t, s = config.stride_t, config.stride_hw
        self.first_stage_model = network.eval()
        self.latent_channels, self.latent_dim, self.output_channels = config.latent_channels, 3, 3
        self.upscale_ratio = (lambda frames: max(0, 1 + (frames - 1) * t), s, s)
        self.upscale_index_formula = (t, s, s)
        self.downscale_ratio = (lambda frames: max(0, (frames + t - 1) // t), s, s)
        self.downscale_index_formula = (t, s, s)
        self.memory_used_encode = lambda shape, dtype: encode_bytes(config, shape, dtype)
        self.memory_used_decode = lambda shape, dtype: decode_bytes(config, shape, dtype)
        self.process_input = lambda image: image * 2.0 - 1.0
        # In place: newer hosts ignore what it returns.
        self.process_output = lambda image: image.add_(1.0).div_(2.0).clamp_(0.0, 1.0)
        self.working_dtypes = WORKING
        self.patcher = patcher_for(network, self.device, mm.vae_offload_device(), dynamic)
        self.size = None
        self.model_size()

    def get_sd(self) -> dict[str, Tensor]:
        """The weights for core's VAESave, in the memory layout of files and not channels last."""
        return {name: weight.contiguous() for name, weight in super().get_sd().items()}


def encode_bytes(config: VAEConfig, pixels: Sequence[int], dtype: torch.dtype) -> float:
    """Memory for encoding one of pixels: (b, 3, f, h, w), besides weights and pixels."""
    peak = ENCODING[norms_are_fused()][config.residual]
    numbers = peak * _widest(config, config.width, pixels[-2] * pixels[-1])
    return numbers * mm.dtype_size(dtype)


def decode_bytes(config: VAEConfig, latents: Sequence[int], dtype: torch.dtype) -> float:
    """Memory for decoding one of latents: (b, z, t, h, w), besides the weights."""
    pixels = latents[-2] * latents[-1] * config.stride_hw**2
    peak = DECODING[norms_are_fused()][config.residual]
    numbers = peak * _widest(config, config.decoder_width, pixels)
    return numbers * mm.dtype_size(dtype)


def _widest(config: VAEConfig, width: int, pixels: int) -> float:
    """How many numbers the largest tensor of one piece has, a latent frame of `pixels` pixels."""
    return pixels / config.patch**2 * width * max(config.multipliers[:2]) * config.stride_t


def best_dtype() -> torch.dtype:
    """What ComfyUI finds best for VAEs on this machine."""
    return mm.vae_dtype(mm.vae_device(), WORKING)


def build_vae(
    config: VAEConfig,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
    source: str,
    dynamic: bool = True,
) -> ComfyVAE:
    """A VAE from the weights of one of our networks.

    Args:
        config: its sizes.
        weights: by official name, on the CPU, in `dtype`. They are taken over.
        dtype: that it computes in.
        source: the file's name, for messages.
        dynamic: see `patching.patcher_for`.
    """
    layers = layers_from(comfy.ops.disable_weight_init)
    network = ComfyWanVAE(
        config, operations=layers, attention=frame_attention(), device="meta", dtype=dtype
    )
    take_over(network, weights, source)
    if mm.vae_device().type == "cpu":
        channels_last.lay_out(network)
    return ComfyVAE(network, dtype, dynamic)


def frame_attention() -> Attention:
    """How the pixels of a frame attend to each other: as in core's VAEs, within free memory.

    At 1080p all weights together take 2 to 6 GB, which torch's own kernel holds at once on devices
    where it has no better one; on a CPU it never does.
    """
    if mm.vae_device().type == "cpu":
        return partial(in_pieces, sdpa)
    attend = vae_attention()

    def as_images(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        images = (rearrange(x, "n 1 p c -> n c p 1") for x in (q, k, v))
        return rearrange(attend(*images), "n c p 1 -> n 1 p c")

    return as_images


def grid_of(vae: comfy.sd.VAE) -> Grid:
    """How a VAE packs pixels. Raises InputError if it is not a video VAE."""
    if getattr(vae, "latent_dim", 2) != 3:
        raise InputError(
            "this VAE makes single images, not videos: connect a video VAE, such as the one that "
            "LoadVAE loads."
        )
    frames_of, stride_hw = vae.upscale_ratio[0], vae.spacial_compression_decode()
    channels = vae.latent_channels
    patch = PATCHES.get(channels, 2)
    one, two, three = (frames_of(count) for count in (1, 2, 3))
    if three > two or two == one:
        return CausalGrid(channels, max(1, two - one), stride_hw, patch)
    # It says how long a clip is of so many latent frames, counting whole blocks only.
    block = next(count for count in range(1, 99) if frames_of(2 + count) > two)
    return BlockGrid(channels, two - one, stride_hw, patch, block, tail=2)


def decoder(vae: comfy.sd.VAE, latents: Tensor) -> DecodePiece:
    """A function that decodes a video piece by piece, with the weights on the device.

    Args:
        vae: ours, or core's own with a Wan network.
        latents: (b, c, t, h, w) that will be decoded; only their shape is used.

    Raises:
        InputError: if the VAE is of another family, or does not fit the latents.
    """
    _check_latents(vae, latents)
    decode_piece = PieceDecoder(vae)
    make_room(vae, latents)
    return decode_piece


class PieceDecoder:
    """Decodes a video piece by piece; what it remembers between pieces can leave the device.

    Somebody else sees to it that the weights are on the device, as `make_room` does. At 720p what
    is remembered takes 4 GB, which a transformer that samples the next window would lack.

    Where the device runs out of memory, the piece is begun again in tiles, and all that follow: as
    few as it takes. A piece that failed has used up its state, so what is remembered is made anew
    from the latents before.

    Attributes:
        tiles: how many tiles a frame is decoded in.
    """

    def __init__(self, vae: comfy.sd.VAE):
        self.vae, self.network = vae, streaming(vae)
        self.tiles = 1
        self._by: WanVAE | Tiling = self.network
        self._state: list = []
        self._before: deque[Tensor] = deque(maxlen=remembered(self.network.config))
        self._tilings: Iterator[Tiling] | None = None

    def __call__(self, piece: Tensor, state: Any | None) -> tuple[Tensor, Any]:
        """See DecodePiece. Raises InputError where the device has too little memory for tiles."""
        if state is None:
            self._before.clear()
        pixels = self._decoded([piece], state)
        while pixels is None:
            self._in_more_tiles(piece)
            pixels = self._decoded([*self._before, piece], None)
        self._before.append(piece)
        return pixels, self._state

    def _decoded(self, pieces: Sequence[Tensor], state: Any | None) -> Tensor | None:
        """The last one's pixels; None where they do not fit."""
        try:
            if state is not None and self._by is self.network:
                move(state, self.vae.device)
            with torch.inference_mode():
                for piece in pieces:
                    there = piece.to(self.vae.device, self.vae.vae_dtype)
                    pixels, state = self._by.decode_piece(there, state)
        except torch.cuda.OutOfMemoryError:
            if state is not None:
                state.clear()  # whoever holds it
            return None
        self._state = state
        return pixels

    def _in_more_tiles(self, piece: Tensor) -> None:
        """Raises InputError if there are no smaller ones."""
        if self._tilings is None:
            self._tilings = tilings(self.network, tuple(piece.shape[3:]))
        self._by = _smaller(self._tilings, self.vae, "decod", piece.shape)
        self.tiles = len(self._by.tiles)

    def rest(self) -> None:
        """What is remembered waits on the CPU for the next piece."""
        move(self._state if self._by is self.network else self._state[0], WAITING)


def _smaller(
    tilings: Iterator[Tiling], vae: comfy.sd.VAE, doing: str, latents: Sequence[int]
) -> Tiling:
    """The next tiling, which the running node tells of.

    Args:
        tilings: those that were not tried yet.
        vae: whose memory does not suffice.
        doing: "decod" or "encod".
        latents: (b, c, t, h, w), their shape.

    Raises:
        InputError: if there is none.
    """
    mm.soft_empty_cache()
    tiling = next(tilings, None)
    if tiling is None:
        stride = grid_of(vae).stride_hw
        height, width = (side * stride for side in latents[3:])
        raise InputError(
            f"the GPU ran out of memory while {doing}ing {width} × {height}, even in small tiles: "
            f"close what else uses the GPU, choose a smaller size, or use core's VAE "
            f"{doing.capitalize()}e (Tiled)."
        )
    text = in_tiles(len(tiling.tiles), doing)
    log.warning("longtake: %s", text)
    show_text(text)
    return tiling


def in_tiles(count: int, doing: str = "decod") -> str:
    """What people are told of it."""
    return f"short of GPU memory: {doing}ed in {count} tiles, slower, seams off by {SEAM} or less"


def check_decoding(vae: comfy.sd.VAE, shape: Sequence[int]) -> None:
    """Refuse to decode latents (b, c, t, h, w) of which a piece needs more than all the memory.

    On a CPU, where the system ends whoever asks for it; on a GPU it is done in tiles.

    Raises:
        InputError: with the largest size that fits.
    """
    tiled = ", or decode the LATENT with core's VAE Decode (Tiled)"
    _check_memory(vae, shape, grid_of(vae).stride_hw, vae.memory_used_decode, "decoding", tiled)


def check_encoding(vae: comfy.sd.VAE, height: int, width: int) -> None:
    """The same for frames that are to be encoded."""
    _check_memory(vae, (1, 3, 1, height, width), 1, vae.memory_used_encode, "encoding")


def _check_memory(
    vae: comfy.sd.VAE,
    shape: Sequence[int],
    side: int,
    needs: Callable[[Sequence[int], torch.dtype], float],
    what: str,
    instead: str = "",
) -> None:
    """`side`: pixels along a side of what `shape` counts."""
    h, w = shape[-2:]
    there, needed = mm.get_total_memory(vae.device), needs(shape, vae.vae_dtype)
    ours = isinstance(vae, ComfyVAE)  # of core's only the memory of whole videos is known
    if needed <= there or not ours or not mm.is_device_cpu(vae.device):
        return
    share = (there / needed) ** 0.5
    width, height = (int(n * side * share) // 32 * 32 for n in (w, h))
    raise InputError(
        f"{what} frames of {w * side}×{h * side} needs about {needed / 1e9:.0f} GB of memory, and "
        f"there are {there / 1e9:.0f}: choose a size up to {width}×{height}{instead}."
    )


def make_room(vae: comfy.sd.VAE, latents: Tensor) -> None:
    """Put a VAE on its device, with what decoding latents (b, c, t, h, w) takes to spare."""
    check_decoding(vae, latents.shape)
    load(vae, vae.memory_used_decode(latents.shape, vae.vae_dtype))


def decode_frames(vae: comfy.sd.VAE, latents: Tensor) -> Tensor:
    """All frames of latents: (b, c, t, h, w) as an IMAGE: (b·frames, h, w, 3) in [0, 1]."""
    grid = grid_of(vae)
    frames = grid.frames(latents.shape[2])
    height, width = (side * grid.stride_hw for side in latents.shape[3:])
    check_images(len(latents) * frames, width, height, "Decode holds a few of them at a time")
    if streams(vae):
        return all_frames(decoder(vae, latents), latents, frames)
    _check_latents(vae, latents)
    return as_image(vae.decode(latents).float().cpu())


def encode(vae: comfy.sd.VAE, image: Tensor) -> Tensor:
    """Latents of a clip.

    Args:
        vae: any for videos; ours and core's Wan networks need memory for a piece only.
        image: (frames, h, w, 3 or more) in [0, 1]; only the first three channels are used.

    Returns:
        (1, c, t, h, w) float32 on the CPU.

    Raises:
        FrameCountError, SizeError: off the VAE's grid, with the nearest that fit.
    """
    grid = grid_of(vae)
    _check_image(image, grid)
    if not streams(vae):
        return vae.encode(image[..., :3]).float().cpu()
    return _encoded(vae, (len(image), *image.shape[1:3]), lambda: lambda at: image[at, ..., :3])


def encode_stream(
    vae: comfy.sd.VAE, chunks: Callable[[], Iterator[Tensor]], shape: tuple[int, int, int]
) -> Tensor:
    """As `encode`, of a frame stream: with most VAEs a few of its frames are in memory at a time.

    Args:
        chunks: begins the stream; again, where memory did not suffice.
        shape: (frames, h, w) of it, on the VAE's grid.
    """
    if not streams(vae):
        check_images(*shape[:1], *shape[:0:-1], "take a shorter part of the clip", copies=2)
        return encode(vae, as_numbers(Taken(chunks()).take(shape[0])))

    def begun() -> Callable[[slice], Tensor]:
        taken = Taken(chunks())
        return lambda at: as_numbers(taken.take(at.stop - at.start))

    return _encoded(vae, shape, begun)


def _encoded(
    vae: comfy.sd.VAE, shape: tuple[int, int, int], begun: Callable[[], Callable[[slice], Tensor]]
) -> Tensor:
    """Latents of (frames, h, w), from what gives some of these in order each time it is begun."""
    network, (frames, height, width) = streaming(vae), shape
    check_encoding(vae, height, width)
    load(vae, vae.memory_used_encode((1, 3, frames, height, width), vae.vae_dtype))

    def encoded(by: WanVAE | Tiling) -> Tensor | None:
        """None where it does not fit."""
        pictures = begun()

        def pixels(at: slice) -> Tensor:
            some = rearrange(pictures(at), "f h w c -> 1 c f h w")
            return bands.by_rows(lambda x: (x * 2.0 - 1.0).to(vae.device, vae.vae_dtype), some)

        try:
            with torch.inference_mode():
                step = network.config.stride_t
                pieces = [z.float().cpu() for z in _encoded_pieces(by, step, frames, pixels)]
        except torch.cuda.OutOfMemoryError:
            return None
        return torch.cat(pieces, dim=2)

    cell = grid_of(vae).stride_hw
    latent = (1, grid_of(vae).channels, 1, height // cell, width // cell)
    smaller = tilings(network, latent[3:])
    latents = encoded(network)
    while latents is None:
        latents = encoded(_smaller(smaller, vae, "encod", latent))
    return latents


def _check_image(image: Tensor, grid: Grid) -> None:
    if image.ndim != 4 or image.shape[-1] < 3:
        raise InputError(
            f"frames of shape {tuple(image.shape)} are not an IMAGE: need "
            f"(frames, height, width, 3)."
        )
    if not bands.all_finite(image, axis=1):
        raise NotFiniteError("the frames hold NaN or infinite pixels: check the node before.")
    grid.latent_frames(image.shape[0])
    for name, pixels in (("height", image.shape[1]), ("width", image.shape[2])):
        if pixels % grid.stride_hw:
            raise SizeError(name, pixels, grid.stride_hw)


def _check_latents(vae: comfy.sd.VAE, latents: Tensor) -> None:
    """Raises InputError for latents that a VAE cannot decode."""
    check_video(latents, grid_of(vae).channels)


def load(vae: comfy.sd.VAE, memory: float) -> None:
    """Load a VAE's weights to its device, with `memory` bytes to spare."""
    whole = getattr(vae, "disable_offload", False)
    mm.load_models_gpu([vae.patcher], memory_required=memory, force_full_load=whole)


def streams(vae: comfy.sd.VAE) -> bool:
    """Whether a VAE's network can go on from one piece of a video to the next."""
    return isinstance(vae.first_stage_model, (WanVAE, CoreWanVAE, CoreWan22VAE))


def streaming(vae: comfy.sd.VAE) -> WanVAE:
    """The network of a VAE as one of ours.

    Core's Wan networks have the same parameters under the same names. Ours shares them, so that
    nothing is in memory twice and moving one to a device moves the other.
    """
    network = vae.first_stage_model
    if isinstance(network, WanVAE):
        return network
    shared = network.state_dict(keep_vars=True)
    try:
        config = detect(_header_of(shared), "vae").config
    except CheckpointError:
        raise InputError(
            f"this VAE ({type(network).__name__}) cannot be decoded in pieces, only Wan VAEs can: "
            f"use core's VAEDecode for it."
        ) from None
    layers = layers_from(comfy.ops.manual_cast)
    ours = WanVAE(
        config,
        operations=layers,
        attention=frame_attention(),
        device="meta",
        dtype=vae.vae_dtype,
    )
    load_into(ours, shared, type(network).__name__)
    return ours.eval()


def _header_of(weights: dict[str, Tensor]) -> Header:
    """Weights in memory, described as if they were in a file."""
    names = {dtype: name for name, dtype in FILE_DTYPES.items()}
    path = Path("VAE")
    return Header(
        path,
        {name: TensorInfo(tuple(w.shape), names[w.dtype], path) for name, w in weights.items()},
    )
