"""Our transformer behind the call that core's samplers make."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy
import comfy.model_management as mm
import comfy.patcher_extension
import torch
from comfy.cli_args import args
from comfy.ldm.modules.attention import optimized_attention
from einops import rearrange
from torch import Tensor

from ...models.attention import Attention, chunked, sdpa
from ...models.wan.config import DiTConfig
from ...models.wan.dit import AroundBlock, Hint, Segment, WanDiT
from ...models.wan.rope import Axis
from ..comfyui.conditioning import runs_of
from ..comfyui.progress import check_cancelled
from .layers import layers_from
from .text_memory import TextMemory

AT_A_TIME = 2 * 10**10  # operations of attention on a CPU, a second's work
DIFFUSION_MODEL = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL


class ComfyDiT(WanDiT):
    """WanDiT with core's call, its wrappers, its attention and its block replacements.

    It is a WanDiT and does not contain one, so that parameters keep the official names, by which
    LoRAs find them. `texts` is opened and closed by the callbacks in `patching`.
    """

    def __init__(self, config: DiTConfig, *, operations: Any, device: Any, dtype: torch.dtype):
        super().__init__(config, operations=layers_from(operations), device=device, dtype=dtype)
        self.dtype = dtype  # core reads it
        self.patch_size = config.patch  # other packs read this
        self.in_channels = config.out_channels  # and RenormCFG this: of the latents alone
        self.texts = TextMemory()

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None = None,
        time_dim_concat: Tensor | None = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The velocity at x, called as core calls its own.

        Args:
            x: (b, c, t, h, w) noisy latents with any image channels after them.
            timestep: (b,) or (b, t), 1000·sigma.
            context: (b, m, text_width).
            clip_fea: (b, i, image_width) CLIP image tokens.
            time_dim_concat: (b, c, r, h, w) reference latents that follow the video in time.
            transformer_options: core's, with wrappers, overrides and replacements.
        """
        options = {} if transformer_options is None else transformer_options
        if "easycache" in options:
            # EasyCache adds to x in place, which in float32 is the sampler's own tensor.
            x = x.clone()
        wrappers = comfy.patcher_extension.get_all_wrappers(DIFFUSION_MODEL, options)
        executor = comfy.patcher_extension.WrapperExecutor.new_class_executor(
            self._velocity, self, wrappers
        )
        # Wrappers expect the options last.
        return executor.execute(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)

    def _velocity(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None,
        time_dim_concat: Tensor | None,
        options: dict[str, Any],
        fps: float = 24,
        shot_texts: Sequence[Tensor] = (),
        shot_frames: Tensor | None = None,
        shots_meet: float = 1.0,
        vace_context: Tensor | None = None,
        vace_strength: Sequence[float] = (),
        vace_frame_strength: Tensor | None = None,
        vace_lead: int = 0,
        **_: Any,
    ) -> Tensor:
        frames = x.shape[2]
        hints = _hints(vace_context, vace_strength, vace_frame_strength)
        if time_dim_concat is not None:
            x = torch.cat((x, time_dim_concat.to(x)), dim=2)
        image = clip_fea if self.config.image_width is not None else None
        velocity = partial(
            super().forward,
            fps=fps,
            attention=_attention_with(options),
            around_block=_prefetching(
                _around_block_with(options, context, timestep, self.config.depth),
                self,
                x.device,
                options,
            ),
            axes=_axes_with(options.get("rope_options") or {}),
        )
        if shot_frames is None:
            text = self.texts.read(self.read_text, context, image)
            out = velocity(x, timestep, text, hints=hints)
            return out[:, :, :frames]
        segments = [
            Segment(start, stop, self.texts.read(self.read_text, shot_texts[shot], image))
            for start, stop, shot in runs_of(shot_frames, x.shape[2])
        ]
        if timestep.max() <= 1000 * shots_meet:
            return velocity(x, timestep, segments, hints=hints)[:, :, :frames]
        apart = [_by_itself(velocity, s, x, timestep, hints, vace_lead) for s in segments]
        return torch.cat(apart, dim=2)[:, :, :frames]


def _hints(
    contexts: Tensor | None, strengths: Sequence[float], by_frame: Tensor | None
) -> list[Hint]:
    """What VACE is shown.

    Args:
        contexts: (b, n, c, t, h, w).
        strengths: n numbers.
        by_frame: (b, n, 1, t, 1, 1), how much each latent frame counts besides.
    """
    if contexts is None:
        return []
    pairs = zip(contexts.unbind(1), strengths, strict=True)
    if by_frame is None:
        return [Hint(context, strength) for context, strength in pairs if strength]
    rows = by_frame.flatten(2).unbind(1)  # each (b, t)
    return [Hint(hint, strength * row) for (hint, strength), row in zip(pairs, rows, strict=True)]


