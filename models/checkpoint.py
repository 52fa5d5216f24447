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
from math import isfinite
from pathlib import Path
from typing import BinaryIO

import torch
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
SMALL_MODEL = 2**28  # bytes; up to here every number of a checkpoint is looked at
SMALL_TENSOR = 2**19  # bytes; the same for a tensor of a larger one


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
    whole = sum(header.tensors[name].bytes for name in names) <= SMALL_MODEL
    if not whole:
        refuse_broken_samples(header, names)
    if prepare is None and dtype is not None:
        prepare = partial(cast, dtype)
    weights: dict[str, Tensor] = {}
    for path, wanted in portions(header, names):
        tensors = read_portion(header, path, {old: names[old] for old in wanted})
        if whole:
            refuse_broken_numbers(tensors, header.name)
        for name, tensor in tensors.items():
            weights[name] = prepare(name, tensor) if prepare else tensor
            on_tensor()
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
            size += header.tensors[name].bytes
            if size >= PORTION:
                yield path, portion
                portion, size = [], 0
        if portion:
            yield path, portion


def read_portion(header: Header, path: Path, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors that `names` asks for, mapped from one file and not copied."""
    size = max(header.tensors[name].offset + header.tensors[name].bytes for name in names)
    try:
        if path.stat().st_size < size:
            raise OSError("it has become shorter since it was looked at")
        # Private: whoever changes a weight in place changes a copy of that page, not the file.
        mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"'{header.name}' cannot be read: {one_line(error)}. Get another copy of it."
        ) from None
    return {new: tensor_at(mapped, header.tensors[old]) for old, new in names.items()}


def tensor_at(data: Tensor, info: TensorInfo, start: int = 0) -> Tensor:
    """The tensor that `info` describes in data: (n,) uint8, which begins at byte `start`."""
    first, dtype = info.offset - start, DTYPES[info.dtype]
    part = data[first : first + info.bytes]
    if (part.data_ptr() if part.numel() else 0) % dtype.itemsize:
        part = part.clone()  # the format does not promise that tensors lie as numbers must
    return part.view(dtype).view(info.shape)


def refuse_broken_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError if any weight is NaN or infinite; `source` names them to the user."""
    if broken := [name for name, weight in weights.items() if not is_finite(weight)]:
        raise broken_numbers(broken, len(weights), source)


def broken_numbers(names: Iterable[str], total: int, source: str) -> CheckpointError:
    names = list(names)
    return CheckpointError(
        f"'{source}' holds numbers that are NaN or infinite in {len(names)} of {total} tensors: "
        f"{shortened(names)}. It was damaged, or made in too low a precision; get another copy or "
        f"a bf16 version of it."
    )


def refuse_broken_samples(header: Header, names: Mapping[str, str]) -> None:
    """As `refuse_broken_numbers`, of a large checkpoint: matrices are looked at here and there.

    To look at every number would take as long as the disk needs for the whole file, before
    anything is seen of the video. What is looked at is read and not mapped, so that none of it
    stays in memory.
    """
    broken = [
        new
        for path, wanted in portions(header, names)
        for new in broken_in(path, {names[old]: header.tensors[old] for old in wanted}, header.name)
    ]
    if broken:
        raise broken_numbers(broken, len(names), header.name)


def broken_in(path: Path, tensors: Mapping[str, TensorInfo], source: str) -> list[str]:
    """Names of tensors with broken numbers among those that are looked at."""
    try:
        with path.open("rb", buffering=0) as file:
            read = {name: samples(file, info) for name, info in tensors.items()}
    except OSError as error:
        raise CheckpointError(
            f"'{source}' cannot be read: {one_line(error)}. Get another copy of it."
        ) from None
    by_dtype: dict[str, list[str]] = {}
    for name, info in tensors.items():
        by_dtype.setdefault(info.dtype, []).append(name)
    broken = []
    for dtype, names in by_dtype.items():  # all at once: they are many, and hardly ever broken
        if not is_finite(numbers(bytearray().join(read[name] for name in names), dtype)):
            broken += [name for name in names if not is_finite(numbers(read[name], dtype))]
    return broken


def samples(file: BinaryIO, info: TensorInfo) -> bytearray:
    """A tensor's first, middle and last numbers; all of a small one."""
    whole, some = info.bytes, 4096
    spans = [(0, whole)]
    if whole > SMALL_TENSOR:
        spans = [(0, some), (whole // 2 // 8 * 8, some), (whole - some, some)]
    found = bytearray()
    for start, length in spans:
        file.seek(info.offset + start)
        found += file.read(length)
    return found


def numbers(data: bytearray, dtype: str) -> Tensor:
    """data as numbers of a file's dtype: (n,)."""
    whole = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0)
    return whole.view(DTYPES[dtype])


def is_finite(weight: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    if not weight.is_floating_point() or not weight.numel():
        return True
    if weight.dtype in FP8:  # few operations know these; bf16 holds all their values
        return all(is_finite(part.bfloat16()) for part in weight.flatten().split(2**22))
    low, high = torch.aminmax(weight)  # one pass, nothing allocated, and NaN comes through
    return isfinite(low.item()) and isfinite(high.item())


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
    expected = module.state_dict(keep_vars=True)
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
    assign(module, weights)


def assign(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """What load_state_dict(assign=True) does, in a tenth of its time; every name must be there."""
    owners = dict(module.named_modules())
    for name, weight in weights.items():
        path, _, leaf = name.rpartition(".")
        owner = owners[path]
        if leaf in owner._buffers:
            owner._buffers[leaf] = weight
        elif isinstance(weight, nn.Parameter):
            owner._parameters[leaf] = weight  # of another network, which then shares it
        else:
            trained = owner._parameters[leaf].requires_grad and weight.is_floating_point()
            owner._parameters[leaf] = nn.Parameter(weight, requires_grad=trained)


def listed(what: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"{len(names)} {what} ({shortened(names)})" if names else ""
