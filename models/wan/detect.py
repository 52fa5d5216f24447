"""What a checkpoint is, told from the names and shapes of its tensors."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Literal

import torch

from ..errors import CheckpointError
from ..weights_file import DTYPES, Header, one_line, shortened
from .config import DiTConfig, VAEConfig
from .keys import DIT_UNUSED, dit_from_diffusers, vae_from_diffusers

Kind = Literal["dit", "vae", "text_encoder"]
HEAD_DIM = 128  # of every published Wan transformer; shapes do not show it

WORDS: Mapping[str, str] = {
    "dit": "a video model",
    "vae": "a VAE",
    "text_encoder": "a text encoder",
}
LOADERS: Mapping[str, str] = {
    "dit": "Longtake's LoadModel",
    "vae": "Longtake's LoadVAE",
    "text_encoder": "Longtake's LoadTextEncoder",
}

# Relatives of Wan with modules that ours has not: a sign, the name, what runs it.
UNSUPPORTED: tuple[tuple[str, str, str], ...] = (
    (r"vace_patch_embedding\.", "Wan VACE", "core's WanVaceToVideo"),
    (r"control_adapter\.conv\.", "Wan Fun Camera", "core's WanCameraImageToVideo"),
    (r"casual_audio_encoder\.", "Wan 2.2 S2V", "core's WanSoundImageToVideo"),
    (r"audio_proj\.audio_proj_glob_1\.", "HuMo", "core's WanHuMoImageToVideo"),
    (r"(face_adapter|motion_encoder)\.", "Wan 2.2 Animate", "core's WanAnimateToVideo"),
    (r"ref_conv\.", "Wan Fun Control", "core's WanFunControlToVideo or Wan22FunControlToVideo"),
    (r"fps_embedding\.", "SkyReels-V2 1.3B with its frame rate input", ""),
    (r"blocks\.\d+\..*to_gate_compress\.", "FastWan with sparse attention", ""),
    (r"blocks\.\d+\..*local_attn\.proj_l\.", "TurboDiffusion with sparse attention", ""),
)
# What text that anybody may have written can raise on its way to a config.
NOT_A_NOTE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
FUN_CONTROL = "core's WanFunControlToVideo or Wan22FunControlToVideo"

# Files that are chosen by mistake: a sign in their names, what they are, what to do.
OTHERS: tuple[tuple[str, str, str], ...] = (
    (
        r"\.lora_(A|B|up|down)\.|\.diff$|\.diff_b$",
        "a LoRA",
        "Load the model first, then add this with core's LoraLoaderModelOnly.",
    ),
    (
        r"(^|\.)(vision_model\.encoder\.|visual\.transformer\.)",
        "a CLIP image encoder",
        "Load it with core's CLIPVisionLoader.",
    ),
    (
        r"^blocks\.0\.pos_embedding\.embedding\.weight$",
        "a UMT5 text encoder in Wan's own naming, which ComfyUI does not read",
        "Use umt5_xxl_fp16.safetensors or umt5_xxl_fp8_e4m3fn_scaled.safetensors.",
    ),
    (
        r"encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight$",
        "a T5 text encoder, as Flux and SD3 use it",
        "Wan needs UMT5: umt5_xxl_fp16.safetensors or umt5_xxl_fp8_e4m3fn_scaled.safetensors.",
    ),
    (
        r"\.(double_blocks|single_blocks|joint_blocks|input_blocks|transformer_blocks)\.0\.",
        "a model of another family than Wan",
        "Load it with core's own loaders.",
    ),
)
SCALED = re.compile(
    r"(^|\.)(scaled_fp8|scale_weight|scale_input|weight_scale|weight_scale_2|input_scale|comfy_quant)$"
)


@dataclass(frozen=True)
class Checkpoint:
    """What `detect` found.

    Attributes:
        kind: which of the three networks.
        family: its name for people, as "Wan 2.1 I2V".
        config: DiTConfig, VAEConfig, or for a text encoder UMT5's sizes as a dict.
        names: name in the file -> official name, of all tensors that belong to the network.
        dtype: in which most of its numbers are stored.
        built_in: made by this project's training, so not to be scaled by Wan's latent statistics.
    """

    kind: Kind
    family: str
    config: DiTConfig | VAEConfig | dict[str, Any]
    names: Mapping[str, str]
    dtype: torch.dtype
    built_in: bool = False


class Shapes(dict[str, tuple[int, ...]]):
    """Shape by official name; asking for one that is not there explains itself to the user."""

    def __init__(self, header: Header, names: Mapping[str, str]):
        super().__init__({new: header.tensors[old].shape for old, new in names.items()})
        self.source = header.name

    def __missing__(self, name: str):
        raise CheckpointError(f"'{self.source}' is incomplete: it has no tensor '{name}'.")

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor that must have so many axes, none of them empty."""
        shape = self[name]
        if len(shape) != axes or not all(shape):
            raise CheckpointError(
                f"'{self.source}': '{name}' is {shape}, but it should have {axes} axes; these "
                f"weights are packed or quantised in a way that cannot be read here."
            )
        return shape


