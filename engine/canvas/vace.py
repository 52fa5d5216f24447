"""What VACE's checkpoints are shown of a video: what of it is known, what it is to follow.

A context of latents as long as the video: "inactive" of the pixels that are to stay, grey where
they are not; "reactive" of those that are to be made anew after what is shown there, such as depth
or a pose; and of each cell its 8 × 8 pixels as a mask, 1 where they are made. References stand in
front, each a latent frame of its own, and are cut off after sampling.

Source: vace_encode_frames, vace_encode_masks and vace_latent in vace/models/wan/wan_vace.py,
ali-vilab/VACE.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import Tensor

from .grid import LEAD, Grid
from .guidance import Guidance
from .known import GREY_PIXEL, Pins
from .masked import MaskedLatents
from .regions import KeptPixels
from .surroundings import Surroundings


@dataclass(frozen=True, eq=False)
class VaceContext:
    """What some latent frames of a video are shown as.

    Attributes:
        frames: (b, 2·c, r + t, h, w) latents: inactive ones, then reactive ones.
        mask: (b, pixels of a cell, r + t, h, w).
        strength: (r + t,) how much each latent frame of it counts.
        lead: r, how many references stand in front.
    """

    frames: Tensor
    mask: Tensor
    strength: Tensor
    lead: int = 0


class Contexts:
    """The contexts of a canvas, window by window.

    Args:
        grid: of its latents.
        grey: (1, c, 3, 1, 1) latents of grey pixels in the first latent frame, the second and those
            after, where there is no VAE to make them.
        zero: (1, c, 1, 1, 1) latents that are zeros to the network.
        pins: known pixels of it.
        guidance: what is to be followed.
        kept: the pixels around its regions. Where they would have to be decoded first, what is
            known goes by latent cells.
    """

    def __init__(
        self,
        grid: Grid,
        grey: Tensor,
        zero: Tensor,
        pins: Pins | None = None,
        guidance: Guidance | None = None,
        kept: KeptPixels | None = None,
    ):
        self.grid, self.zero, self.pins, self.guidance = grid, zero, pins, guidance
        self._constant = grey
        self._around = Surroundings(kept) if kept and kept.codec and kept.in_pixels else None
        own = guidance or pins or (kept if self._around else None)
        self._codec = own and own.codec
        self._references: Tensor | None = None
        self._greys: dict[tuple[int, ...], Tensor] = {}  # by length and what comes before

    @property
    def lead(self) -> int:
        """How many references stand in front."""
        return len(self.guidance.references) if self.guidance else 0

    def of(self, span: range, part: MaskedLatents) -> VaceContext:
        """The context of latent frames that follow one another.

        Where known pixels were pinned they are encoded as VACE wants them, grey where anything is
        to be made. Where only latents are known, such as those that a window hands to the next,
        they are inactive as they are.

        Args:
            part: their latents, and what of them is known.
        """
        latents = part.latents.float().cpu()
        made = self._made(span, part)
        inactive, reactive = self._encoded(span, made, latents.shape[3:])
        bare = self._bare(span, part)
        grey = self._grey(span, latents.shape[3:])
        inactive = torch.where(bare, latents, inactive)
        reactive = torch.where(bare, grey, reactive)
        mask = mask_channels(made[self._lead(span)[1] :], len(span), self.grid.stride_hw)
        strength = self._strength(span)
        frames = torch.cat(torch.broadcast_tensors(inactive, reactive), dim=1)
        context = VaceContext(frames, mask.expand(len(frames), -1, -1, -1, -1), strength)
        return self._with_references(context) if self.lead else context

    def _lead(self, span: range) -> tuple[range, int]:
        """The pixel frames that are encoded for a span, and how many of them come before it."""
        lead = min(LEAD, span.start)
        stop = self.grid.first_frame(span.stop)
        begin = stop - self.grid.frames(len(span) + lead)
        return range(begin, stop), self.grid.first_frame(span.start) - begin

    def _made(self, span: range, part: MaskedLatents) -> Tensor:
        """(f, height, width) bool: what is made in the pixel frames that are encoded.

        Before the span nothing is known but what was pinned, and what is around regions.
        """
        frames, _ = self._lead(span)
        h, w = part.latents.shape[3:]
        made = torch.ones(len(frames), h, w, dtype=torch.bool)
        mask = torch.ones(1, 1, 1, 1, 1) if part.mask is None else part.mask
        mask = reduce(mask.expand(-1, 1, len(span), h, w), "b 1 t h w -> t h w", "max") > 0.5
        for n, frame in enumerate(frames):
            k = self.grid.latent_frame_of(frame)
            pinned = self.pins is not None and frame in self.pins.pixels
            if k in span and not (pinned and k in self.pins.partly):
                made[n] = mask[k - span.start]
            elif pinned:
                made[n] = False
        made = by_pixel(made, self.grid.stride_hw)
        if self._around:
            made &= self._around.regions(frames)
        return made

    def _bare(self, span: range, part: MaskedLatents) -> Tensor:
        """(b or 1, 1, t, h or 1, w or 1) bool: known cells of frames none of whose pixels are."""
        if part.mask is None:
            return torch.zeros(1, 1, 1, 1, 1, dtype=torch.bool)
        pixels = self.pins.pixels if self.pins else {}
        seen = torch.tensor([any(f in pixels for f in self._pixels_of(k)) for k in span])
        bare = ~seen.view(1, 1, -1, 1, 1)
        if self._around:  # what a window hands to the next is within regions
            bare = bare & self._around.cells(self.grid, span)
        return (part.mask <= 0.5) & bare

    def _pixels_of(self, latent_frame: int) -> range:
        return range(self.grid.first_frame(latent_frame), self.grid.first_frame(latent_frame + 1))

    def _encoded(self, span: range, made: Tensor, cell: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inactive and reactive latents of the pixels: each (1, c, t, h, w)."""
        frames, _ = self._lead(span)
        shown = self.guidance.shown_in(frames) if self.guidance else {}
        pinned = self.pins.within(frames) if self.pins else {}
        shown |= pinned
        if not shown and not self._around:
            return (self._grey(span, cell),) * 2
        stride, grey = self.grid.stride_hw, torch.tensor(GREY_PIXEL)
        size = [n * stride for n in cell]
        pictures = torch.full((len(frames), *size, 3), GREY_PIXEL)
        for f, picture in shown.items():
            pictures[f - frames.start] = picture
        rows = [f - frames.start for f in shown]
        if self._around:
            self._around.laid_on(pictures, frames, [f for f in frames if f in pinned])
            rows = list(range(len(frames)))
        where = made[..., None]
        halves = []
        for seen in (~where, where):
            some = bool(seen[rows].any())
            both = torch.where(seen, pictures, grey) if some else None
            halves.append(self._latents(both, span) if some else self._grey(span, cell))
        return halves[0], halves[1]

    def _latents(self, pictures: Tensor, span: range) -> Tensor:
        return self._codec.encode(pictures)[:, :, min(LEAD, span.start) :]

    def _grey(self, span: range, cell: Sequence[int]) -> Tensor:
        """(1, c, t, h, w) latents of grey pixels."""
        if self._codec is None:
            index = [min(k, 2) for k in span]
            return self._constant[:, :, index].expand(-1, -1, -1, *cell)
        frames, _ = self._lead(span)
        height, width = (n * self.grid.stride_hw for n in cell)
        key = len(frames), min(LEAD, span.start)
        if key not in self._greys:
            pictures = torch.full((len(frames), height, width, 3), GREY_PIXEL)
            self._greys[key] = self._latents(pictures, span)
        return self._greys[key]

    def _strength(self, span: range) -> Tensor:
        """(t,): that of the control clip where it is shown, else 1."""
        pinned = self.pins.pixels if self.pins else {}
        rows = []
        for k in span:
            frames = self._pixels_of(k)
            own = self.guidance.strengths_in(frames) if self.guidance else []
            known = any(f in pinned for f in frames)
            rows.append(sum(own) / len(own) if own and not known else 1.0)
        return torch.tensor(rows)

    def _with_references(self, context: VaceContext) -> VaceContext:
        references = self.guidance.references
        if self._references is None:
            pictures = [self._codec.encode(one.picture[None]) for one in references]
            self._references = torch.cat(pictures, dim=2)
        own = torch.cat((self._references, self.zero.expand_as(self._references)), dim=1)
        own = own.expand(len(context.frames), -1, -1, -1, -1)
        strengths = torch.tensor([one.strength for one in references])
        return VaceContext(
            torch.cat((own, context.frames), dim=2),
            F.pad(context.mask, (0, 0, 0, 0, self.lead, 0)),
            torch.cat((strengths, context.strength)),
            self.lead,
        )


def by_pixel(cells: Tensor, stride_hw: int) -> Tensor:
    """(f, h, w) by latent cell -> (f, height, width)."""
    return repeat(cells, "f h w -> f (h p) (w q)", p=stride_hw, q=stride_hw)


def mask_channels(made: Tensor, latent_frames: int, stride_hw: int) -> Tensor:
    """A mask of pixels as VACE reads it: (1, stride_hw², t, h, w).

    Args:
        made: (f, height, width), 1 where pixels are made.
        latent_frames: t; each has the mask of one pixel frame, the one that it had in training.
        stride_hw: pixels along a cell's side.
    """
    numbers = torch.arange(len(made)).view(1, 1, -1).float()
    chosen = F.interpolate(numbers, latent_frames, mode="nearest-exact").long().flatten()
    pattern = "t (h p) (w q) -> 1 (p q) t h w"
    return rearrange(made[chosen].float(), pattern, p=stride_hw, q=stride_hw)
