"""What a checkpoint is, from the names and shapes of its tensors."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import torch

from ..errors import CheckpointError
from ..weights_file import DTYPES, Header, under
from .config import DiTConfig, VAEConfig
from .keys import DIT_UNUSED, dit_from_diffusers, vae_from_diffusers
from .own import OwnNote, like_built_in, read_note
from .packed import Note, packed_layers, renamed, without_packed
from .relatives import FUN_CONTROL, refuse_relatives, unknown, unsupported
from .scales import named_scales, refuse_quantised, without_scales
from .shapes import Shapes, dit_config, text_encoder_config, vae_config

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
VACE_CHANNELS = 2 * 16 + 8 * 8  # inactive and reactive latents, a mask of the pixels in a cell


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
        note: of a file of this project's making, what it says of itself.
    """

    kind: Kind
    title: str
    config: DiTConfig | VAEConfig | dict[str, Any]
    names: Mapping[str, str]
    dtype: torch.dtype
    built_in: bool = False
    scaled: bool = False
    packed: Mapping[str, Note] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)


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
        found = _built_in(header, {name: name for name in header.tensors}, read_note(header))
    else:
        found = _find(header, want)
    if found is None:
        raise unknown(header)
    if want and found.kind != want:
        raise CheckpointError(
            f"'{header.name}' is {WORDS[found.kind]} ({found.title}), not {WORDS[want]}; "
            f"choose it in {LOADERS[found.kind]}."
        )
    return found


def _find(header: Header, want: Kind | None) -> Checkpoint | None:
    """The network that is wanted, or else the first of another kind."""
    find = {"dit": _find_dit, "vae": _find_vae, "text_encoder": _find_text_encoder}
    for kind in dict.fromkeys([want or "dit", *find]):
        if (saved := like_built_in(header, kind)) is not None:
            return _built_in(header, *saved)
        if (hit := find[kind](header)) is not None:
            return hit
    return None


def _built_in(header: Header, names: Mapping[str, str], note: OwnNote) -> Checkpoint:
    dtype = _main_dtype(header, names)
    return Checkpoint(note.kind, "Longtake nano", note.config, names, dtype, True, note=note.more)


def _find_dit(header: Header) -> Checkpoint | None:
    names, rename = under(header, "head.modulation"), str
    if names is None:
        names, rename = under(header, "condition_embedder.time_proj.weight"), dit_from_diffusers
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
    names = under(header, "decoder.middle.0.residual.0.gamma")
    if names is None:
        names = under(header, "decoder.mid_block.resnets.0.norm1.gamma")
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
    names = under(header, bias.format(0))
    if names is None or not {bias.format(1), "shared.weight"} <= set(names.values()):
        return None
    config = text_encoder_config(Shapes(header, names))
    return Checkpoint("text_encoder", "UMT5", config, names, _main_dtype(header, names))


def _refuse_unknown_channels(header: Header, config: DiTConfig) -> None:
    """Raises CheckpointError for a transformer that takes or gives other channels than Wan's."""
    if config.vace_blocks and config.vace_channels != VACE_CHANNELS:
        raise CheckpointError(
            f"'{header.name}' is a VACE model that is shown {config.vace_channels} channels; those "
            f"known here are shown {VACE_CHANNELS}."
        )
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
