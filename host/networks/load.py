"""Loaders: a name in a menu -> MODEL, VAE or CLIP, shared by all that ask for the same file.

Whatever a file's name and header show is refused before any weight is read.
"""

from collections.abc import Callable
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher

from ...engine.sampling.presets import AUTO, family_of, with_family
from ...engine.sampling.preview import Colours
from ...models.errors import CheckpointError, InputError
from ...models.wan.detect import Checkpoint, detect
from ...models.weights_file import Header, read_header
from ..comfyui import folders
from ..comfyui.cache import Key, models
from ..comfyui.file_slices import read_for_host
from . import dtypes, quantised, text_encoder, transformer, vae
from .dtypes import DTYPES
from .latent_format import format_for
from .patching import reloadable

VAE_DTYPES = tuple(name for name in DTYPES if not name.startswith("fp8"))


def load_model(name: str, dtype: str = "auto", family: str = AUTO) -> ModelPatcher:
    """A MODEL from the built-in weights or a file in ComfyUI's diffusion_models folders.

    Args:
        name: an entry of `folders.weights_menu("dit")`.
        dtype: of the weights, one of DTYPES.
        family: what kind of checkpoint it is, one of engine.sampling.presets.TITLES.

    Raises:
        InputError: for an unknown name, dtype or family, or a family that the file cannot be of.
        CheckpointError: if the file is damaged, or holds another network.
    """
    dtypes.check_dtype(dtype)
    header, found = _inspect("dit", name)
    its_family, evidence = family_of(found.config, name, family)
    config = with_family(found.config, its_family)
    storage = quantised.storage_for(found, dtype, header.name)
    # Where matrices stay packed, of everything else.
    stored_as = dtypes.dtype_for(
        dtype if storage == "plain" else "auto",
        torch.bfloat16 if found.scaled or found.packed else found.dtype,
        _parameters_of(header),
    )

    def load(disable_dynamic: bool = False) -> ModelPatcher:
        model = transformer.build_model(
            config,
            dtypes.read_weights(header, found, stored_as, storage),
            format_for(config, found.built_in, _preview_colours(header, found)),
            stored_as,
            name,
            family=its_family,
            evidence=evidence,
            storage=storage,
            dynamic=not disable_dynamic,
        )
        return reloadable(model, load)

    packed = quantised.formats_of(found) or f"scaled {short(found.dtype)}"
    numbers = short(stored_as) if storage == "plain" else packed
    return models.get(Key.of(header.path, "dit", numbers, its_family.title), load)


def load_vae(name: str, dtype: str = "auto") -> comfy.sd.VAE:
    """A VAE from the built-in weights or a file in ComfyUI's vae folders.

    Args:
        name: an entry of `folders.weights_menu("vae")`.
        dtype: one of VAE_DTYPES.

    Raises: as `load_model`.
    """
    if dtype not in VAE_DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: choose from {', '.join(VAE_DTYPES)}.")
    header, found = _inspect("vae", name)
    chosen = DTYPES[dtype] or vae.best_dtype()

    def load(disable_dynamic: bool = False) -> comfy.sd.VAE:
        weights = read_for_host(header, found.names, dtype=chosen)
        made = vae.build_vae(found.config, weights, chosen, header.name, not disable_dynamic)
        reloadable(made.patcher, _patcher_from(load))
        return made

    return models.get(Key.of(header.path, "vae", short(chosen)), load)


def load_text_encoder(name: str) -> comfy.sd.CLIP:
    """A CLIP from the built-in weights or a file in ComfyUI's text_encoders folders.

    Args:
        name: an entry of `folders.weights_menu("text_encoder")`.

    Raises: as `load_model`.
    """
    header, found = _inspect("text_encoder", name)

    def load(disable_dynamic: bool = False) -> comfy.sd.CLIP:
        if found.config["d_model"] == 4096:
            clip = text_encoder.load_umt5_xxl(str(header.path), not disable_dynamic)
        else:
            weights = read_for_host(header, found.names)
            clip = text_encoder.build_clip(found.config, weights, header.name, not disable_dynamic)
        reloadable(clip.patcher, _patcher_from(load))
        return clip

    return models.get(Key.of(header.path, "text_encoder", short(found.dtype)), load)


def _inspect(kind: str, name: str) -> tuple[Header, Checkpoint]:
    """The header of a file, and which network it holds; refuses all but `kind`."""
    path = folders.find_weights(kind, name)
    return _inspect_file(path, Key.of(path, kind, dtype=""))


@lru_cache(maxsize=8)  # a checkpoint's header lists a thousand tensors; every run asks for it
def _inspect_file(path: Path, key: Key) -> tuple[Header, Checkpoint]:
    header = read_header(path)
    return header, detect(header, key.kind)


def _patcher_from(load: Callable[..., comfy.sd.VAE | comfy.sd.CLIP]) -> Callable[..., ModelPatcher]:
    """The same loader, but for the patcher inside of what it loads."""

    def load_patcher(disable_dynamic: bool = False) -> ModelPatcher:
        return load(disable_dynamic).patcher

    return load_patcher


def _parameters_of(header: Header) -> int:
    return sum(prod(info.shape) for info in header.tensors.values())


def _preview_colours(header: Header, found: Checkpoint) -> Colours | None:
    """The fit from latents to colours that a built-in model's file carries."""
    if not (note := found.note.get("preview")):
        return None
    try:
        shapes = [torch.tensor(note[name]).float().shape for name in ("factors", "bias")]
        fits = shapes == [(found.config.out_channels, 3), (3,)]
    except (TypeError, ValueError, KeyError, RuntimeError):
        fits = False
    if not fits:
        raise CheckpointError(
            f"'{header.name}' was made by Longtake, but the colours of its preview cannot be read. "
            f"Get another copy of it."
        )
    return Colours(note["factors"], note["bias"])


def short(dtype: Any) -> str:
    """torch.bfloat16 -> "bfloat16"."""
    return str(dtype).removeprefix("torch.")
