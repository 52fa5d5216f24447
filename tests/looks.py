"""What is computed between two looks at Cancel, counted in bytes: time would depend on the machine.

with Looks() as looks, bands.stoppable(looks.look):
    ...
assert looks.most < 10 * bands.BYTES
"""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NOTHING_WRITTEN = ("empty", "detach", "expand", "unsafe_view")


class Looks(TorchDispatchMode):
    """Counts what torch writes in this block.

    Attributes:
        count: how often Cancel was looked at.
        most: bytes that were written between two looks, at most.
    """

    def __init__(self):
        super().__init__()
        self.count = self.most = self._since = 0
        self.where = ""

    def look(self) -> None:
        self.count, self._since = self.count + 1, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and not any(word in name for word in NOTHING_WRITTEN):
            made = result if isinstance(result, tuple | list) else [result]
            tensors = [x for x in made if isinstance(x, Tensor)]
            self._since += sum(x.numel() * x.element_size() for x in tensors)
            if self._since > self.most:
                self.most, self.where = self._since, name
        return result
