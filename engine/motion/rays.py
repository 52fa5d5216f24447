"""What a Fun-Camera checkpoint is told of a camera: the ray that each pixel of each frame sees.

Source:
    process_pose_params and ray_condition of comfy_extras/nodes_camera_trajectory.py,
    Comfy-Org/ComfyUI@v0.3.75, after hehao13/CameraCtrl.
"""

import torch
from einops import rearrange
from torch import Tensor

from .camera import Poses

LENS = 0.5  # focal length in picture widths and heights, as the checkpoints' node has it
WIDE = 16 / 9  # of the pictures that it is of
STRIDE = 4  # pixel frames in a latent frame after the first


def plucker(poses: Poses, width: int, height: int) -> Tensor:
    """The rays of cameras, seen from the first of them.

    Returns:
        (n, 6, height, width) float32: moment o × d and direction d of each pixel's ray.
    """
    c2w = poses.relative().c2w.float()
    x = torch.arange(width, dtype=torch.float32) + 0.5 - width / 2
    y = torch.arange(height, dtype=torch.float32) + 0.5 - height / 2
    y, x = torch.meshgrid(y, x, indexing="ij")
    wide = max(width, height * WIDE), max(height, width / WIDE)  # of 16:9, around the frame
    fx, fy = (LENS * side * poses.zoom.float()[:, None, None] for side in wide)
    ahead = torch.ones(len(c2w), height, width)
    directions = torch.nn.functional.normalize(torch.stack((x / fx, y / fy, ahead), -1), dim=-1)
    directions = torch.einsum("nhwj,nij->nhwi", directions, c2w[:, :3, :3])
    origins = c2w[:, None, None, :3, 3].expand_as(directions)
    moments = torch.linalg.cross(origins, directions)
    return rearrange(torch.cat((moments, directions), -1), "n h w c -> n c h w")


def camera_conditions(poses: Poses, width: int, height: int) -> Tensor:
    """The rays of 1 + 4·n frames as a checkpoint reads them.

    Returns:
        (1, 24, 1 + n, height, width): of each latent frame its four pixel frames; the first one,
        alone in its latent frame, four times.
    """
    rays = plucker(poses, width, height)
    rays = torch.cat((rays[:1].expand(STRIDE - 1, -1, -1, -1), rays))
    return rearrange(rays, "(t s) c h w -> 1 (c s) t h w", s=STRIDE)