def detect(header: Header, want: Kind | None = None) -> Checkpoint:
    """What network a file holds, and how to read it.

    Args:
        header: from `read_header`.
        want: the kind the user asked for. A file that holds several gives this one; None takes
            the first of video model, VAE, text encoder.

    Raises:
        CheckpointError: another kind than wanted, a relative of Wan that is not supported, or
            nothing known; says what it is and what loads it.
    """
    if "longtake" in header.metadata:
        found = [built_in(header)]
    else:
        find = {"dit": find_dit, "vae": find_vae, "text_encoder": find_text_encoder}
        kinds = [want, *(kind for kind in find if kind != want)] if want else list(find)
        found = [hit for kind in kinds if (hit := find[kind](header))]
    if not found:
        raise unknown(header)
    if want and found[0].kind != want:
        raise CheckpointError(
            f"'{header.name}' is {WORDS[found[0].kind]} ({found[0].family}), not {WORDS[want]}; "
            f"choose it in {LOADERS[found[0].kind]}."
        )
    return found[0]


def unknown(header: Header) -> CheckpointError:
    names = list(header.tensors)
    for sign, what, remedy in OTHERS:
        if any(re.search(sign, name) or re.search(sign, f".{name}") for name in names):
            return CheckpointError(f"'{header.name}' is {what}. {remedy}")
    return CheckpointError(
        f"'{header.name}' is none of the networks known here (Wan video model, Wan VAE, UMT5 text "
        f"encoder); its tensors are {shortened(names, limit=3)}."
    )


def built_in(header: Header) -> Checkpoint:
    """A file of our own making says in its metadata what it is."""
    configs: Mapping[str, Callable[[dict], Any]] = {
        "dit": DiTConfig.from_json,
        "vae": VAEConfig.from_json,
        "text_encoder": dict,
    }
    try:
        note = json.loads(header.metadata["longtake"])
        kind, numbers = note["kind"], note["config"]
        config = configs[kind](numbers)
    except NOT_A_NOTE as error:
        raise CheckpointError(
            f"'{header.name}' was made by Longtake, but its note on what it is cannot be read "
            f"({one_line(error)}). Get another copy of it."
        ) from None
    names = {name: name for name in header.tensors}
    return Checkpoint(kind, "Longtake nano", config, names, main_dtype(header, names), True)


def find_dit(header: Header) -> Checkpoint | None:
    names = under(header, "head.modulation")
    if names is None:
        names = under(header, "condition_embedder.time_proj.weight")
        if names is None:
            return None
        names = {k: dit_from_diffusers(v) for k, v in names.items() if not DIT_UNUSED.fullmatch(v)}
    refuse_relatives(header, names.values())
    refuse_quantised(header, names)
    config = dit_config(Shapes(header, names))
    return Checkpoint("dit", dit_family(header, config), config, names, main_dtype(header, names))


