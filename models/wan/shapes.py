"""A network's sizes, from the shapes of its tensors."""

import re
from collections.abc import Mapping
from math import isqrt, prod

from ..errors import CheckpointError
from ..weights_file import Header
from .config import DiTConfig, VAEConfig
from .packed import Note, unpacked_shape

HEAD_DIM = 128  # of every published Wan transformer; its shapes do not show it


class Shapes(dict[str, tuple[int, ...]]):
    """Shape by official name; a missing name raises CheckpointError in words for the user."""

    def __init__(
        self, header: Header, names: Mapping[str, str], packed: Mapping[str, Note] | None = None
    ):
        super().__init__({new: header.tensors[old].shape for old, new in names.items()})
        for layer, note in (packed or {}).items():
            if shape := self.get(f"{layer}.weight"):
                self[f"{layer}.weight"] = unpacked_shape(shape, note)
        self.source = header.name

    def __missing__(self, name: str):
        raise CheckpointError(f"'{self.source}' is incomplete: it has no tensor '{name}'.")

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor. Raises CheckpointError unless it has `axes` axes, none empty."""
        shape = self[name]
        if len(shape) != axes or not all(shape):
            raise CheckpointError(
                f"'{self.source}': '{name}' is {shape}, but it should have {axes} axes; these "
                f"weights are packed or quantised in a way that cannot be read here."
            )
        return shape


def dit_config(shapes: Shapes, heads: int | None = None) -> DiTConfig:
    """A transformer's sizes. Raises CheckpointError where its shapes contradict Wan's.

    Args:
        heads: how many; None for as many as published transformers of its width have.
    """
    width, in_channels, *patch = shapes.of("patch_embedding.weight", 5)
    if heads is None and width % HEAD_DIM:
        raise CheckpointError(
            f"'{shapes.source}' is {width} channels wide; Wan models are multiples of {HEAD_DIM}."
        )
    clip = "img_emb.proj.0.weight" in shapes
    two_images = "img_emb.emb_pos" in shapes
    out_channels = shapes.of("head.head.weight", 2)[0] // prod(patch)
    frame_rates = "fps_embedding.weight" in shapes  # SkyReels-V2 1.3B for diffusion forcing
    return DiTConfig(
        width=width,
        depth=count_blocks(shapes, r"blocks\.(\d+)\."),
        heads=heads or width // HEAD_DIM,
        mlp_width=shapes.of("blocks.0.ffn.0.weight", 2)[0],
        in_channels=in_channels,
        out_channels=out_channels,
        text_width=shapes.of("text_embedding.0.weight", 2)[1],
        patch=tuple(patch),
        freq_width=shapes.of("time_embedding.0.weight", 2)[1],
        image_width=shapes.of("img_emb.proj.0.weight", 1)[0] if clip else None,
        image_positions=shapes.of("img_emb.emb_pos", 3)[1] if two_images else None,
        # 48 channels are the 2.2 VAE's, which of Wan's own models only TI2V works with.
        frame_levels=out_channels == 48 or frame_rates,
        frame_rates=frame_rates,
        **_vace(shapes),
    )


def _vace(shapes: Shapes) -> dict[str, int]:
    """How many blocks VACE has, and what channels they read; nothing for checkpoints without it."""
    if "vace_patch_embedding.weight" not in shapes:
        return {}
    return {
        "vace_blocks": count_blocks(shapes, r"vace_blocks\.(\d+)\."),
        "vace_channels": shapes.of("vace_patch_embedding.weight", 5)[1],
    }


def vae_config(shapes: Shapes) -> VAEConfig:
    """A VAE's sizes. Raises CheckpointError where its shapes contradict Wan's."""
    width, channels = shapes.of("encoder.conv1.weight", 5)[:2]
    residual = any(re.match(r"encoder\.downsamples\.\d+\.downsamples\.", name) for name in shapes)
    stages = _nested_stages(shapes) if residual else _flat_stages(shapes)
    first = stages[0][0]
    if any(len(blocks) != len(first) or not blocks for blocks, _ in stages):
        raise CheckpointError(f"'{shapes.source}' is incomplete: its encoder lacks some blocks.")
    widths = [shapes.of(f"{blocks[0]}.residual.2.weight", 5)[0] for blocks, _ in stages]
    patch = isqrt(channels // 3)
    if any(w % width for w in widths) or 3 * patch**2 != channels:
        raise CheckpointError(f"'{shapes.source}' has the names of a Wan VAE, but not its sizes.")
    return VAEConfig(
        width=width,
        decoder_width=shapes.of("decoder.head.0.gamma", 4)[0] * width // widths[0],
        latent_channels=shapes.of("conv2.weight", 5)[0],
        multipliers=tuple(w // width for w in widths),
        res_blocks=len(first),
        temporal=tuple(f"{down}.time_conv.weight" in shapes for _, down in stages[:-1]),
        patch=patch,
        residual=residual,
    )


def text_encoder_config(shapes: Shapes) -> dict[str, int]:
    """A UMT5 encoder's sizes, as transformers names them."""
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    vocabulary, width = shapes.of("shared.weight", 2)
    heads = shapes.of(bias, 2)[1]
    inner = shapes.of("encoder.block.0.layer.0.SelfAttention.q.weight", 2)[0]
    return {
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": shapes.of("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 2)[0],
        "num_heads": heads,
        "num_layers": count_blocks(shapes, r"encoder\.block\.(\d+)\."),
        "vocab_size": vocabulary,
    }


Stage = tuple[list[str], str]  # names of an encoder stage's residual blocks, and its downsampling


def _nested_stages(shapes: Shapes) -> list[Stage]:
    """Layout 2.2: a list of stages, each a list of blocks with the downsampling last."""
    stages = []
    for i in range(count_blocks(shapes, r"encoder\.downsamples\.(\d+)\.")):
        stage = f"encoder.downsamples.{i}.downsamples"
        length = count_blocks(shapes, rf"{re.escape(stage)}\.(\d+)\.")
        parts = [f"{stage}.{j}" for j in range(length)]
        blocks = [part for part in parts if f"{part}.residual.2.weight" in shapes]
        stages.append((blocks, parts[-1]))
    return stages


def _flat_stages(shapes: Shapes) -> list[Stage]:
    """Layout 2.1: one list, where every downsampling ends a stage."""
    stages, blocks = [], []
    for i in range(count_blocks(shapes, r"encoder\.downsamples\.(\d+)\.")):
        part = f"encoder.downsamples.{i}"
        if f"{part}.residual.2.weight" in shapes:
            blocks.append(part)
        else:
            stages.append((blocks, part))
            blocks = []
    return [*stages, (blocks, "")]


def count_blocks(shapes: Shapes, pattern: str) -> int:
    """How many blocks a numbered list has. Raises CheckpointError if some are missing."""
    numbers = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    if numbers and max(numbers) < len(numbers):
        return len(numbers)
    # Up to how many there are, not to the largest number, which may be anything in a bad file.
    lacking = sorted(set(range(len(numbers) + 1)) - numbers)
    where = pattern.replace("\\", "").partition("(")[0]
    raise CheckpointError(f"'{shapes.source}' is incomplete: it has no '{where}{lacking[0]}'.")
