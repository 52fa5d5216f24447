"""From a weights file to a network that holds its weights.

    header = read_header(path)              # names and shapes only; refuses any other kind of file
    found = detect(header, "dit")           # what it is: config, and official name of each tensor
    network = WanDiT(found.config, device="meta")
    load_into(network, load_weights(header, found.names), header.name)

Weights of a large file stay mapped from the disk until they are used or cast, so that loading
costs next to nothing and the operating system shares one copy among all programs that read the
file. Those of a small one are read: on Windows a mapped file cannot be replaced, and no update of
the pack could bring new built-in weights while ComfyUI runs.

The file is mapped here and not by the safetensors library, which maps all of it at once: what is
only read to be cast would then stay in memory for as long as anything else of the file is used.
"""

import errno
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from .errors import CheckpointError
from .weights_file import DTYPES, Header, TensorInfo, one_line, read_header, shortened

FP8 = tuple(dtype for name, dtype in DTYPES.items() if name.startswith("F8"))
PORTION = 2**28  # bytes mapped at a time
READ = 2**25  # bytes; up to here a checkpoint is read, and only a larger one mapped
SMALL_MODEL = 2**28  # bytes; up to here every number of a checkpoint is checked
SMALL_TENSOR = 2**19  # bytes; up to here every number of a larger checkpoint's tensor is checked
NO_ROOM = (errno.ENOMEM, 1455)  # the second is Windows' "the paging file is too small"

Prepare = Callable[[str, Tensor], Tensor]  # (official name, mapped tensor) -> what to keep of it


def load_weights(
    source: Header | Path | str,
    names: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
    prepare: Prepare | None = None,
    on_tensor: Callable[[], None] = lambda: None,
    mapped: bool = True,
    on_mapped: Callable[[Tensor, TensorInfo], None] | None = None,
) -> dict[str, Tensor]:
    """Tensors of a checkpoint, on the CPU, under the names that its network uses.

    Args:
        source: a file, or its header.
        names: name in the file -> name in the result, as `detect` gives it; other tensors are
            not read. None takes all under their own names.
        dtype: cast floating point tensors to this; None leaves them as they are.
        prepare: called for each tensor, instead of the cast.
        on_tensor: called after each.
        mapped: whether what is left as it is may stay mapped from the disk.
        on_mapped: called for each mapped tensor, before it is prepared.

    Raises:
        CheckpointError: unreadable, or some weights are NaN or infinite.
    """
    header = source if isinstance(source, Header) else read_header(source)
    names = {name: name for name in header.tensors} if names is None else names
    size = sum(header.tensors[name].bytes for name in names)
    mapped = mapped and size > READ
    whole = size <= SMALL_MODEL
    if not whole:
        _refuse_broken_samples(header, names)
    if prepare is None and dtype is not None:
        prepare = partial(_cast, dtype)
    weights: dict[str, Tensor] = {}
    for path, wanted in _portions(header, names):
        tensors = read_portion(header, path, {old: names[old] for old in wanted}, mapped)
        if whole:
            refuse_broken_numbers(tensors, header.name)
        if mapped and on_mapped:
            for old in wanted:
                on_mapped(tensors[names[old]], header.tensors[old])
        for name, tensor in tensors.items():
            weights[name] = prepare(name, tensor) if prepare else tensor
            on_tensor()
    return weights


def _cast(dtype: torch.dtype, _name: str, weight: Tensor) -> Tensor:
    return weight.to(dtype) if weight.is_floating_point() else weight


def _portions(header: Header, names: Iterable[str]) -> Iterator[tuple[Path, list[str]]]:
    """The tensors by file, and within a file in the order of the disk, PORTION bytes at a time.

    Mapped pages count as memory of this process once they were read. Of a file that is read
    portion by portion, only what was kept of the portions before counts.
    """
    by_file: dict[Path, list[str]] = {}
    for name in sorted(names, key=lambda name: header.tensors[name].offset):
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


def read_portion(
    header: Header, path: Path, names: Mapping[str, str], mapped: bool = True
) -> dict[str, Tensor]:
    """The tensors that `names` asks for: mapped from one file and not copied, or read."""
    infos = {new: header.tensors[old] for old, new in names.items()}
    spans = [(info.offset, info.bytes) for info in infos.values()]
    try:
        if path.stat().st_size < max(start + size for start, size in spans):
            raise OSError("it has become shorter since its header was read")
        with path.open("rb") as file:
            parts = _mapped(file, spans) if mapped else [_read(file, *span) for span in spans]
    except (OSError, ValueError) as error:
        raise _unreadable(header.name, error) from None
    return {new: _tensor(part, infos[new]) for new, part in zip(infos, parts, strict=True)}


