"""Tensors on a GPU that is not there: with shape, dtype and device, and without numbers.

As on a real card, torch's fake tensors refuse an operation on tensors of two devices. They refuse
as well what asks for a number back from the device, for which all that is queued there would have
to end first. Apple's and Intel's GPUs also lack some dtypes, and Apple's some operations.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import PAGESIZE
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longtake.models.checkpoint import load_into
from longtake.models.wan.rope import cached_table

KINDS = ("cuda", "mps", "xpu")
COMPLETE = (torch.float64, torch.complex64, torch.complex128)  # what only NVIDIA's and AMD's have
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
LACKING = {"cuda": (), "mps": (*COMPLETE, *FP8), "xpu": COMPLETE}
BORDER = 1  # grid_sample's padding mode, as its operator is told it

_kinds: list[str] = []


def card() -> torch.device:
    """The card that is there now."""
    return torch.device(_kinds[-1], 0)


@contextmanager
def fake_card(kind: str = "cuda") -> Iterator[None]:
    """Within it, real tensors such as core's schedules count as the CPU tensors that they are.

    Args:
        kind: one of KINDS.
    """
    methods = {
        "__getitem__": get_items,
        "__setitem__": set_items,
        "contiguous": contiguous,
        "copy_": copy_into,
        "new_tensor": lambda x, data: new_tensor(data, dtype=x.dtype, device=x.device),
    }
    # For these torch's bindings would ask the card's driver before they let anything be faked.
    patched = mock.patch.multiple(FakeTensor, create=True, **methods)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    attention = mock.patch.object(F, "scaled_dot_product_attention", products_attention)
    _kinds.append(kind)
    try:
        with patched, mock.patch.object(torch, "tensor", new_tensor), mode:
            if kind == "cuda":
                yield
            else:  # torch's bindings would ask for a build for that device
                with attention, Lacks(kind):
                    yield
    finally:
        _kinds.pop()
        cached_table.cache_clear()  # it must not hand fake tables to anybody


def there(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=card())


def moved(network: torch.nn.Module) -> torch.nn.Module:
    """A network from the meta device with weights on the card, as the host leaves it."""
    weights = network.state_dict()
    load_into(network, {n: there(*w.shape, dtype=w.dtype) for n, w in weights.items()})
    return network.eval().requires_grad_(False)


class Lacks(TorchDispatchMode):
    """Refuses what a kind of card cannot hold or compute."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        there = [
            x for x in tree_leaves(args) if isinstance(x, Tensor) and x.device.type == self.kind
        ]
        if self.kind == "mps" and there and "grid_sampler" in str(function) and args[3] == BORDER:
            raise RuntimeError("MPS: Unsupported Border padding mode")
        out = function(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            missing = isinstance(x, Tensor) and x.dtype in LACKING[self.kind]
            if missing and x.device.type == self.kind:
                raise TypeError(f"{self.kind} has no {x.dtype}: {function}")
        return out


class Copies(TorchDispatchMode):
    """Counts the bytes that go from one device to another."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given = [x for x in tree_leaves(args) if isinstance(x, Tensor)]
        if isinstance(out, Tensor) and any(x.ndim and x.device != out.device for x in given):
            self.bytes += out.numel() * out.element_size()
        return out


class Turns(TorchDispatchMode):
    """Counts the bytes of copies that do nothing but turn a tensor round.

    Attributes:
        bytes: by kind of device.
    """

    def __init__(self):
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function.overloadpacket in (torch.ops.aten.clone, torch.ops.aten._to_copy):
            x = args[0]
            same = (x.device, x.dtype) == (out.device, out.dtype)
            if same and x.numel() > 1 and x.stride() != out.stride():
                self.bytes[out.device.type] += out.numel() * out.element_size()
        return out


class Stops(TorchDispatchMode):
    """Counts what waits for a card: numbers asked back of it, each answered with 0 or False.

    Attributes:
        asked: how often, by operation: an item, a comparison, the places that are not zero.
    """

    def __init__(self):
        super().__init__()
        self.asked: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        aten, operation = torch.ops.aten, function.overloadpacket
        waits = (aten._local_scalar_dense, aten.equal, aten.nonzero)
        if operation not in waits or args[0].device.type == "cpu":
            return function(*args, **(kwargs or {}))
        self.asked[operation.__name__.removeprefix("_")] += 1
        if operation is aten.nonzero:
            return args[0].new_empty(0, args[0].ndim, dtype=torch.long)
        return False if operation is aten.equal else 0


# Which argument of a product is what it reads; in inference mode some are seen as a whole.
PRODUCTS = {"addmm": 1, "baddbmm": 1} | dict.fromkeys(
    ("mm", "bmm", "_scaled_mm", "linear", "matmul", "convolution", "conv2d", "conv3d"), 0
)


class Products(TorchDispatchMode):
    """Counts matrix products and convolutions by the dtype that they read.

    Attributes:
        read: by dtype.
    """

    def __init__(self):
        super().__init__()
        self.read: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if (at := PRODUCTS.get(function.overloadpacket.__name__)) is not None:
            self.read[args[at].dtype] += 1
        return function(*args, **(kwargs or {}))


class PinnedPages:
    """What a card's driver has pinned, page by page; a page that is pinned already is refused.

    Attributes:
        pages: that are pinned, by where what was registered begins.
        refused: how often.
    """

    def __init__(self):
        self.pages: dict[int, range] = {}
        self.refused = 0

    def cudaHostRegister(self, start: int, size: int, _flags: int) -> int:
        pages = range(start // PAGESIZE, -(-(start + size) // PAGESIZE))
        if any(pages.start < p.stop and p.start < pages.stop for p in self.pages.values()):
            self.refused += 1
            return 712  # cudaErrorHostMemoryAlreadyRegistered
        self.pages[start] = pages
        return 0

    def cudaHostUnregister(self, start: int) -> int:
        return 0 if self.pages.pop(start, None) else 713  # cudaErrorHostMemoryNotRegistered


def products_attention(q: Tensor, k: Tensor, v: Tensor, attn_mask=None, **_: Any) -> Tensor:
    """Attention as torch computes it where it has no kernel: all weights at once."""
    assert attn_mask is None
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v


real_tensor = torch.tensor


def new_tensor(data: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """torch.tensor."""
    on_cpu = real_tensor(data, dtype=dtype)
    if torch.device(device or "cpu").type == "cpu":
        return on_cpu
    return torch.empty(on_cpu.shape, dtype=on_cpu.dtype, device=device)


def as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else real_tensor(value)


def copy_into(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return torch.ops.aten.copy_(x, source, non_blocking)


def contiguous(x: Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    return x.clone(memory_format=memory_format)


def get_items(x: Tensor, index: Any) -> Tensor:
    """x[index] by the operations that it stands for."""
    places: list[Tensor | None] = []
    for entry in index_by_axis(x, index):
        axis = len(places)
        if isinstance(entry, int):
            x = x.select(axis, entry)
            continue
        places.append(None)
        if entry is None:
            x = x.unsqueeze(axis)
        elif isinstance(entry, slice):
            x = torch.ops.aten.slice(x, axis, entry.start, entry.stop, entry.step or 1)
        else:
            places[axis] = as_tensor(entry)
    return x if all(p is None for p in places) else torch.ops.aten.index(x, places)


def set_items(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value."""
    where = index_by_axis(x, index)
    places = [None if isinstance(e, slice) else as_tensor(e) for e in where]
    if all(e is None or isinstance(e, slice | int) for e in where):
        get_items(x, index).copy_(as_tensor(value))
    else:
        torch.ops.aten.index_put_(x, places, as_tensor(value))


def index_by_axis(x: Tensor, index: Any) -> list[Any]:
    """An index with one entry for each axis of x that it takes or adds."""
    index = list(index) if isinstance(index, tuple) else [index]
    used = sum(entry is not None and entry is not Ellipsis for entry in index)
    for at, entry in enumerate(index):
        if entry is Ellipsis:
            return [*index[:at], *[slice(None)] * (x.ndim - used), *index[at + 1 :]]
    return index