def find_vae(header: Header) -> Checkpoint | None:
    names = under(header, "decoder.middle.0.residual.0.gamma")
    if names is None:
        names = under(header, "decoder.mid_block.resnets.0.norm1.gamma")
        if names is None:
            return None
        rename = vae_from_diffusers(names.values())
        names = {k: rename(v) for k, v in names.items()}
    refuse_quantised(header, names)
    config = vae_config(Shapes(header, names))
    family = f"Wan {config.layout} VAE"
    return Checkpoint("vae", family, config, names, main_dtype(header, names))


def find_text_encoder(header: Header) -> Checkpoint | None:
    """UMT5 under transformers' names; its mark is a position bias in every block."""
    bias = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
    names = under(header, bias.format(0))
    if names is None or not {bias.format(1), "shared.weight"} <= set(names.values()):
        return None
    shapes = Shapes(header, names)
    vocabulary, width = shapes.of("shared.weight", 2)
    heads = shapes.of(bias.format(0), 2)[1]
    inner = shapes.of("encoder.block.0.layer.0.SelfAttention.q.weight", 2)[0]
    config = {
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": shapes.of("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 2)[0],
        "num_heads": heads,
        "num_layers": count_blocks(shapes, r"encoder\.block\.(\d+)\."),
        "vocab_size": vocabulary,
    }
    return Checkpoint("text_encoder", "UMT5", config, names, main_dtype(header, names))


def under(header: Header, landmark: str) -> dict[str, str] | None:
    """Tensors that share the landmark's prefix -> their names without it; None if it is absent.

    Files wrap a network in `model.`, `model.diffusion_model.`, `vae.` and the like; a file of
    several networks gives each its own prefix.
    """
    hits = [name for name in header.tensors if f".{name}".endswith(f".{landmark}")]
    if not hits:
        return None
    prefix = min(hits, key=len).removesuffix(landmark)
    return {name: name.removeprefix(prefix) for name in header.tensors if name.startswith(prefix)}


def dit_config(shapes: Shapes) -> DiTConfig:
    """A transformer's sizes. Raises CheckpointError where its shapes contradict Wan's."""
    width, in_channels, *patch = shapes.of("patch_embedding.weight", 5)
    if width % HEAD_DIM:
        raise CheckpointError(
            f"'{shapes.source}' is {width} channels wide; Wan models are multiples of {HEAD_DIM}."
        )
    clip = "img_emb.proj.0.weight" in shapes
    two_images = "img_emb.emb_pos" in shapes
    out_channels = shapes.of("head.head.weight", 2)[0] // prod(patch)
    return DiTConfig(
        width=width,
        depth=count_blocks(shapes, r"blocks\.(\d+)\."),
        heads=width // HEAD_DIM,
        mlp_width=shapes.of("blocks.0.ffn.0.weight", 2)[0],
        in_channels=in_channels,
        out_channels=out_channels,
        text_width=shapes.of("text_embedding.0.weight", 2)[1],
        patch=tuple(patch),
        freq_width=shapes.of("time_embedding.0.weight", 2)[1],
        image_width=shapes.of("img_emb.proj.0.weight", 1)[0] if clip else None,
        image_positions=shapes.of("img_emb.emb_pos", 3)[1] if two_images else None,
        frame_levels=out_channels == 48,  # TI2V, which alone works on the 2.2 VAE's 48 channels
    )


