"""Tracks in the image channels of Wan checkpoints that were trained on them.

Source:
    replace_feature of comfy_extras/nodes_wanmove.py and patch_motion of nodes_wan.py,
    Comfy-Org/ComfyUI@v0.33.0, after ali-vilab/Wan-Move and bytedance/ATI.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .brush import Tracks

STRIDE, CELL = 4, 8  # pixel frames in a latent frame, pixels along a latent cell
ATI_POINTS = 121  # of a track over a clip of any length
SHARPNESS, NEAREST = 220.0, 2  # of ATI: how fast a track's hold fades, and tracks that a cell has


def moved_features(latents: Tensor, tracks: Tracks, strength: float, seed: int) -> Tensor:
    """Wan-Move: what the picture has where a track begins is put where the track goes.

    Args:
        latents: (1, c, t, h, w) of the picture and what follows it. They are not changed.
        tracks: of 1 + 4·(t - 1) frames.
        strength: 1 puts it there, 0 leaves what is there.
        seed: where tracks cross, says which one is on top.
    """
    order = torch.randperm(
        tracks.path.shape[1], generator=torch.Generator().manual_seed(seed)
    ).to(tracks.path.device)  # fmt: skip
    cells = (tracks.path[::STRIDE] // CELL).long()[:, order]
    seen = tracks.visible[::STRIDE][:, order]
    out = latents.clone()
    for track in range(cells.shape[1]):
        if not seen[0, track]:
            continue  # nobody has seen what it begins with
        (x, y), later = cells[0, track], seen[1:, track].nonzero().flatten() + 1
        new_x, new_y = cells[later, track].unbind(-1)
        there = latents[:, :, later, new_y, new_x]
        first = latents[:, :, 0, y, x][..., None]
        out[:, :, later, new_y, new_x] = there + (first - there) * strength
    return out


def ati_features(latents: Tensor, path: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """ATI: each cell near a track takes what the picture has where the track begins.

    Args:
        latents: (1, c, t, h, w) in the transformer's numbers.
        path: (121, n, 2), x and y in pixels of tracks over the whole clip.
        size: (width, height) of the picture in pixels.

    Returns:
        The latents; and (1, 4, t, h, w), how much of each cell is held by tracks, 1 in the first.
    """
    _, _, t, h, w = latents.shape
    short = torch.tensor([w, h]) / min(h, w)
    tracks = (path - torch.tensor(size) / 2) * 2 / min(size)
    middle = tracks[shown_points((t - 1) * STRIDE)].unflatten(0, (t - 1, STRIDE)).sum(1) / (
        STRIDE + 1e-5
    )
    grid = torch.stack(
        torch.meshgrid(
            torch.linspace(-1, 1, h) * short[1], torch.linspace(-1, 1, w) * short[0], indexing="ij"
        )[::-1],
        dim=-1,
    )
    distance = (middle[:, None, None] - grid[:, :, None]).pow(2).sum(-1)  # (t - 1, h, w, n)
    weight, which = torch.exp(-distance * SHARPNESS).topk(min(NEAREST, path.shape[1]), dim=-1)
    places = (tracks[0] / short).clamp(-1, 1)[None, None].to(latents)
    begins = F.grid_sample(latents[:, :, 0], places, align_corners=False)[0, :, 0].T  # (n, c)
    held = (begins[which] * weight[..., None].to(latents)).sum(-2).movedim(-1, 0)
    total = weight.sum(-1)
    later = held + latents[0, :, 1:] * (1 - total.clamp(0, 1))
    out = torch.cat((latents[:, :, :1], later[None]), dim=2)
    mask = torch.cat((torch.ones(1, h, w), total))
    return out, mask[None, None].expand(1, STRIDE, -1, -1, -1)


def shown_points(frames: int) -> Tensor:
    """Which of a track's points each of so many frames after the first has, as core counts them."""
    common = math.gcd(ATI_POINTS - 1, frames)
    step, times = (ATI_POINTS - 1) // common, frames // common
    return 1 + ((1 + step * torch.arange(frames)) // times).clamp(max=ATI_POINTS - 2)
