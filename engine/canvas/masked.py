"""Latents and what of them is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from torch import Tensor

from ...models.errors import InputError


@dataclass(frozen=True, eq=False)
class MaskedLatents:
    """Latents of one kind, and what of them is known.

    Attributes:
        latents: (b, c, t, h, w).
        mask: (b or 1, 1, t, h or 1, w or 1), 1 = to be sampled, 0 = known, a part known between;
            None where nothing is.
    """

    latents: Tensor
    mask: Tensor | None = None

    def __post_init__(self):
        check_video(self.latents)
        if self.mask is not None and not fits(self.mask, self.latents):
            b, _, t, h, w = self.latents.shape
            raise InputError(
                f"a mask of shape {tuple(self.mask.shape)} does not fit latents of "
                f"{tuple(self.latents.shape)}: need ({b} or 1, 1, {t}, {h} or 1, {w} or 1)."
            )

    @property
    def known(self) -> list[int]:
        """The latent frames that are known wholly."""
        if self.mask is None:
            return []
        return (reduce(self.mask, "b c t h w -> t", "max") == 0).nonzero().flatten().tolist()

    @property
    def to_sample(self) -> Tensor:
        """The mask; ones where there is none."""
        return torch.ones(1, 1, self.latents.shape[2], 1, 1) if self.mask is None else self.mask

    @property
    def has_regions(self) -> bool:
        """Whether places within a frame are known, and others not."""
        return self.mask is not None and tells_places_apart(self.mask)

    def at(self, frames: Sequence[int]) -> "MaskedLatents":
        """Some latent frames of it, in that order."""
        frames = list(frames)
        mask = None if self.mask is None else self.mask[:, :, frames]
        return MaskedLatents(self.latents[:, :, frames], mask)

    def with_known(self, latents: Mapping[int, Tensor]) -> "MaskedLatents":
        """With these latents, (b, c, n, h, w) from the frame of their number on, known."""
        if not latents:
            return self
        own, mask = self.latents.clone(), self._mask()
        for k, known in latents.items():
            span = slice(k, k + known.shape[2])
            own[:, :, span], mask[:, :, span] = known.to(own), 0
        return MaskedLatents(own, mask)

    def partly(self, masks: Mapping[int, Tensor]) -> "MaskedLatents":
        """With masks (1, 1, 1, h, w) of latent frames, by their number."""
        if not masks:
            return self
        whole = self._mask().expand(-1, -1, -1, *self.latents.shape[3:]).clone()
        for k, mask in masks.items():
            whole[:, :, k : k + 1] = mask
        return MaskedLatents(self.latents, whole)

    def without(self, frames: Sequence[int]) -> "MaskedLatents":
        """With some latent frames to be sampled, whatever the mask said of them."""
        if self.mask is None or not frames:
            return self
        mask = self._mask()
        mask[:, :, list(frames)] = 1
        return MaskedLatents(self.latents, mask)

    def followed_by(self, other: "MaskedLatents") -> "MaskedLatents":
        """With the frames of another, of one video and known in part at least, after its last."""
        b, _, _, h, w = self.latents.shape
        mine, theirs = self._mask(), other._mask()
        if mine.shape[3:] != theirs.shape[3:]:
            mine, theirs = (mask.expand(-1, -1, -1, h, w) for mask in (mine, theirs))
        after = other.latents.to(self.latents).expand(b, -1, -1, h, w)
        return MaskedLatents(
            torch.cat((self.latents, after), dim=2),
            torch.cat((mine, theirs.to(mine).expand(len(mine), -1, -1, -1, -1)), dim=2),
        )

    def led_by(self, frames: int) -> "MaskedLatents":
        """With so many latent frames to be sampled in front."""
        b, c, _, h, w = self.latents.shape
        front = self.latents.new_zeros(b, c, frames, h, w)
        latents, mask = torch.cat((front, self.latents), dim=2), self.mask
        if mask is not None:
            unknown = mask.new_ones(*mask.shape[:2], frames, *mask.shape[3:])
            mask = torch.cat((unknown, mask), dim=2)
        return MaskedLatents(latents, mask)

    def arranged(self, order: Sequence[int | None]) -> "MaskedLatents":
        """Latent frames of it in another order, known; None stands for one to be sampled."""
        places = [k for k, frame in enumerate(order) if frame is not None]
        b, c, _, h, w = self.latents.shape
        latents, mask = self.latents.new_zeros(b, c, len(order), h, w), torch.ones(len(order))
        latents[:, :, places] = self.latents[:, :, [order[k] for k in places]]
        mask[places] = 0
        return MaskedLatents(latents, mask.view(1, 1, -1, 1, 1))

    def _mask(self) -> Tensor:
        """A mask to be changed."""
        return self.to_sample.clone()


def check_video(latents: Tensor, channels: int | None = None) -> None:
    """Raises InputError for what is no video's latents, or not those of so many channels."""
    if latents.ndim != 5:
        raise InputError(
            f"latents of shape {tuple(latents.shape)} are not a video: "
            f"need (batch, channels, frames, height, width)."
        )
    if channels is not None and latents.shape[1] != channels:
        raise InputError(
            f"the latents have {latents.shape[1]} channels, but this VAE decodes {channels}: "
            f"use the VAE that belongs to the model that made them."
        )


def fits(mask: Tensor, latents: Tensor) -> bool:
    """Whether each axis of a mask is 1 or that of the latents (b, c, t, h, w); time must be."""
    b, _, t, h, w = latents.shape
    allowed = ((1, b), (1,), (t,), (1, h), (1, w))
    return mask.ndim == 5 and all(n in fit for n, fit in zip(mask.shape, allowed, strict=True))


def tells_places_apart(mask: Tensor) -> bool:
    """Whether a mask (b, 1, t, h, w) differs within a frame. On a card it waits for the numbers."""
    return not (mask == mask[..., :1, :1]).all().item()