def _by_itself(
    velocity: Callable[..., Tensor],
    segment: Segment,
    x: Tensor,
    timestep: Tensor,
    hints: Sequence[Hint],
    lead: int,
) -> Tensor:
    """The velocity of a segment that sees no other, only the `lead` references in front of all."""
    before = lead if segment.start else 0
    if not before and (segment.start, segment.stop) == (0, x.shape[2]):
        return velocity(x, timestep, segment.text, hints=hints)
    seen = [*range(before), *range(segment.start, segment.stop)]
    if timestep.ndim > 1:
        timestep = timestep[:, seen]
    hints = [
        Hint(
            context[:, :, seen],
            strength[..., seen] if torch.is_tensor(strength) else strength,
        )
        for context, strength in hints
    ]
    return velocity(x[:, :, seen], timestep, segment.text, hints=hints)[:, :, before:]


def _axes_with(rope_options: dict[str, float]) -> tuple[Axis, Axis, Axis]:
    """The positions that core's ScaleROPE sets: scaled and shifted along t, y and x."""
    t, y, x = (
        (rope_options.get(f"shift_{axis}", 0.0), rope_options.get(f"scale_{axis}", 1.0))
        for axis in ("t", "y", "x")
    )
    return t, y, x


def _attention_with(options: dict[str, Any]) -> Attention:
    """The host's attention, whichever it is set to, or what a node replaces it with."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q: (b, h, n, d), k and v: (b, h, m, d) -> (b, h, n, d)."""
        if "optimized_attention_override" not in options and (own := own_kernel(q)):
            return in_pieces(own, q, k, v)
        return optimized_attention(
            q,
            k,
            v,
            heads=q.shape[1],
            skip_reshape=True,
            skip_output_reshape=True,
            transformer_options=options,
        )

    return attend


def in_pieces(own: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of so many tokens that Cancel would wait for it, some of them at a time."""
    b, h, n, d = q.shape
    rows = max(256, AT_A_TIME // (4 * b * h * d * k.shape[2]))
    if n <= rows:
        return own(q, k, v)
    out = q.new_empty(b, n, h, d).transpose(1, 2)  # in memory as the kernels leave it
    for at in range(0, n, rows):
        check_cancelled()
        out[:, :, at : at + rows] = own(q[:, :, at : at + rows], k, v)
    return out


def own_kernel(x: Tensor) -> Attention | None:
    """A kernel for a CPU that is faster than core's default; None where the user chose one."""
    if x.device.type != "cpu" or _kernel_is_chosen():
        return None
    return {torch.float32: sdpa, torch.bfloat16: chunked}.get(x.dtype)


def _kernel_is_chosen() -> bool:
    """Whether ComfyUI was started with an option for its attention on a CPU."""
    return args.use_split_cross_attention or args.use_quad_cross_attention


def attends_in_parts(device: torch.device) -> bool:
    """Whether the kernel there never holds the attention weights of all tokens at once."""
    if device.type == "cpu":
        return not _kernel_is_chosen()
    return mm.xformers_enabled() or mm.pytorch_attention_flash_attention()


def _around_block_with(
    options: dict[str, Any], context: Tensor, timestep: Tensor, depth: int
) -> AroundBlock:
    """Runs what nodes replace blocks with: `patches_replace["dit"]["double_block", i]`.

    Such a node gets the tokens flat, (b, n, c), as core's Wan has them. It may change them before
    and after the block; changes to text and noise level have no effect.
    """
    replacements = options.get("patches_replace", {}).get("dit", {})
    options["total_blocks"] = depth

    def around(i: int, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        options["block_index"] = i  # which attention overrides distinguish layers by
        replacement = replacements.get(("double_block", i))
        if replacement is None:
            return block(x)
        f = x.shape[1]

        def original(args: dict[str, Any]) -> dict[str, Any]:
            tokens = rearrange(args["img"], "b (f s) c -> b f s c", f=f)
            return {"img": rearrange(block(tokens), "b f s c -> b (f s) c")}

        args = {
            "img": rearrange(x, "b f s c -> b (f s) c"),
            "txt": context,
            "vec": timestep,
            "pe": None,
            "transformer_options": options,
        }
        out = replacement(args, {"original_block": original})
        return rearrange(out["img"], "b (f s) c -> b f s c", f=f)

    return around


def _prefetching(
    around: AroundBlock, network: WanDiT, device: torch.device, options: dict[str, Any]
) -> AroundBlock:
    """Has newer hosts fetch the weights of a block together, before it is computed.

    Without it, each layer waits for its own. The host asks for it with dynamic VRAM alone.
    """
    host = getattr(comfy, "model_prefetch", None)
    if host is None or not options.get("prefetch_dynamic_vbars"):
        return around
    queue: list[Any] | None = None
    blocks = network.blocks

    def prefetching(i: int, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        nonlocal queue
        if i == 0:
            queue = host.make_prefetch_queue(network.layers_of_a_step(), device, options)
        if queue is None:
            return around(i, block, x)
        host.prefetch_queue_pop(queue, device, blocks[i])
        y = around(i, block, x)
        if i == len(blocks) - 1:
            host.prefetch_queue_pop(queue, device, None)  # lets go of the last one's
        return y

    return prefetching
