"""Who is where, in colours, as SCAIL-2 reads it: each colour is somebody else."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

LIT = 225 / 255  # from here up a channel of a colour is on
SEEN = 0.1  # what is darker than this in all channels is nobody
STRIDE_T, STRIDE_HW = 4, 8  # of the VAE that it was trained with
# White, red, green, blue, yellow, magenta, cyan: which of red, green and blue are on.
COLOURS = (
    (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1),
)  # fmt: skip


def identity_channels(pictures: Tensor) -> Tensor:
    """Seven masks of four frames for each latent frame.

    Args:
        pictures: (1 + 4·n, h, w, 3) in [0, 1], in the colours of COLOURS on black or white.

    Returns:
        (1, 1 + n, 28, h / 8, w / 8) in [0, 1]: the first frame four times.

    Source: the mask stream of wan/modules/model_scail2.py in zai-org/SCAIL-2, as
    WanSCAILToVideo of ComfyUI@v0.33.0 makes it.
    """
    lit = pictures > LIT
    masks = [(lit == torch.tensor(colour, dtype=torch.bool)).all(-1) for colour in COLOURS]
    masks = torch.stack(masks, dim=1).float()
    size = [-(-side // STRIDE_HW) for side in masks.shape[2:]]
    small = F.interpolate(masks, size, mode="area")
    spread = torch.cat((small[:1].expand(STRIDE_T, -1, -1, -1), small[1:]))
    return rearrange(spread, "(t s) c h w -> 1 t (s c) h w", s=STRIDE_T)


def matte(picture: Tensor, mask: Tensor) -> Tensor:
    """A picture (h, w, 3) on black, where its mask of identities shows nobody."""
    return picture * (mask.amax(-1, keepdim=True) > SEEN)
