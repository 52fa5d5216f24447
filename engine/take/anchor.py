"""Against drift: what later windows of a take keep of its first one.

Every window goes on from the end of the one before, and small errors add up: colours creep,
contrast grows. Two remedies, each by itself or both: latents whose statistics are those of the
first window, and the first frame itself among what each window is shown as known.

A third is a LoRA, SVI 2.0 Pro (Stable Video Infinity), for which windows hand over in another way:
all of a window is sampled, and only its image channels say what was before, see `svi_channels`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...models.errors import InputError
from ..canvas.known import MASK_CHANNELS, ImageChannels
from ..canvas.masked import MaskedLatents
from ..canvas.plan import Window

SVI = "SVI 2.0 Pro"
ANCHORS = ("off", "statistics", "first frame", "both", SVI)
FOLLOWING = ANCHORS[:2]  # by these each window begins with frames of the one before
SVI_OVERLAP = 2  # latent frames: the anchor, and the last one of the clip before
STRENGTH = 0.5  # of a window's deviation that is taken back: what happens may change colours too


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel: (1, c, 1, 1, 1)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> "Statistics":
        """latents: (1, c, t, h, w)."""
        std, mean = torch.std_mean(latents.double(), dim=(0, 2, 3, 4), keepdim=True)
        return cls(mean, std)


def matched(latents: Tensor, like: Statistics, strength: float = STRENGTH) -> Tensor:
    """Latents (1, c, t, h, w) moved towards the statistics of others, all the way at strength 1."""
    own = Statistics.of(latents)
    mean = torch.lerp(own.mean, like.mean, strength)
    std = torch.lerp(own.std, like.std, strength)
    moved = (latents.double() - own.mean) * (std / own.std.clamp_min(1e-6)) + mean
    return moved.to(latents)


class Anchor:
    """What later windows of one clip keep of its first one.

    Args:
        kind: one of ANCHORS.
    """

    def __init__(self, kind: str):
        self.svi = kind == SVI
        self._statistics = kind in ("statistics", "both")
        self._frame = kind in ("first frame", "both")
        self._first: Tensor | None = None
        self._like: Statistics | None = None

    def remember(self, new: Tensor) -> None:
        """The first of all windows' latents that this is called with count: (1, c, t, h, w)."""
        if self._first is None:
            self._first, self._like = new[:, :, :1].clone(), Statistics.of(new)

    def shown(self, window: Window, part: MaskedLatents) -> MaskedLatents:
        """What a window is shown: in place of the first known frame, the clip's first."""
        if self.svi and self._first is not None and window.context:
            return part.with_known({0: self._first})
        if not self._frame or self._first is None or window.context < 2:
            return part
        return part.with_known({0: self._first})

    def corrected(self, new: Tensor) -> Tensor:
        """What a window gave, moved towards the first one's statistics."""
        if not self._statistics or self._like is None:
            return new
        return matched(new, self._like)


def svi_channels(
    part: MaskedLatents, context: int, first: Tensor | None, blank: Tensor
) -> ImageChannels:
    """The image channels of a window as SVI 2.0 Pro's LoRAs were trained to read them.

    The first latent frame is the anchor, the picture that the clip began with; then come the last
    ones of the window before, which the mask does not tell of; the rest is zeros to the network.

    Args:
        part: the window with all that is known of it; where it has a context, the anchor first.
        context: how many of its latent frames come from the window before; 0 in a clip's first.
        first: (1, c, 1, h, w), the anchor, where a prompt brings it; or None.
        blank: (1, c, t, h, w) of what is zeros to the network.

    Source:
        the author in vita-epfl/Stable-Video-Infinity#75, of the channels; KJNodes'
        WanImageToVideoSVIPro, of the mask and the zeros.
    """
    channels = ImageChannels.of(part, blank, MASK_CHANNELS)
    image, known = channels.image.clone(), channels.known.clone()
    known[:, :, 1:context] = 0
    if first is not None and (context or not known[:, :, 0].any()):
        image[:, :, :1], known[:, :, 0] = first, 1
    return ImageChannels(image, known)


def svi_overlap(asked: int) -> int:
    """How many latent frames windows overlap by. Raises InputError if no frame is handed over."""
    if asked == 1:
        raise InputError(
            f"an overlap of 1 frame holds {SVI}'s anchor and nothing to go on from: choose 5 (its "
            f"LoRAs were trained on it), or 0."
        )
    return asked or SVI_OVERLAP
