"""How much memory a denoising step will take, from shapes alone."""

from collections.abc import Mapping, Sequence
from math import ceil, prod

from ...models.wan.config import DiTConfig

# Tensors of (tokens, width) alive at once in a block, besides the one inside its MLP: while it
# attends, and while it is in the MLP. Positions are turned in float32, which counts twice in 16
# bits. Where torch has no kernel for RMS norms (on CPUs, before 2.8 on GPUs too) that takes float32
# as well, 10 instead of 7.1: the number stands between. Measured: benchmarks/forecast.py, and at
# real sizes in tests/host/test_memory.py.
ALIVE: Mapping[int, tuple[float, float]] = {4: (6.6, 3.1), 2: (8.3, 3.1)}


def peak_bytes(config: DiTConfig, latents: Sequence[int], itemsize: int) -> int:
    """The most memory that one call of a transformer takes besides its weights.

    Args:
        config: its sizes.
        latents: (b, c, t, h, w); b is 2 where both prompts are asked in one call.
        itemsize: bytes of the numbers it computes in: 4 for float32, 2 for bf16 and fp16.

    It holds for kernels that never hold all of attention's weights, and counts two prompts at most:
    more videos in a batch share theirs.
    """
    b, _, t, h, w = latents
    tokens = prod(ceil(n / p) for n, p in zip((t, h, w), config.patch, strict=True))
    attending, in_mlp = ALIVE[min(max(itemsize, 2), 4)]
    wide = max(attending, in_mlp + config.mlp_width / config.width)
    at_work = round(b * itemsize * tokens * wide * config.width)
    return at_work + text_bytes(config, min(b, 2), itemsize)


def text_bytes(config: DiTConfig, prompts: int, itemsize: int) -> int:
    """Keys and values of so many prompts, which are kept through a run."""
    return 2 * prompts * config.depth * config.text_length * config.width * itemsize