def dit_family(header: Header, config: DiTConfig) -> str:
    """The name of a transformer of these sizes. Raises CheckpointError for an unknown one."""
    match config.in_channels, config.out_channels, config.image_width is not None:
        case 16, 16, False:
            return "Wan T2V"
        case 48, 48, False:
            return "Wan 2.2 TI2V"
        case 36, 16, True:
            return "Wan 2.1 FLF2V" if config.image_positions else "Wan 2.1 I2V"
        case 36, 16, False:
            return "Wan 2.2 I2V"
        case ((32 | 48 | 52 | 100 | 148), _, _):
            raise unsupported(header, "Wan Fun", FUN_CONTROL)
    raise CheckpointError(
        f"'{header.name}' takes {config.in_channels} channels and gives {config.out_channels}, "
        f"which is no Wan model known here: T2V 16 to 16, I2V 36 to 16, TI2V 48 to 48."
    )


def vae_config(shapes: Shapes) -> VAEConfig:
    """A VAE's sizes. Raises CheckpointError where its shapes contradict Wan's."""
    width, channels = shapes.of("encoder.conv1.weight", 5)[:2]
    residual = any(re.match(r"encoder\.downsamples\.\d+\.downsamples\.", name) for name in shapes)
    stages = nested_stages(shapes) if residual else flat_stages(shapes)
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


Stage = tuple[list[str], str]  # names of an encoder stage's residual blocks, and its downsampling


def nested_stages(shapes: Shapes) -> list[Stage]:
    """Layout 2.2: a list of stages, each a list of blocks with the downsampling last."""
    stages = []
    for i in range(count_blocks(shapes, r"encoder\.downsamples\.(\d+)\.")):
        stage = f"encoder.downsamples.{i}.downsamples"
        length = count_blocks(shapes, rf"{re.escape(stage)}\.(\d+)\.")
        parts = [f"{stage}.{j}" for j in range(length)]
        blocks = [part for part in parts if f"{part}.residual.2.weight" in shapes]
        stages.append((blocks, parts[-1]))
    return stages


def flat_stages(shapes: Shapes) -> list[Stage]:
    """Layout 2.1: one list, in which every downsampling ends a stage."""
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
    # A set no longer than the file has names; the largest number is up to whoever wrote it.
    lacking = sorted(set(range(len(numbers) + 1)) - numbers)
    where = pattern.replace("\\", "").partition("(")[0]
    raise CheckpointError(f"'{shapes.source}' is incomplete: it has no '{where}{lacking[0]}'.")


def refuse_relatives(header: Header, names: Iterable[str]) -> None:
    names = list(names)
    for sign, family, remedy in UNSUPPORTED:
        if any(re.match(sign, name) for name in names):
            raise unsupported(header, family, remedy)


def unsupported(header: Header, family: str, remedy: str) -> CheckpointError:
    hint = f"Load it with core's UNETLoader and use {remedy}." if remedy else "Core has no node."
    return CheckpointError(
        f"'{header.name}' is {family}, which Longtake does not run; it runs T2V, TI2V, I2V and "
        f"FLF2V. {hint}"
    )


def refuse_quantised(header: Header, names: Mapping[str, str]) -> None:
    """Only plain numbers can be read; fp8 with scales and integer formats cannot yet."""
    if scales := [name for name in names if SCALED.search(name)]:
        raise CheckpointError(
            f"'{header.name}' holds scaled fp8 or otherwise quantised weights (it has "
            f"{shortened(scales, limit=1)}), which Longtake does not read yet. Use the bf16, fp16 "
            f"or plain fp8 file, or core's UNETLoader for this one."
        )
    if packed := [n for n in names if not DTYPES[header.tensors[n].dtype].is_floating_point]:
        raise CheckpointError(
            f"'{header.name}' holds weights as {header.tensors[packed[0]].dtype} numbers "
            f"({shortened(packed, limit=2)}), so they are quantised, which Longtake does not read. "
            f"Use the bf16, fp16 or plain fp8 file."
        )


def main_dtype(header: Header, names: Iterable[str]) -> torch.dtype:
    """The format in which most of the numbers are stored."""
    sizes: Counter[str] = Counter()
    for name in names:
        sizes[header.tensors[name].dtype] += prod(header.tensors[name].shape)
    return DTYPES[sizes.most_common(1)[0][0]]
