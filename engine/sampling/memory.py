"""How much memory a sampling step takes, predicted from shapes alone."""

from collections.abc import Mapping, Sequence
from math import ceil, prod

from ...models.layers import norms_are_fused
from ...models.wan.config import DiTConfig

# How many tensors of (tokens, width) a block holds at once: in attention, and in the MLP besides
# the wide one. Keys as in bytes of a number. Rotary positions are applied in float32, which counts
# twice in 16 bits, and so do RMS norms where torch has no kernel for them. Measured by
# benchmarks/forecast.py, and at real sizes in tests/host/networks/test_memory.py.
ALIVE: Mapping[int, tuple[float, float]] = {4: (6.6, 3.1), 2: (8.3, 3.1)}
WRITTEN_OUT = 9.2  # instead of 8.3, where norms are not fused
BY_TOKEN = 6.5  # more, where each token has a noise level of its own: shifts, scales and gates
IMAGE_TOKENS = 257  # that CLIP's ViT-H makes of an image


def peak_bytes(
    config: DiTConfig,
    latents: Sequence[int],
    itemsize: int,
    contexts: int = 1,
    *,
    by_token: bool = False,
) -> int:
    """Peak memory of one call of a transformer, besides its weights and the text that is kept.

    For attention kernels that never hold all attention weights at once.

    Args:
        config: its sizes.
        latents: (b, c, t, h, w); b is 2 where one call computes both prompts.
        itemsize: bytes of a number that it computes in: 4 for float32, 2 for bf16 and fp16.
        contexts: of VACE, each with tokens of its own.
        by_token: whether each token has a noise level of its own.
    """
    b, _, t, h, w = latents
    tokens = prod(ceil(n / p) for n, p in zip((t, h, w), config.patch, strict=True))
    attending, in_mlp = ALIVE[min(max(itemsize, 2), 4)]
    if itemsize < 4 and not norms_are_fused():
        attending = WRITTEN_OUT
    wide = max(attending, in_mlp + config.mlp_width / config.width)
    wide += contexts * bool(config.vace_blocks) + BY_TOKEN * by_token
    return round(b * itemsize * tokens * wide * config.width)


def text_bytes(config: DiTConfig, tokens: int, itemsize: int) -> int:
    """Memory of the keys and values of text and image tokens, which are kept through a run."""
    return 2 * tokens * (config.depth + config.vace_blocks) * config.width * itemsize


def kept_tokens(config: DiTConfig, words: int, images: int | None = None) -> int:
    """Tokens whose keys and values are kept of a prompt.

    Args:
        words: of the text; a shorter one is filled up.
        images: CLIP's of images; None if there is no saying yet.
    """
    if config.image_width is None:
        images = 0
    elif images is None:
        images = config.image_positions or IMAGE_TOKENS
    return max(words, config.text_length) + images
