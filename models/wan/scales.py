"""fp8 weights with scales: which of a file's tensors are scales, and of which weights.

Two namings are in use for the same arithmetic (weight = scale · stored number): `scaled_fp8` and
`scale_weight`, of ComfyUI in 2025, and `comfy_quant` and `weight_scale`, of later versions. Scales
of activations allow a faster, less exact multiplication, and are left out.
"""

import re
from collections.abc import Callable, Mapping
from math import prod

from ..errors import CheckpointError
from ..weights_file import DTYPES, Header, shortened

SCALE = "scale_weight"  # our name of the scale beside a layer's `weight`
MARK = re.compile(r"(?:(?P<layer>.+)\.)?(?P<what>scaled_fp8|comfy_quant)")
SPELLED = re.compile(r"(?P<layer>.+)\.(?P<what>scale_weight|weight_scale|scale_input|input_scale)")
FP8 = ("F8_E4M3", "F8_E5M2")


def without_scales(names: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], bool]:
    """A file's tensors, separated into weights and the scales of weights.

    Args:
        names: name in the file -> name in the network.

    Returns:
        The weights; the scales, name in the file -> name of the layer; whether the file says that
        its fp8 weights have scales.
    """
    weights, scales, marked = {}, {}, False
    for old, new in names.items():
        if MARK.fullmatch(new):
            marked = True
        elif match := SPELLED.fullmatch(new):
            if match["what"] in ("scale_weight", "weight_scale"):
                scales[old] = match["layer"]
        else:
            weights[old] = new
    return weights, scales, marked


def named_scales(
    header: Header, scales: Mapping[str, str], rename: Callable[[str], str]
) -> dict[str, str]:
    """Name in the file -> official name of every scale; `rename` is how weights are renamed.

    Raises:
        CheckpointError: for scales that are not floating point numbers.
    """
    for name in scales:
        if not DTYPES[header.tensors[name].dtype].is_floating_point:
            raise CheckpointError(
                f"'{header.name}' holds the scale '{name}' as {header.tensors[name].dtype} "
                f"numbers, a quantisation that Longtake does not read: use the bf16, fp16 or "
                f"scaled fp8 file."
            )
    return {
        name: f"{rename(f'{layer}.weight').removesuffix('weight')}{SCALE}"
        for name, layer in scales.items()
    }


def refuse_quantised(header: Header, names: Mapping[str, str], marked: bool) -> None:
    """Raises CheckpointError for all but plain numbers and fp8 with all of its scales.

    Args:
        header: the file's.
        names: name in the file -> official name of weights and scales.
        marked: whether the file says that its fp8 weights have scales.
    """
    packed = [n for n in names if not DTYPES[header.tensors[n].dtype].is_floating_point]
    if packed:
        raise CheckpointError(
            f"'{header.name}' holds weights as {header.tensors[packed[0]].dtype} numbers "
            f"({shortened(packed, limit=2)}), so they are quantised, which Longtake does not read. "
            f"Use the bf16, fp16 or fp8 file."
        )
    scaled = {new.removesuffix(SCALE) for new in names.values() if new.endswith(f".{SCALE}")}
    bare = [
        old
        for old, new in names.items()
        if (marked or scaled) and _is_fp8_matrix(header, old) and new.removesuffix("weight") not in
        scaled
    ]  # fmt: skip
    if bare:
        raise CheckpointError(
            f"'{header.name}' is scaled fp8, but the scales of {len(bare)} of its fp8 weights are "
            f"missing ({shortened(bare, limit=2)}): without them it would only make noise. Get "
            f"another copy, or the bf16 or fp16 file."
        )


def _is_fp8_matrix(header: Header, name: str) -> bool:
    info = header.tensors[name]
    return info.dtype in FP8 and len(info.shape) == 2 and prod(info.shape) > 1
