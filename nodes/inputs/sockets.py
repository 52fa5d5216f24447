"""What goes into a node and comes out of it, looked at in one place for all of them.

ComfyUI goes by the name of a socket's type alone, and any pack may send anything under it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from inspect import signature
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import Input, io

from ...engine.take.storyboard import Shot
from ...host.comfyui.node_text import shown_text
from ...host.comfyui.owner import TEXT_CHECKS
from ...host.comfyui.progress import check_cancelled
from ...host.take.storyboards import Board
from ...models.cpu.bands import stoppable
from ...models.errors import InputError


def guarded(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The class of a node, which from here on refuses values that are not what its sockets say.

    Cancel is looked for between parts of what it works on.

    What it shows on itself while it runs is part of its `ui` then: kept in the history, and sent
    again with outputs that are cached.
    """
    execute = node.execute.__func__
    takes = signature(execute)

    @cache
    def sockets() -> dict[str, tuple[str, bool]]:
        inputs = node.define_schema().inputs
        return {input.id: (input.get_io_type(), input.optional) for input in inputs}

    @cache
    def lists() -> bool:
        """Whether the node is given a list of values of each input."""
        return bool(node.define_schema().is_input_list)

    @wraps(execute)
    def looking(cls: type[io.ComfyNode], *args: Any, **more: Any) -> io.NodeOutput:
        given = takes.bind(cls, *args, **more).arguments | more  # those of **inputs as well
        for name, value in given.items():
            kinds, optional = sockets().get(name, ("*", True))
            for one in value if lists() and name in sockets() else (value,):
                if not (one is None and optional):
                    check_socket(name, kinds, one)
                if isinstance(one, str):
                    for check in TEXT_CHECKS:
                        check(one, node.__name__, name)
        with stoppable(check_cancelled):
            return _with_text(execute(cls, *args, **more))

    node.execute = classmethod(looking)
    return node


def _with_text(output: io.NodeOutput) -> io.NodeOutput:
    ui = output.ui if isinstance(output.ui, dict | None) else output.ui.as_dict()
    output.ui = {**shown_text(), **(ui or {})} or None
    return output


def check_socket(name: str, kinds: str, value: Any) -> None:
    """Raises InputError if a value is none of the types "LATENT,IMAGE" of its socket."""
    asked = kinds.split(",")
    if any(kind not in KINDS or KINDS[kind](value) for kind in asked):
        return
    raise InputError(
        f"{name} must be {' or '.join(asked)}, and {_described(value)} came: connect an output of "
        f"that type, or look at the node that it comes from."
    )


def _described(value: Any) -> str:
    if torch.is_tensor(value):
        return f"a tensor of {tuple(value.shape)} and {value.dtype}"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
        held = f" with {', '.join(map(str, list(value)[:4]))}"[:60] if value else ""
        return f"{'an empty ' if not value else 'a '}{type(value).__name__}" + (
            held if isinstance(value, Mapping) else ""
        )
    return "nothing" if value is None else f"a {type(value).__name__}"


def _has_numbers(value: Any) -> bool:
    """Whether a value is a tensor whose numbers lie in memory, one after another, and are real."""
    return (
        torch.is_tensor(value)
        and value.layout is torch.strided
        and not (value.is_meta or value.is_complex() or value.is_quantized)
    )


def _is_latent(value: Any) -> bool:
    """What is no tensor here may be streams of pictures and sound, or is told of as a LATENT."""
    if not (isinstance(value, Mapping) and "samples" in value):
        return False
    held = (value.get(name) for name in ("samples", "noise_mask"))
    return all(_has_numbers(one) for one in held if torch.is_tensor(one))


def _is_conditioning(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(
            isinstance(entry, list | tuple)
            and len(entry) == 2
            and (entry[0] is None or (_has_numbers(entry[0]) and entry[0].ndim == 3))
            and isinstance(entry[1], Mapping)
            for entry in value
        )
    )


def _is_audio(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _has_numbers(value.get("waveform"))
        and value["waveform"].ndim == 3
        and isinstance(value.get("sample_rate"), int | float)
        and 0 < value["sample_rate"] < 2**24
    )


def _is_sigmas(value: Any) -> bool:
    return _has_numbers(value) and value.is_floating_point()


def _is_image(value: Any) -> bool:
    return _has_numbers(value) and value.is_floating_point() and 0 not in value.shape[1:]


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: all(hasattr(value, name) for name in names)


KINDS: Mapping[str, Callable[[Any], bool]] = {
    "MODEL": lambda value: isinstance(value, ModelPatcher) and hasattr(value.model, "model_config"),
    "CLIP": _has("tokenize", "encode_from_tokens_scheduled"),
    "VAE": _has("first_stage_model", "decode", "encode"),
    "LATENT": _is_latent,
    "CONDITIONING": _is_conditioning,
    "SIGMAS": _is_sigmas,
    "SAMPLER": _has("sample"),
    "VIDEO": lambda value: isinstance(value, Input.Video),
    "IMAGE": _is_image,
    "MASK": _is_image,
    "AUDIO": _is_audio,
    "CLIP_VISION_OUTPUT": _has("last_hidden_state"),
    "LONGTAKE_SHOTS": lambda value: (
        isinstance(value, list | tuple) and all(isinstance(shot, Shot) for shot in value)
    ),
    "LONGTAKE_STORYBOARD": lambda value: isinstance(value, Board),
}
