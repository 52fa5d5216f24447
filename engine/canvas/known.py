"""The known pixels of a canvas, for checkpoints that read pixels and not only latents.

Wan's I2V checkpoints have channels for them: latents of the known pixels, grey elsewhere, after 4
channels that say for each pixel frame whether it is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from .codec import Codec
from .grid import LEAD
from .masked import MaskedLatents

MASK_CHANNELS = 4  # of an I2V checkpoint: a latent frame of Wan's VAEs holds as many pixel frames
GREY_PIXEL = 0.5  # of an IMAGE; 0 to the VAE

# What Wan 2.1's VAE makes of grey, in the numbers the transformer sees: in the first latent frame,
# in the second, and in those after. For canvases of which only latents are known.
# Source: `zero_vae_values` of WAN21_HuMo in comfy/model_base.py, Comfy-Org/ComfyUI@v0.3.75.
GREY = (
    (0.8660, -0.4326, -0.0017, -0.4884, -0.5283, 0.9207, -0.9896, 0.4433,
     -0.5543, -0.0113, 0.5753, -0.6000, -0.8346, -0.3497, -0.1926, -0.6938),
    (1.0869, -1.2370, 0.0206, -0.4357, -0.6411, 2.0307, -1.5972, 1.2659,
     -0.8595, -0.4654, 0.9638, -1.6330, -1.4310, -0.1098, -0.3856, -1.4583),
    (0.8642, -1.8583, 0.1577, 0.1350, -0.3641, 2.5863, -1.9670, 1.6065,
     -1.0475, -0.8678, 1.1734, -1.8138, -1.5933, -0.7721, -0.3289, -1.3745),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pins:
    """The known pixels of a canvas, beside the latents that were made of them.

    Attributes:
        codec: makes latents of them.
        pixels: by pixel frame, (h, w, 3) in [0, 1].
        partly: latent frames that are known as a whole to the canvas though some of their pixel
            frames are not: for checkpoints that cannot be shown a part.
        clip_vision: core's CLIP_VISION_OUTPUT of the first image, or None; never looked into.
    """

    codec: Codec
    pixels: Mapping[int, Tensor] = field(default_factory=dict)
    partly: frozenset[int] = frozenset()
    clip_vision: Any = None

    def fit(self, latents: Tensor) -> bool:
        """Whether latents (b, c, t, h, w) are still those of the canvas pinned on."""
        if not self.pixels:
            return False
        grid, (height, width, _) = self.codec.grid, next(iter(self.pixels.values())).shape
        size = height // grid.stride_hw, width // grid.stride_hw
        return latents.shape[3:] == size and max(self.pixels) < grid.frames(latents.shape[2])

    def wholly(self, latent_frames: int) -> list[int]:
        """The latent frames that were made of these pixels, and of nothing else."""
        if not self.pixels:
            return []
        grid = self.codec.grid
        return [
            k
            for k in range(latent_frames)
            if k not in self.partly
            and all(f in self.pixels for f in range(grid.first_frame(k), grid.first_frame(k + 1)))
        ]

    def known(self, latent_frames: int) -> Tensor:
        """(f,) bool: which pixel frames are known."""
        known = torch.zeros(self.codec.grid.frames(latent_frames), dtype=torch.bool)
        known[[frame for frame in self.pixels if frame < len(known)]] = True
        return known

    def channels(self, span: range) -> "ImageChannels":
        """What an I2V checkpoint is shown of some latent frames; grey where nothing is known.

        Pixels before the span are seen by as much of the encoder as remembers them.
        """
        grid, lead = self.codec.grid, min(LEAD, span.start)
        size = next(iter(self.pixels.values())).shape
        stop = grid.first_frame(span.stop)
        begin = stop - grid.frames(len(span) + lead)
        pictures = torch.full((stop - begin, *size), GREY_PIXEL)
        for frame, picture in self.pixels.items():
            if begin <= frame < stop:
                pictures[frame - begin] = picture
        known = frame_mask(self.known(span.stop), grid.stride_t)[:, :, span.start :]
        return ImageChannels(self.codec.encode(pictures)[:, :, lead:], known, self.clip_vision)

    def pictures(self, *, lone: bool) -> dict[int, Tensor]:
        """Those in latent frames that are known in part, by pixel frame: (1, c, 1, h, w) latents.

        Each is encoded as a picture by itself.

        Args:
            lone: also those that fill a latent frame, where no frame beside them is known.
        """
        held, pixels = self.codec.grid.latent_frame_of, self.pixels
        shown = [
            frame
            for frame in sorted(pixels)
            if held(frame) in self.partly
            or (lone and frame - 1 not in pixels and frame + 1 not in pixels)
        ]
        return {frame: self.codec.encode(pixels[frame][None]) for frame in shown}

    def within(self, frames: range) -> dict[int, Tensor]:
        """Those of some pixel frames."""
        return {frame: picture for frame, picture in self.pixels.items() if frame in frames}


@dataclass(frozen=True, eq=False)
class ImageChannels:
    """What an I2V checkpoint is shown of the known pixels.

    Attributes:
        image: (1, c, t, h, w) latents.
        known: (1, stride_t or 1, t, 1 or h, 1 or w), 1 = known.
        clip_vision: as in Pins.
    """

    image: Tensor
    known: Tensor
    clip_vision: Any = None

    @classmethod
    def of(
        cls, video: MaskedLatents, blank: Tensor, mask_channels: int, clip_vision: Any = None
    ) -> "ImageChannels":
        """Those of a video of which only latents are known; `blank`, of their shape, elsewhere."""
        known = (1 - video.to_sample).expand(-1, mask_channels, -1, -1, -1)
        image = torch.where(known[:, :1] > 0, video.latents.float().cpu(), blank)
        return cls(image, known, clip_vision)

    def at(self, frames: Sequence[int]) -> "ImageChannels":
        """Those of some latent frames."""
        frames = list(frames)
        return replace(self, image=self.image[:, :, frames], known=self.known[:, :, frames])

    def handed(self, frames: Sequence[int]) -> list[int]:
        """Those of some known latent frames of which no pixel is known."""
        known = self.known.sum((0, 1, 3, 4))
        return [k for k in frames if known[k] == 0]

    def with_latents(self, latents: Tensor, frames: Sequence[int]) -> "ImageChannels":
        """With known latents (b, c, t, h, w) of some frames where none of their pixels is known.

        An earlier window handed them over; they are shown as they are.
        """
        return self.showing(latents, self.handed(frames))

    def showing(self, latents: Tensor, frames: Sequence[int]) -> "ImageChannels":
        """With latents (b, c, t, h, w) of some frames in the place of what is there, as known."""
        handed = torch.zeros(latents.shape[2], dtype=torch.bool)
        handed[list(frames)] = True
        handed = rearrange(handed, "t -> t 1 1")
        image = torch.where(handed, latents.float().cpu(), self.image)
        return replace(self, image=image, known=torch.where(handed, 1.0, self.known))


def frame_mask(known: Tensor, stride_t: int) -> Tensor:
    """known: (f,) or (f, h, w) -> (1, stride_t, t, 1 or h, 1 or w), 1 = known, as I2V checkpoints
    read it.

    The first pixel frame, alone in its latent frame, fills all the channels.

    Source:
        wan/image2video.py and wan/first_last_frame2video.py, Wan-Video/Wan2.1@9737cba.
    """
    cells = known if known.ndim == 3 else rearrange(known, "f -> f 1 1")
    spread = torch.cat((cells[:1].expand(stride_t, -1, -1), cells[1:])).float()
    return rearrange(spread, "(t s) h w -> 1 s t h w", s=stride_t)


def concat_known(
    latents: Tensor, mask: Tensor, extra: int, mask_channels: int = MASK_CHANNELS
) -> Tensor:
    """Image channels for an I2V checkpoint where only latents are known.

    Args:
        latents: (b, c, t, h, w) in the transformer's numbers.
        mask: (b, ., t, h, w), 1 = to be sampled, 0 = known.
        extra: channels the checkpoint has beside the latents: those of the mask, and c.
        mask_channels: how many of them are the mask's.

    Returns:
        (b, extra, t, h, w).
    """
    known = 1 - mask[:, :1].to(latents).expand(len(latents), -1, *latents.shape[2:])
    image = torch.where(known > 0, latents, grey_like(latents))
    return torch.cat((known.expand(-1, mask_channels, -1, -1, -1), image), dim=1)[:, :extra]


def grey_like(latents: Tensor) -> Tensor:
    """Latents of grey frames for (b, c, t, h, w); zeros for VAEs whose grey is not known."""
    grey = torch.zeros_like(latents)
    if latents.shape[1] == len(GREY[0]):
        for t in range(latents.shape[2]):
            grey[:, :, t] = torch.tensor(GREY[min(t, 2)]).to(latents)[:, None, None]
    return grey
