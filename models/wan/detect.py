"""What a checkpoint is, from the names and shapes of its tensors."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import torch

from ..errors import CheckpointError
from ..weights_file import DTYPES, Header, one_line
from .config import DiTConfig, VAEConfig
from .keys import DIT_UNUSED, dit_from_diffusers, vae_from_diffusers
from .packed import Note, packed_layers, renamed, without_packed
from .relatives import FUN_CONTROL, refuse_relatives, unknown, unsupported
from .scales import named_scales, refuse_quantised, without_scales
from .shapes import Shapes, count_blocks, dit_config, vae_config

Kind = Literal["dit", "vae", "text_encoder"]

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

# Of T2V, TI2V and both kinds of I2V: channels in, channels out, whether it reads CLIP images.
CHANNELS = {(16, 16, False), (48, 48, False), (36, 16, True), (36, 16, False)}
FUN_CHANNELS = (32, 48, 52, 100, 148)  # in, of Wan Fun

# What text of unknown origin can raise on its way to a config.
NOT_A_NOTE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class Checkpoint:
    """What `detect` found.

    Attributes:
        kind: which of the three kinds of network.
        title: its name in messages, as "Wan 2.1 I2V".
        config: DiTConfig, VAEConfig, or for a text encoder UMT5's sizes as a dict.
        names: name in the file -> official name, of all tensors that belong to the network.
        dtype: in which most of its numbers are stored.
        built_in: trained by this project, so that Wan's latent statistics do not apply.
        scaled: each of its fp8 matrices has a scale, named `….scale_weight`.
        packed: official name of a layer -> how its weight is packed, in a host's own formats.
    """

    kind: Kind
    title: str
    config: DiTConfig | VAEConfig | dict[str, Any]
    names: Mapping[str, str]
    dtype: torch.dtype
    built_in: bool = False
    scaled: bool = False
    packed: Mapping[str, Note] = field(default_factory=dict)


def detect(header: Header, want: Kind | None = None) -> Checkpoint:
    """Which network a file holds, and how to read it.

    Args:
        header: from `read_header`.
        want: the kind that the user asked for, also among several in one file; None takes the
            first of video model, VAE, text encoder.

    Raises:
        CheckpointError: another kind than wanted, a relative of Wan that is not supported, or
            nothing known; says what it is and what loads it.
    """
    if "longtake" in header.metadata:
        found = [built_in(header)]
    else:
        find = {"dit": _find_dit, "vae": _find_vae, "text_encoder": _find_text_encoder}
        kinds = [want, *(kind for kind in find if kind != want)] if want else list(find)
        found = [hit for kind in kinds if (hit := find[kind](header))]
    if not found:
        raise unknown(header)
    if want and found[0].kind != want:
        raise CheckpointError(
            f"'{header.name}' is {WORDS[found[0].kind]} ({found[0].title}), not {WORDS[want]}; "
            f"choose it in {LOADERS[found[0].kind]}."
        )
    return found[0]


def built_in(header: Header) -> Checkpoint:
    """What a file of our own making says in its metadata that it is."""
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
            f"'{header.name}' was made by Longtake, but its metadata, which says what it is, "
            f"cannot be read ({one_line(error)}). Get another copy of it."
        ) from None
    names = {name: name for name in header.tensors}
    return Checkpoint(kind, "Longtake nano", config, names, _main_dtype(header, names), True)


def _find_dit(header: Header) -> Checkpoint | None:
    names, rename = _under(header, "head.modulation"), str
    if names is None:
        names, rename = _under(header, "condition_embedder.time_proj.weight"), dit_from_diffusers
        if names is None:
            return None
        names = {old: new for old, new in names.items() if not DIT_UNUSED.fullmatch(new)}
    notes = packed_layers(header, names)
    names, packed = without_packed(names, notes)
    weights, scales, marked = without_scales(names)
    weights = {old: rename(new) for old, new in weights.items()}
    packed = {old: renamed(new, rename) for old, new in packed.items()}
    notes = {renamed(f"{layer}.", rename)[:-1]: note for layer, note in notes.items()}
    matrices = {old: new for old, new in packed.items() if new.endswith(".weight")}
    refuse_relatives(header, [*weights.values(), *matrices.values()])
    names = weights | named_scales(header, scales, rename)
    refuse_quantised(header, names, marked)
    config = dit_config(Shapes(header, weights | matrices, notes))
    _refuse_unknown_channels(header, config)
    title, dtype = config.layout.value, _main_dtype(header, weights | matrices)
    return Checkpoint(
        "dit", title, config, names | packed, dtype, scaled=bool(scales), packed=notes
    )


def _find_vae(header: Header) -> Checkpoint | None:
    names = _under(header, "decoder.middle.0.residual.0.gamma")
    if names is None:
        names = _under(header, "decoder.mid_block.resnets.0.norm1.gamma")
        if names is None:
            return None
        rename = vae_from_diffusers(names.values())
        names = {k: rename(v) for k, v in names.items()}
    refuse_quantised(header, names, marked=False)
    config = vae_config(Shapes(header, names))
    title = f"Wan {config.layout} VAE"
    return Checkpoint("vae", title, config, names, _main_dtype(header, names))


def _find_text_encoder(header: Header) -> Checkpoint | None:
    """UMT5 under transformers' names, recognised by a position bias in every block."""
    bias = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
    names = _under(header, bias.format(0))
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
    return Checkpoint("text_encoder", "UMT5", config, names, _main_dtype(header, names))


def _under(header: Header, landmark: str) -> dict[str, str] | None:
    """Tensors with the same prefix as `landmark` -> their names without it; None if it is absent.

    Files put `model.`, `model.diffusion_model.`, `vae.` and the like before a network's names; in
    a file of several networks each has its own prefix.
    """
    hits = [name for name in header.tensors if f".{name}".endswith(f".{landmark}")]
    if not hits:
        return None
    # Of a running average of the weights, `generator_ema`, and the weights, the average is better.
    best = min(hits, key=lambda name: ("_ema." not in name, len(name)))
    prefix = best.removesuffix(landmark)
    return {name: name.removeprefix(prefix) for name in header.tensors if name.startswith(prefix)}


def _refuse_unknown_channels(header: Header, config: DiTConfig) -> None:
    """Raises CheckpointError for a transformer that takes or gives other channels than Wan's."""
    channels = config.in_channels, config.out_channels
    if config.frame_rates or (*channels, config.image_width is not None) in CHANNELS:
        return
    if config.in_channels in FUN_CHANNELS:
        raise unsupported(header, "Wan Fun", FUN_CONTROL)
    raise CheckpointError(
        f"'{header.name}' takes {config.in_channels} channels and gives {config.out_channels}, "
        f"which is no Wan model known here: T2V 16 to 16, I2V 36 to 16, TI2V 48 to 48."
    )


def _main_dtype(header: Header, names: Iterable[str]) -> torch.dtype:
    """The dtype in which most of the numbers are stored."""
    sizes: Counter[str] = Counter()
    for name in names:
        sizes[header.tensors[name].dtype] += prod(header.tensors[name].shape)
    return DTYPES[sizes.most_common(1)[0][0]]
