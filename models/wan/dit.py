"""Wan video transformer: text to video, image to video, VACE, per-frame noise levels in one module.

Axes, everywhere in this file:
    b  video in the batch     t h w  latent frame, row, column
    c  channel                f  token frame      s  token within its frame      n = f·s
    a  attention head         d  channel within a head      m  text or image token

Source: wan/modules/model.py in Wan-Video/Wan2.1@9737cba and Wan-Video/Wan2.2@42bf4cf, whose
parameter names are kept.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import ceil, log, prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..attention import Attention, sdpa
from ..errors import InputError
from ..layers import Residual, transformer_layers
from .attention_layers import CrossAttention, KeysValues, SelfAttention
from .config import DiTConfig
from .rope import AS_TRAINED, COMPLETE, Axis, rope_table


class Text(NamedTuple):
    """A prompt as the transformer reads it: every block's keys and values, computed once.

    Attributes:
        words: of the text tokens, a pair for each block; VACE's come after the others'.
        image: the same of CLIP image tokens.
    """

    words: Sequence[KeysValues]
    image: Sequence[KeysValues] | None = None


class Segment(NamedTuple):
    """Latent frames [start, stop) attend to this text."""

    start: int
    stop: int
    text: Text


class Hint(NamedTuple):
    """What a VACE checkpoint is shown of the video that it is to make.

    Attributes:
        context: (b, vace_channels, t, h, w): inactive latents, reactive ones, mask.
        strength: how much it counts, for all latent frames or for each: (t,) or (b, t).
    """

    context: Tensor
    strength: float | Tensor = 1.0


AroundBlock = Callable[[int, Callable[[Tensor], Tensor], Tensor], Tensor]
"""(index, block, x) -> block(x), or something else: where to watch, replace or skip a block."""


def _run_block(_index: int, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return block(x)


class Block(nn.Module):
    def __init__(self, config: DiTConfig, operations: Any, **kw: Any):
        super().__init__()
        width, bare = config.width, dict(eps=config.eps, elementwise_affine=False, **kw)
        self.norm1 = operations.ModulatedNorm(width, **bare)
        self.self_attn = SelfAttention(config, operations, **kw)
        self.norm3 = operations.LayerNorm(width, eps=config.eps, elementwise_affine=True, **kw)
        self.cross_attn = CrossAttention(config, operations, **kw)
        self.norm2 = operations.ModulatedNorm(width, **bare)
        self.ffn = nn.Sequential(
            operations.LinearGELU(width, config.mlp_width, **kw),
            nn.Identity(),  # Wan's GELU, so that names agree
            operations.Linear(config.mlp_width, width, **kw),
        )
        self.sum = Residual()
        self.modulation = _random_rows(1, 6, width, **kw)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        table: Tensor,
        words: Sequence[tuple[slice, KeysValues]],
        image: KeysValues | None,
        attention: Attention,
    ) -> Tensor:
        """x + gate · attention, + cross attention, + gate · MLP, two of them on a modulated norm.

        Args:
            x: (b, f, s, c) video tokens.
            modulation: (b, f or 1, s or 1, 6, c) of the noise level of each token frame or token.
            table: from `rope_table`.
            words: token frames, and the text keys and values they attend to.
            image: keys and values of CLIP image tokens; all tokens attend to them.
            attention: the kernel.
        """
        own = self.modulation.to(x)

        def row(k: int) -> Tensor:
            """(b, f or 1, s or 1, c), made when it is needed: by token it is as large as x."""
            return own[:, k] + modulation[..., k, :]

        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = map(partial, (row,) * 6, range(6))
        y = self.self_attn(self.norm1(x, shift_a(), scale_a()), table, attention)
        x = self.sum(x, y, gate_a())
        y = self.cross_attn(self.norm3(x), words, image, attention)
        x = self.sum(x, y)
        up, _, down = self.ffn  # not called as one, which would hold what went in to its end
        y = down(up(self.norm2(x, shift_m(), scale_m())))
        return self.sum(x, y, gate_m())

    def layers_of_a_step(self) -> tuple[nn.Module, ...]:
        """Those with weights that `forward` computes with; the others read text, once in a run."""
        cross = self.cross_attn
        return self.self_attn, self.norm3, cross.q, cross.norm_q, cross.o, self.ffn


class VaceBlock(Block):
    """A block beside the others, on tokens of its own; it hands hints over to them.

    Source: `VaceWanAttentionBlock` in vace/models/wan/modules/model.py, ali-vilab/VACE.
    """

    def __init__(self, config: DiTConfig, operations: Any, first: bool, **kw: Any):
        super().__init__(config, operations, **kw)
        if first:  # which adds what the other blocks begin with
            self.before_proj = operations.Linear(config.width, config.width, **kw)
        self.after_proj = operations.Linear(config.width, config.width, **kw)

    def layers_of_a_step(self) -> tuple[nn.Module, ...]:
        first = (self.before_proj,) if hasattr(self, "before_proj") else ()
        return *super().layers_of_a_step(), self.after_proj, *first


class Head(nn.Module):
    def __init__(self, config: DiTConfig, operations: Any, **kw: Any):
        super().__init__()
        width = config.width
        self.norm = operations.ModulatedNorm(width, eps=config.eps, elementwise_affine=False, **kw)
        self.head = operations.Linear(width, config.out_channels * prod(config.patch), **kw)
        self.modulation = _random_rows(1, 2, width, **kw)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (b, f, s, c), embedding: (b, f or 1, s or 1, c) -> (b, f, s, patch·channels)."""
        shift, scale = (self.modulation.to(x) + embedding.unsqueeze(3)).unbind(3)
        return self.head(self.norm(x, shift, scale))


