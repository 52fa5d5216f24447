"""From a weights file to a network that holds its weights.

    header = read_header(path)              # names and shapes only; refuses what is no such file
    found = detect(header, "dit")           # what it is: config, and official name of each tensor
    network = WanDiT(found.config, device="meta")
    load_into(network, load_weights(header, found.names), header.name)

Weights stay mapped from the disk until they are used or cast, so that loading costs next to
nothing and the operating system shares one copy among all programs that read the file.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .errors import CheckpointError
from .wan.detect import Checkpoint, detect
from .weights_file import Header, TensorInfo, one_line, read_header, shortened

__all__ = [
    "Checkpoint",
    "Header",
    "TensorInfo",
    "detect",
    "load_into",
    "load_weights",
    "read_header",
    "refuse_broken_numbers",
]

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def load_weights(
    source: Header | Path | str,
    names: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Tensors of a checkpoint, on the CPU, under the names that its network uses.

    Args:
        source: a file, or its header.
        names: name in the file -> name in the result, as `detect` gives it; tensors that it
            leaves out are not read. None takes all of them as they are.
        dtype: cast floating point tensors to this; None leaves them mapped from the disk.

    Raises:
        CheckpointError: unreadable, or some weights are NaN or infinite.
    """
    header = source if isinstance(source, Header) else read_header(source)
    names = {name: name for name in header.tensors} if names is None else names
    weights = read_tensors(header, names)
    refuse_broken_numbers(weights, header.name)
    if dtype is None:
        return weights
    return {k: w.to(dtype) if w.is_floating_point() else w for k, w in weights.items()}


def read_tensors(header: Header, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors that `names` asks for, mapped from their files and not copied."""
    by_file: dict[Path, list[str]] = {}
    for name in names:
        by_file.setdefault(header.tensors[name].file, []).append(name)
    weights: dict[str, Tensor] = {}
    try:
        for path, wanted in by_file.items():
            with safe_open(path, framework="pt", device="cpu") as file:
                weights |= {names[name]: file.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"'{header.name}' cannot be read: {one_line(error)}. Get another copy of it."
        ) from None
    return weights


def refuse_broken_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError if any weight is NaN or infinite; `source` names them to the user."""
    if broken := [name for name, weight in weights.items() if not is_finite(weight)]:
        raise CheckpointError(
            f"'{source}' holds numbers that are NaN or infinite in {len(broken)} of "
            f"{len(weights)} tensors: {shortened(broken)}. It was damaged, or made in too low a "
            f"precision; get another copy or a bf16 version of it."
        )


def is_finite(weight: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    if not weight.is_floating_point() or not weight.numel():
        return True
    if weight.dtype in FP8:  # few operations know these; bf16 holds all their values
        return all(is_finite(part.bfloat16()) for part in weight.flatten().split(2**22))
    low, high = torch.aminmax(weight)  # one pass, nothing allocated, and NaN comes through
    return bool(low.isfinite() & high.isfinite())


def load_into(module: nn.Module, weights: Mapping[str, Tensor], source: str = "weights") -> None:
    """Make `weights` the parameters of a network. They are taken over, not copied.

    Args:
        module: may be on the meta device, so that nothing is allocated twice. Takes the
            weights' dtype and device.
        weights: as from `load_weights`; names and shapes must be exactly the module's.
        source: the file's name, for the message.

    Raises:
        CheckpointError: names every missing, unexpected and wrongly shaped tensor.
    """
    expected = module.state_dict()
    problems = [
        listed("missing", expected.keys() - weights.keys()),
        listed("unexpected", weights.keys() - expected.keys()),
        listed(
            "of another shape",
            (
                f"{name} is {tuple(weights[name].shape)} and should be {tuple(wanted.shape)}"
                for name, wanted in expected.items()
                if name in weights and weights[name].shape != wanted.shape
            ),
        ),
    ]
    if found := "; ".join(filter(None, problems)):
        raise CheckpointError(
            f"'{source}' does not fit a {type(module).__name__} of {len(expected)} tensors: "
            f"{found}. Choose a checkpoint of this kind, or an undamaged copy."
        )
    module.load_state_dict(dict(weights), strict=True, assign=True)


def listed(what: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"{len(names)} {what} ({shortened(names)})" if names else ""
