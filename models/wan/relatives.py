"""Files that hold no network of ours: relatives of Wan, and what is chosen by mistake."""

import re
from collections.abc import Iterable

from ..errors import CheckpointError
from ..weights_file import Header, shortened

# Relatives of Wan with modules that ours lacks: a pattern in the names of their tensors, what they
# are, what to do.
WITH_CORE = "Load it with core's UNETLoader and use core's {}."
FUN_CONTROL = WITH_CORE.format("WanFunControlToVideo or Wan22FunControlToVideo")
UNSUPPORTED: tuple[tuple[str, str, str], ...] = (
    (r"control_adapter\.conv\.", "Wan Fun Camera", WITH_CORE.format("WanCameraImageToVideo")),
    (r"casual_audio_encoder\.", "Wan 2.2 S2V", WITH_CORE.format("WanSoundImageToVideo")),
    (r"audio_proj\.audio_proj_glob_1\.", "HuMo", WITH_CORE.format("WanHuMoImageToVideo")),
    (
        r"(face_adapter|motion_encoder)\.",
        "Wan 2.2 Animate",
        WITH_CORE.format("WanAnimateToVideo"),
    ),
    (r"ref_conv\.", "Wan Fun Control", FUN_CONTROL),
    (
        r"blocks\.\d+\..*to_gate_compress\.",
        "FastWan trained for sparse attention (VSA)",
        "Core has no node for it either; take FastWan's full-attention version.",
    ),
    (
        r"blocks\.\d+\..*local_attn\.proj_l\.",
        "TurboDiffusion with sparse attention",
        "Core has no node for it either.",
    ),
)

# Files that are chosen by mistake: a pattern in the names of their tensors, what they are, what to
# do.
OTHERS: tuple[tuple[str, str, str], ...] = (
    (
        r"\.lora_(A|B|up|down)\.|\.diff$|\.diff_b$",
        "a LoRA",
        "Load the model first, then add this with core's LoraLoaderModelOnly.",
    ),
    (
        r"^vace_blocks\.0\.",
        "VACE's blocks without the model that they belong to",
        "Take a file that holds both, such as wan2.1_vace_14B_fp16.safetensors.",
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


def refuse_relatives(header: Header, names: Iterable[str]) -> None:
    """Raises CheckpointError for a relative of Wan; `names` are official ones."""
    every = re.compile("|".join(f"(?:{pattern})" for pattern, *_ in UNSUPPORTED))
    names = [name for name in names if every.match(name)]  # usually none of a thousand
    for pattern, what, remedy in UNSUPPORTED:
        if any(re.match(pattern, name) for name in names):
            raise unsupported(header, what, remedy)


def unsupported(header: Header, what: str, remedy: str) -> CheckpointError:
    return CheckpointError(
        f"'{header.name}' is {what}, which Longtake does not run; it runs T2V, TI2V, I2V, "
        f"FLF2V and VACE. {remedy}"
    )


def unknown(header: Header) -> CheckpointError:
    """What to raise for a file that holds no network of ours."""
    names = list(header.tensors)
    for pattern, what, remedy in OTHERS:
        if any(re.search(pattern, name) or re.search(pattern, f".{name}") for name in names):
            return CheckpointError(f"'{header.name}' is {what}. {remedy}")
    return CheckpointError(
        f"'{header.name}' is none of the networks known here (Wan video model, Wan VAE, UMT5 text "
        f"encoder); its tensors are {shortened(names, limit=3)}."
    )
