"""A CLIP that writes: core's language models, which are text encoders of many video models."""

from typing import Any

import comfy.sd
from torch import nn

from ...engine.words.expand import Writer
from ...models.errors import InputError
from ..comfyui.progress import cancel_within_networks, check_cancelled

# Of these core loads no output layer: what they write is no language.
WITHOUT_HEAD = ("Qwen25_7BVLI",)
WHO_CAN = "Gemma 2, 3 or 4, Qwen3 or Qwen3.5, Qwen3-VL of 4B or 8B, Ministral 3"
SAMPLING = {"top_k": 64, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.05}


def writer_for(clip: comfy.sd.CLIP, seed: int, temperature: float) -> Writer:
    """What writes an answer to an instruction and a prompt.

    Args:
        temperature: of sampling; 0 takes the likeliest word each time.

    Raises:
        InputError: for a CLIP that cannot write, before it is loaded onto a device.
    """
    check_writes(clip)

    def write(instruction: str, prompt: str, most: int) -> str:
        check_cancelled()
        with cancel_within_networks():
            return drafted(clip, f"{instruction}\n\nThe idea: {prompt}", most, seed, temperature)

    return write


def drafted(clip: Any, asked: str, most: int, seed: int = 0, temperature: float = 0.0) -> str:
    """What a CLIP that writes answers, in `most` tokens at most."""
    generate, decode = getattr(clip, "generate"), getattr(clip, "decode")  # noqa: B009 newer hosts
    tokens = clip.tokenize(asked, skip_template=False, min_length=1, thinking=False)
    options = {"do_sample": temperature > 0, "temperature": temperature or 1.0}
    return decode(generate(tokens, max_length=most, seed=seed, **options, **SAMPLING))


def check_writes(clip: Any) -> None:
    """Raises InputError for a CLIP that cannot write, or a host whose CLIPs cannot."""
    if not hasattr(comfy.sd.CLIP, "generate") and not hasattr(clip, "generate"):
        raise InputError(
            "this ComfyUI has no text encoder that writes: update it, or disconnect clip, and the "
            "text is expanded by rules."
        )
    network = writing_network(clip)
    if network is None:
        raise InputError(
            f"this text encoder only reads: connect one that writes ({WHO_CAN}), or disconnect "
            f"clip, and the text is expanded by rules."
        )
    config = getattr(getattr(network, "model", None), "config", None)
    if type(network).__name__ in WITHOUT_HEAD or getattr(config, "final_norm", True) is False:
        raise InputError(
            f"this text encoder was cut down to reading, as MiniMax H3's is: connect one that "
            f"writes ({WHO_CAN}), or disconnect clip, and the text is expanded by rules."
        )


def writing_network(clip: Any) -> nn.Module | None:
    """The network within a CLIP that can draw one token after another; None if there is none."""
    model = getattr(clip, "cond_stage_model", None)
    if not isinstance(model, nn.Module):
        return None
    return next((part for part in model.modules() if hasattr(type(part), "sample_token")), None)
