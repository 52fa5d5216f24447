"""What cannot be done with the memory there is, said before the first step."""

from collections.abc import Callable

import comfy.model_management as mm
from comfy.model_patcher import ModelPatcher

from ...models.errors import InputError
from ..networks.transformer import TOKEN_MASK, config_of, takes_token_levels
from .calls import calls_for

POSITIONS = 1024  # in time, of Wan's own rotary positions


def check_step(
    model: ModelPatcher, shape: tuple[int, ...], *cfgs: float, regions: bool = False
) -> None:
    """Refuse a run of a model of ours whose steps need more memory than its device has in all.

    What the host says of its own networks is too rough to refuse anything by.

    Args:
        shape: (b, c, t, h, w) of the latents that a step is given.
        cfgs: of the run.
        regions: whether places within a frame are known, and others not.

    Raises:
        InputError: with the longest or the largest that fits.
    """
    in_parts = model.model_options.get("context_handler")  # core's Context Windows
    if config_of(model) is None or in_parts is not None:
        return
    there = mm.get_total_memory(model.load_device)
    if mm.is_device_cpu(model.load_device):
        there -= model.model_size()  # elsewhere weights can wait on the CPU
    b, c, t, h, w = shape
    rows = b * (1 + calls_for(model, shape, *cfgs).together)
    levels = {TOKEN_MASK: [(rows, 1, t, h, w)]} if regions and takes_token_levels(model) else {}

    def needs(frames: int, h: int, w: int) -> float:
        return model.model.memory_required([rows, c, frames, h, w], levels)

    if t > POSITIONS:
        raise InputError(
            f"{t} latent frames at a time: models know {POSITIONS}. For a long video, use Long "
            f"Take, which goes window by window."
        )
    if needs(t, h, w) <= there:
        return
    longest = most(lambda n: needs(n, h, w) <= there, t)
    fits = f"{longest} latent frames of this size"
    if not longest:
        share = most(lambda n: needs(1, h * n // 64, w * n // 64) <= there, 64)
        fits = f"latent frames of {h * share // 64}×{w * share // 64}"
    videos = f"{b} videos of " if b > 1 else ""
    raise InputError(
        f"a step on {videos}{t} latent frames of {h}×{w} needs about {needs(t, h, w) / 1e9:.0f} GB "
        f"of memory, and there are {there / 1e9:.0f}: at most {fits} fit at a time. For a long "
        f"video, use Long Take, which goes window by window."
    )


def most(fits: Callable[[int], bool], below: int) -> int:
    """The largest number from 1 to `below` - 1 that fits; 0 if none does."""
    low, high = 0, below
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
