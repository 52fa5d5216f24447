"""How much memory a call takes, without making it: tensors on the meta device have sizes too."""

import weakref
from collections.abc import Iterable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peak(TorchDispatchMode):
    """Counts the bytes of all tensors alive, on the meta device as anywhere.

    Args:
        on: kind of device of those that count; None for any.
        held: tensors that are there already, and may go meanwhile.
    """

    def __init__(self, on: str | None = None, held: Iterable[torch.Tensor] = ()):
        super().__init__()
        self.on = on
        self.live = self.most = 0
        self.known = set()
        for tensor in held:
            self._count(tensor.untyped_storage())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and self.on in (None, leaf.device.type):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.live += size
        self.most = max(self.most, self.live)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key, size):
        self.known.discard(key)
        self.live -= size


class Limit(Peak):
    """An allocator with so many bytes."""

    def __init__(self, limit: float, on: str | None = None):
        super().__init__(on)
        self.limit = limit

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = super().__torch_dispatch__(function, types, args, kwargs)
        if self.live > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
        return out