class ImageEmbedding(nn.Module):
    """CLIP image tokens -> the transformer's width; FLF2V adds positions to those of two images."""

    def __init__(self, config: DiTConfig, operations: Any, **kw: Any):
        super().__init__()
        wide, width = config.image_width, config.width
        self.proj = nn.Sequential(
            operations.LayerNorm(wide, **kw),
            operations.Linear(wide, wide, **kw),
            nn.GELU(),
            operations.Linear(wide, width, **kw),
            operations.LayerNorm(width, **kw),
        )
        if config.image_positions is not None:
            self.emb_pos = nn.Parameter(torch.zeros(1, config.image_positions, wide, **kw))

    def forward(self, image: Tensor) -> Tensor:
        if hasattr(self, "emb_pos"):
            image = image + self.emb_pos[:, : image.shape[1]].to(image)
        return self.proj(image)


class WanDiT(nn.Module):
    """Predicts the velocity, noise - clean, of a noisy latent video.

    Args:
        config: sizes.
        operations: where layers come from, `torch.nn` or ComfyUI's `comfy.ops` classes.
        attention: the kernel used unless a call names another.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        config: DiTConfig,
        *,
        operations: Any = nn,
        attention: Attention = sdpa,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        operations = transformer_layers(operations)
        linear, width = operations.Linear, config.width
        self.config = config
        self.attention = attention
        self.patch_embedding = operations.Conv3d(
            config.in_channels, width, config.patch, config.patch, **kw
        )
        self.text_embedding = nn.Sequential(
            linear(config.text_width, width, **kw),
            nn.GELU(approximate="tanh"),
            linear(width, width, **kw),
        )
        self.time_embedding = nn.Sequential(
            linear(config.freq_width, width, **kw), nn.SiLU(), linear(width, width, **kw)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), linear(width, 6 * width, **kw))
        if config.frame_rates:
            self.fps_embedding = operations.Embedding(2, width, **kw)
            self.fps_projection = nn.Sequential(
                linear(width, width, **kw), nn.SiLU(), linear(width, 6 * width, **kw)
            )
        if config.image_width is not None:
            self.img_emb = ImageEmbedding(config, operations, **kw)
        self.blocks = nn.ModuleList(Block(config, operations, **kw) for _ in range(config.depth))
        self.head = Head(config, operations, **kw)
        if config.vace_blocks:
            self.vace_patch_embedding = operations.Conv3d(
                config.vace_channels, width, config.patch, config.patch, **kw
            )
            self.vace_blocks = nn.ModuleList(
                VaceBlock(config, operations, i == 0, **kw) for i in range(config.vace_blocks)
            )
            self.sum = Residual()

    @property
    def all_blocks(self) -> list[Block]:
        """Those of the video, then VACE's."""
        return [*self.blocks, *(self.vace_blocks if self.config.vace_blocks else ())]

    def layers_of_a_step(self) -> list[tuple[nn.Module, ...]]:
        """Those with weights that a step computes with, block by block, with VACE's beside it."""
        layers = [block.layers_of_a_step() for block in self.blocks]
        for k, i in enumerate(self.config.vace_layers):
            layers[i] += self.vace_blocks[k].layers_of_a_step()
        return layers

    def read_text(self, context: Tensor, image: Tensor | None = None) -> Text:
        """Every block's keys and values of a prompt; they do not change from step to step.

        Args:
            context: (b, m, text_width) from the text encoder, zero beyond its end. Fewer than
                `text_length` tokens are padded with zeros, as in Wan's training.
            image: (b, i, image_width) CLIP image tokens, for checkpoints that take them.
        """
        missing = self.config.text_length - context.shape[1]
        if missing > 0:
            context = F.pad(context, (0, 0, 0, missing))
        context = self.text_embedding(context)
        words = tuple(block.cross_attn.read(context) for block in self.all_blocks)
        if image is None or self.config.image_width is None:
            return Text(words)
        tokens = self.img_emb(image)
        blocks = self.all_blocks
        return Text(words, tuple(block.cross_attn.read_image(tokens) for block in blocks))

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        text: Text | Sequence[Segment],
        *,
        hints: Sequence[Hint] = (),
        first_frame: int = 0,
        fps: float = 24,
        axes: tuple[Axis, Axis, Axis] = AS_TRAINED,
        attention: Attention | None = None,
        around_block: AroundBlock = _run_block,
    ) -> Tensor:
        """The velocity at x.

        Args:
            x: (b, c, t, h, w) noisy latents, and for I2V the mask and image channels after them.
                Heights and widths off the patch grid are padded circularly, and cropped again.
            timestep: (b,), or (b, t) when latent frames differ: 1000·sigma, 0 for known frames. Or
                (b, t, y, x) when tokens do, y and x being rows and columns of tokens.
            text: from `read_text`, or segments of it that cover every latent frame in order.
            hints: what a VACE checkpoint is shown; of the same batch and size as x.
            first_frame: where in its video x begins, in latent frames.
            fps: frames per second, for checkpoints that are conditioned on it.
            axes: positions other than those trained on, see `rope_table`.
            attention: a kernel for this call.
            around_block: see `AroundBlock`.

        Returns:
            (b, out_channels, t, h, w), such that clean = x - sigma·velocity.
        """
        t, h, w = x.shape[2:]
        tokens = self.patch_embedding(pad_to_patch(x, self.config.patch))
        grid = tuple(tokens.shape[2:])
        # Left as a view, every sum with it would keep its order, channels first, down to the head.
        tokens = rearrange(tokens, "b c f h w -> b f (h w) c").contiguous()
        start = first_frame // self.config.patch[0]
        table = rope_table(grid, self.config.head_dim, tokens.device, start, axes)
        embedding = self._embed(timestep, tokens.dtype)
        modulation = self._modulation(embedding, fps)
        spans = self._spans(text, t)
        image = spans[0][1].image

        def running(block: Block, i: int) -> Callable[[Tensor], Tensor]:
            return partial(
                block,
                modulation=modulation,
                table=table,
                words=[(span, heard.words[i]) for span, heard in spans],
                image=image and image[i],
                attention=attention or self.attention,
            )

        shown = self._shown(hints, tokens)
        for i, block in enumerate(self.blocks):
            tokens = around_block(i, running(block, i), tokens)
            tokens = self._hinted(tokens, i, shown, running)
        return self._unpatch(self.head(tokens, embedding), grid)[:, :, :t, :h, :w]

    def _hinted(
        self,
        tokens: Tensor,
        i: int,
        shown: list[tuple[Tensor, Tensor]],
        running: Callable[[Block, int], Callable[[Tensor], Tensor]],
    ) -> Tensor:
        """What comes out of block i, with what VACE's block beside it says; that goes on itself.

        Args:
            shown: from `_shown`; one hint at a time is held besides.
            running: a block with all that it reads besides tokens, by its number among all.
        """
        if not shown or i not in self.config.vace_layers:
            return tokens
        k = self.config.vace_layers.index(i)
        beside = self.vace_blocks[k]
        step = running(beside, self.config.depth + k)
        for n, (own, strength) in enumerate(shown):
            shown[n] = (step(own), strength)
            tokens = self.sum(tokens, beside.after_proj(shown[n][0]), strength)
        return tokens

    def _shown(self, hints: Sequence[Hint], tokens: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The tokens that VACE's blocks begin with, and how much each frame of them counts."""
        shown = []
        for context, strength in hints:
            own = self.vace_patch_embedding(pad_to_patch(context, self.config.patch))
            own = rearrange(own, "b c f h w -> b f (h w) c").to(tokens)
            gate = torch.as_tensor(strength, dtype=tokens.dtype, device=tokens.device)
            gate = gate.view(*gate.shape[:-1], -1)[..., :: self.config.patch[0]]
            begin = self.sum(tokens, self.vace_blocks[0].before_proj(own))
            shown.append((begin, rearrange(torch.atleast_2d(gate), "b f -> b f 1 1")))
        return shown

    def _embed(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        """timestep: (b,), (b, t) or (b, t, y, x) -> its embedding (b, 1 or f, 1 or s, c)."""
        by_frame = timestep[:, None] if timestep.ndim == 1 else timestep[:, :: self.config.patch[0]]
        by_token = by_frame.reshape(*by_frame.shape[:2], -1)
        return self.time_embedding(sinusoid(by_token, self.config.freq_width).to(dtype))

    def _modulation(self, embedding: Tensor, fps: float) -> Tensor:
        """embedding: (b, 1 or f, 1 or s, c) -> (..., 6, c): shift, scale and gate, twice.

        Source: `inject_sample_info` in skyreels_v2_infer/modules/transformer.py,
        SkyworkAI/SkyReels-V2, which distinguishes 16 frames a second from all other rates.
        """
        rows = self.time_projection(embedding)
        if self.config.frame_rates:
            rate = torch.tensor([fps != 16], dtype=torch.long, device=embedding.device)
            rows = rows + self.fps_projection(self.fps_embedding(rate).to(embedding))
        return rows.unflatten(-1, (6, -1))

    def _spans(self, text: Text | Sequence[Segment], frames: int) -> list[tuple[slice, Text]]:
        """Ranges of token frames, and the text that each attends to."""
        if isinstance(text, Text):
            return [(slice(None), text)]
        edges = [(segment.start, segment.stop) for segment in text]
        bounds = [0, *(stop for _, stop in edges)]
        if edges != list(pairwise(bounds)) or bounds != sorted({*bounds}) or bounds[-1] != frames:
            raise InputError(
                f"text segments must follow one another from 0 to {frames} latent frames, "
                f"got {edges}."
            )
        step = self.config.patch[0]
        return [(slice(ceil(s.start / step), ceil(s.stop / step)), s.text) for s in text]

    def _unpatch(self, tokens: Tensor, grid: tuple[int, ...]) -> Tensor:
        """(b, f, s, patch·channels) -> (b, c, t, h, w)."""
        p, q, r = self.config.patch
        pattern = "b f (h w) (p q r c) -> b c (f p) (h q) (w r)"
        return rearrange(tokens, pattern, h=grid[1], w=grid[2], p=p, q=q, r=r)


def _random_rows(*shape: int, **kw: Any) -> nn.Parameter:
    """Small random numbers; none are drawn on the meta device, where a checkpoint replaces them."""
    rows = torch.empty(shape, **kw)
    return nn.Parameter(rows if rows.is_meta else rows.normal_(std=shape[-1] ** -0.5))


def pad_to_patch(x: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """x: (b, c, t, h, w) padded circularly up to whole patches."""
    t, h, w = (-size % p for size, p in zip(x.shape[2:], patch, strict=True))
    return F.pad(x, (0, w, 0, h, 0, t), mode="circular") if t or h or w else x


def sinusoid(position: Tensor, width: int) -> Tensor:
    """position: (...) -> (..., width) float32: cosines, then sines, from fast to slow.

    Source: `sinusoidal_embedding_1d` in wan/modules/model.py, Wan-Video/Wan2.1@9737cba.
    """
    half, home = width // 2, position.device
    if home.type not in COMPLETE:
        position = position.cpu()
    speed = torch.exp(
        torch.arange(half, dtype=torch.float64, device=position.device) * (-log(10_000) / half)
    )
    angle = position.double().unsqueeze(-1) * speed
    return torch.cat((angle.cos(), angle.sin()), dim=-1).float().to(home)