def _mapped(file: BinaryIO, spans: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The bytes at (start, size) each, in a storage of its own: (n,) uint8.

    No more than is wanted is mapped: Windows reserves memory for all that is. Copy on write:
    whoever changes a weight in place changes a copy, not the file.
    """
    first = min(start for start, _ in spans) // mmap.ALLOCATIONGRANULARITY
    first *= mmap.ALLOCATIONGRANULARITY
    length = max(start + size for start, size in spans) - first
    if not length:
        return [torch.empty(0, dtype=torch.uint8) for _ in spans]
    pages = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY, offset=first)
    return [_bytes(pages, start - first, size) for start, size in spans]


def _read(file: BinaryIO, start: int, size: int) -> Tensor:
    """`size` bytes from `start` on: (n,) uint8."""
    data = bytearray(size)
    file.seek(start)
    file.readinto(data)
    return _bytes(data, 0, size)


def _bytes(data: bytearray | mmap.mmap, start: int, size: int) -> Tensor:
    if not size:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(data, dtype=torch.uint8, count=size, offset=start)


def _unreadable(source: str, error: Exception) -> CheckpointError:
    number = getattr(error, "winerror", None) or getattr(error, "errno", None)
    remedy = "Get another copy of it."
    if number in NO_ROOM:
        remedy = "Close other programs, or give the system more swap or a larger paging file."
    return CheckpointError(f"'{source}' cannot be read: {one_line(error)}. {remedy}")


def _tensor(part: Tensor, info: TensorInfo) -> Tensor:
    """The tensor that `info` describes, of its bytes: (n,) uint8."""
    dtype = DTYPES[info.dtype]
    if (part.data_ptr() if part.numel() else 0) % dtype.itemsize:
        part = part.clone()  # the format does not promise that tensors are aligned
    return part.view(dtype).view(info.shape)


def refuse_broken_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError if any weight is NaN or infinite; `source` names them to the user."""
    if broken := [name for name, weight in weights.items() if not is_finite(weight)]:
        raise _broken_numbers(broken, len(weights), source)


def refuse_zeros(weights: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError if all weights are zero: such a network runs, and makes nothing."""
    if weights and all(map(_is_zero, weights.values())):
        raise CheckpointError(
            f"'{source}' holds nothing but zeros in {len(weights)} tensors: it was damaged, or "
            f"saved before it was trained. Get another copy of it."
        )


def _is_zero(weight: Tensor) -> bool:
    """Whether all numbers of a tensor are zero; of most, the first few say that they are not.

    Those that lie on a device, or only have a shape, are not waited for.
    """
    if weight.device.type != "cpu":
        return False
    numbers = weight.detach().flatten()
    if numbers.dtype in FP8:
        numbers = numbers.view(torch.uint8)
    return not numbers[:4096].any() and not numbers.any()


def _broken_numbers(names: Iterable[str], total: int, source: str) -> CheckpointError:
    names = list(names)
    return CheckpointError(
        f"'{source}' holds numbers that are NaN or infinite in {len(names)} of {total} tensors: "
        f"{shortened(names)}. It was damaged, or saved in too low a precision; get another copy or "
        f"a bf16 version of it."
    )


def _refuse_broken_samples(header: Header, names: Mapping[str, str]) -> None:
    """As `refuse_broken_numbers` for a large checkpoint, of whose matrices samples are checked.

    To check every number would take as long as the disk needs for the whole file. The samples
    are read and not mapped, so that none of them stays in memory.
    """
    broken = [
        new
        for path, wanted in _portions(header, names)
        for new in _broken_in(
            path, {names[old]: header.tensors[old] for old in wanted}, header.name
        )
    ]
    if broken:
        raise _broken_numbers(broken, len(names), header.name)


def _broken_in(path: Path, tensors: Mapping[str, TensorInfo], source: str) -> list[str]:
    """Names of the tensors that have NaN or infinity among their samples."""
    try:
        with path.open("rb", buffering=0) as file:
            read = {name: _samples(file, info) for name, info in tensors.items()}
    except OSError as error:
        raise _unreadable(source, error) from None
    by_dtype: dict[str, list[str]] = {}
    for name, info in tensors.items():
        by_dtype.setdefault(info.dtype, []).append(name)
    broken = []
    for dtype, names in by_dtype.items():  # all at once: there are many, and hardly ever broken
        if not is_finite(_numbers(bytearray().join(read[name] for name in names), dtype)):
            broken += [name for name in names if not is_finite(_numbers(read[name], dtype))]
    return broken


def _samples(file: BinaryIO, info: TensorInfo) -> bytearray:
    """A tensor's first, middle and last numbers; all of a small one's."""
    size, sample = info.bytes, 4096
    spans = [(0, size)]
    if size > SMALL_TENSOR:
        middle = size // 2 // 8 * 8  # where a number begins, in any dtype
        spans = [(0, sample), (middle, sample), (size - sample, sample)]
    found = bytearray()
    for start, length in spans:
        file.seek(info.offset + start)
        found += file.read(length)
    return found


def _numbers(data: bytearray, dtype: str) -> Tensor:
    """The bytes as numbers of a file's dtype: (n,)."""
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
    """Make `weights` the parameters of a network, without copying them.

    Args:
        module: may be on the meta device, so that nothing is allocated twice. It gets the
            weights' dtype and device.
        weights: as from `load_weights`; names and shapes must be exactly the module's.
        source: the file's name, for the message.

    Raises:
        CheckpointError: names every missing, unexpected and wrongly shaped tensor.
    """
    expected = module.state_dict(keep_vars=True)
    problems = [
        counted("missing", expected.keys() - weights.keys()),
        counted("unexpected", weights.keys() - expected.keys()),
        counted(
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
    _assign(module, weights)


def _assign(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """What load_state_dict(assign=True) does, in a tenth of its time; every name must be there."""
    owners = dict(module.named_modules())
    for name, weight in weights.items():
        path, _, leaf = name.rpartition(".")
        owner = owners[path]
        if leaf in owner._buffers:
            owner._buffers[leaf] = weight
        elif isinstance(weight, nn.Parameter):
            owner._parameters[leaf] = weight  # shared with the network that it belongs to
        else:
            trained = owner._parameters[leaf].requires_grad and weight.is_floating_point()
            owner._parameters[leaf] = nn.Parameter(weight, requires_grad=trained)


def counted(what: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"{len(names)} {what} ({shortened(names)})" if names else ""
