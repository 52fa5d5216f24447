"""From a weights file to a network that holds its weights.

    header = read_header(path)              # names and shapes only; refuses what is no such file
    found = detect(header, "dit")           # what it is: config, and official name of each tensor
    network = WanDiT(found.config, device="meta")
    load_into(network, load_weights(header, found.names), header.name)

Weights stay mapped from the disk until they are used or cast, so that loading costs next to
nothing and the operating system shares one copy among all programs that read the file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .errors import CheckpointError
from .wan.detect import Checkpoint, detect
from .weights_file import DTYPES, Header, TensorInfo, one_line, read_header, shortened

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
PORTION = 2**28  # bytes read at a time
SMALL_MODEL = 2**28  # bytes; up to here every number is looked at


Prepare = Callable[[str, Tensor], Tensor]  # (official name, mapped tensor) -> what to keep of it


def load_weights(
    source: Header | Path | str,
    names: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
    prepare: Prepare | None = None,
    on_tensor: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """Tensors of a checkpoint, on the CPU, under the names that its network uses.

    Args:
        source: a file, or its header.
        names: name in the file -> name in the result, as `detect` gives it; tensors that it
            leaves out are not read. None takes all of them as they are.
        dtype: cast floating point tensors to this; None leaves them mapped from the disk.
        prepare: what to do with each tensor instead of `dtype`.
        on_tensor: called after each.

    Raises:
        CheckpointError: unreadable, or some weights are NaN or infinite.
    """
    header = source if isinstance(source, Header) else read_header(source)
    names = {name: name for name in header.tensors} if names is None else names
    if prepare is None and dtype is not None:
        prepare = partial(cast, dtype)
    weights: dict[str, Tensor] = {}
    for path, wanted in portions(header, names):
        weights |= read_portion(header, path, {old: names[old] for old in wanted}, prepare)
        for _ in wanted:
            on_tensor()
    refuse_broken_numbers(weights, header.name)
    return weights


def cast(dtype: torch.dtype, _name: str, weight: Tensor) -> Tensor:
    return weight.to(dtype) if weight.is_floating_point() else weight


def portions(header: Header, names: Iterable[str]) -> Iterator[tuple[Path, list[str]]]:
    """The tensors by file, and within a file by portions of about PORTION bytes.

    What is mapped counts as memory of ours once it is looked at. A file read portion by portion
    leaves only what was kept of the portions before.
    """
    by_file: dict[Path, list[str]] = {}
    for name in names:
        by_file.setdefault(header.tensors[name].file, []).append(name)
    for path, wanted in by_file.items():
        portion, size = [], 0
        for name in wanted:
            portion.append(name)
            info = header.tensors[name]
            size += prod(info.shape) * DTYPES[info.dtype].itemsize
            if size >= PORTION:
                yield path, portion
                portion, size = [], 0
        if portion:
            yield path, portion


def read_portion(
    header: Header, path: Path, names: Mapping[str, str], prepare: Prepare | None
) -> dict[str, Tensor]:
    """The tensors that `names` asks for, mapped from one file and not copied, or prepared."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            mapped = {new: file.get_tensor(old) for old, new in names.items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"'{header.name}' cannot be read: {one_line(error)}. Get another copy of it."
        ) from None
    return mapped if prepare is None else {k: prepare(k, w) for k, w in mapped.items()}


def refuse_broken_numbers(
    weights: Mapping[str, Tensor], source: str, whole: bool | None = None
) -> None:
    """Raises CheckpointError if any weight is NaN or infinite; `source` names them to the user.

    Args:
        weights: by name.
        source: the file's name.
        whole: look at every number. None does so for small models only: to read all of a large
            one takes as long as its disk needs, before a user sees anything. Of its matrices the
            first, middle and last numbers are looked at, of all else everything.
    """
    if whole is None:
        whole = sum(w.numel() * w.element_size() for w in weights.values()) <= SMALL_MODEL
    if broken := [n for n, w in weights.items() if not is_finite(w if whole else sample_of(w))]:
        raise CheckpointError(
            f"'{source}' holds numbers that are NaN or infinite in {len(broken)} of "
            f"{len(weights)} tensors: {shortened(broken)}. It was damaged, or made in too low a "
            f"precision; get another copy or a bf16 version of it."
        )


def sample_of(weight: Tensor) -> Tensor:
    """A tensor's first, middle and last numbers; all of a small one."""
    if weight.numel() <= 2**18 or not weight.is_contiguous():
        return weight
    flat, middle = weight.view(-1), weight.numel() // 2
    parts = (flat[:1024], flat[middle : middle + 1024], flat[-1024:])
    return torch.cat([part.float() for part in parts])


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
