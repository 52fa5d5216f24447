"""The language model that an owner has as a second judge: one of core's text encoders that write.

It answers on the CPU and stays in memory. So it may be asked from the server's threads while a
video is sampled: ComfyUI's lists of what lies on the card are left to the thread that samples.
"""

from threading import Lock

import comfy.sd
import folder_paths
import torch

from ...engine.policy.judge import Ask
from ...engine.policy.policy import JudgePolicy
from ...models.errors import ConfigError, InputError
from ..comfyui.offers import offered
from ..words.writer import check_writes, drafted

MOST = 8  # tokens of an answer; a rule's name has one to three


def language_model(policy: JudgePolicy) -> Ask:
    """What answers the judge's questions, loaded.

    Raises:
        ConfigError: if there is no such file, or it holds nothing that writes.
    """
    path = folder_paths.get_full_path("text_encoders", policy.text_encoder)
    if path is None:
        raise ConfigError(
            f"the judge's text encoder {policy.text_encoder!r} is not in models/text_encoders."
        )
    kind = getattr(comfy.sd.CLIPType, policy.type.upper(), None)
    if kind is None:
        raise ConfigError(f"type {policy.type!r} of the judge: Load CLIP has none of that name.")
    cpu = torch.device("cpu")
    clip = comfy.sd.load_clip(
        [path],
        clip_type=kind,
        model_options={"load_device": cpu, "offload_device": cpu},
        **offered(comfy.sd.load_clip, disable_dynamic=True),
    )
    return answers_of(clip, policy.text_encoder)


def answers_of(clip: comfy.sd.CLIP, name: str) -> Ask:
    """The likeliest answers of a CLIP that lies on the CPU, one at a time."""
    try:
        check_writes(clip)
    except InputError as error:
        raise ConfigError(f"the judge's text encoder {name!r} does not write: {error}") from None
    clip.load_model = lambda *_, **__: clip.patcher  # it is loaded
    one_at_a_time = Lock()

    def ask(instruction: str, texts: str) -> str:
        with one_at_a_time, torch.inference_mode():
            return drafted(clip, f"{instruction}\n\n{texts}", MOST)

    return ask
