"""A camera's path in CONDITIONING: the rays of each window, for Fun-Camera checkpoints of Wan.

Camera Path puts the path itself under CAMERA, and for core's samplers the rays of the whole video
under core's name. Ours give each window its own: those of its frames, seen from its first one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from comfy.model_patcher import ModelPatcher

from ...engine.canvas.grid import CausalGrid
from ...engine.motion.camera import CameraPath, Move
from ...engine.motion.rays import LENS, camera_conditions
from ...models.errors import InputError
from ..comfyui.conditioning import IMAGE, MASK, Conditioning, Prompts
from .routes import Route, route_of

CAMERA, RAYS = "longtake_camera", "camera_conditions"  # the second is core's
TRACKED = "longtake_tracks"  # a picture in which things go along tracks, see `tracks.Tracked`
MOST_BYTES = 4 * 2**30  # of the rays of a whole video
GRID = CausalGrid(16)  # of Wan 2.1's VAE, which these checkpoints have


@dataclass(frozen=True)
class Camera:
    """A camera in a video.

    Attributes:
        path: where it goes.
        fps: frames per second of the video.
        frames: the latent frames that a window shows; empty for all from the first on.
    """

    path: CameraPath
    fps: Fraction
    frames: tuple[int, ...] = ()

    def times(self, latent_frames: int) -> list[float]:
        """The seconds of the 1 + 4·n pixel frames that a model sees its latent frames as.

        The first latent frame of a window stands for the last of the pixel frames that it holds.
        """
        frames = self.frames or range(latent_frames)
        seen = [GRID.first_frame(frames[0] + 1) - 1]
        for frame in frames[1:]:
            seen += range(GRID.first_frame(frame), GRID.first_frame(frame + 1))
        return [float(number / self.fps) for number in seen]

    def rays(self, latent_frames: int, width: int, height: int) -> Any:
        """(1, 24, latent_frames, height, width), as core's node has them."""
        poses = self.path.poses(self.times(latent_frames), LENS)
        return camera_conditions(poses, width, height)


def camera_for(moves: tuple[Move, ...], seconds: float, fps: Fraction) -> Camera:
    """A camera that makes these moves in a video of so many seconds."""
    return Camera(CameraPath(moves, Fraction(seconds)), fps)


def with_camera(
    conditioning: Conditioning, camera: Camera, width: int = 0, height: int = 0
) -> Conditioning:
    """CONDITIONING that says where the camera goes.

    Args:
        width, height: of the video in pixels, for core's samplers, which are given the rays of all
            of it; 0 leaves those out: Longtake's samplers make their own, window by window.

    Raises:
        InputError: for a size that no latents have, or rays that are too many to hold.
    """
    more: dict[str, Any] = {CAMERA: camera}
    if width and height:
        t = GRID.latent_frames(GRID.nearest_frames(float(camera.path.seconds), camera.fps))
        GRID.check_size(width, height)
        if (size := 24 * 4 * t * width * height) > MOST_BYTES:
            raise InputError(
                f"the rays of {float(camera.path.seconds):g} s at {width}×{height} take "
                f"{size / 1e9:.1f} GB: set width and height to 0, and use Longtake's Sample or "
                f"Long Take, which make them window by window."
            )
        more[RAYS] = camera.rays(t, width, height)
    return [[text, {**extras, **more}] for text, extras in conditioning]


def for_window(prompts: Prompts, frames: Sequence[int], of_clip: Sequence[int] = ()) -> Prompts:
    """Both prompts for a window of these latent frames of the video.

    Args:
        of_clip: their numbers in a clip, where that begins later.
    """
    moved = _changed(prompts, lambda camera: {CAMERA: replace(camera, frames=tuple(frames))})
    return Prompts(
        *([[text, _tracked(extras, of_clip or frames)] for text, extras in p] for p in moved)
    )


def with_rays(prompts: Prompts, latents: Sequence[int]) -> Prompts:
    """Both prompts with the rays for latents of shape (b, c, t, h, w)."""
    t, height, width = latents[2], *(side * GRID.stride_hw for side in latents[3:])
    return _changed(prompts, lambda camera: {RAYS: camera.rays(t, width, height)})


def check_motion(model: ModelPatcher, prompts: Prompts, shape: Sequence[int]) -> None:
    """Refuse a camera's path or tracks for a MODEL that reads none, or for another clip.

    Args:
        shape: (b, c, t, h, w) of the latents.
    """
    extras = [extras for prompt in prompts for _, extras in prompt]
    name = type(model.model).__name__
    reads_rays = getattr(model.model.diffusion_model, "control_adapter", None) is not None
    if any(CAMERA in one for one in extras) and not reads_rays:
        raise InputError(
            f"a camera path is connected, and this model ({name}) reads none: load a Fun-Camera "
            f"checkpoint of Wan with ComfyUI's own loader, or say in the prompt how the camera "
            f"moves."
        )
    for tracked in [one[TRACKED] for one in extras if TRACKED in one]:
        if route_of(model) is not Route.IMAGE_CHANNELS:
            raise InputError(
                f"Motion Brush is connected, and this model ({name}) has no channels for a "
                f"picture: load Wan-Move or ATI with ComfyUI's own loader."
            )
        (_, _, t, h, w), (_, _, frames, high, wide) = shape, tracked.shown.shape
        if (t, h, w) != (frames, high, wide):
            raise InputError(
                f"Motion Brush's tracks are of {frames} latent frames of {wide * 8}×{high * 8}, "
                f"and {t} of {w * 8}×{h * 8} are sampled: connect the same canvas to it and to "
                f"Sample or Long Take."
            )


def _tracked(extras: Mapping[str, Any], frames: Sequence[int]) -> Mapping[str, Any]:
    """Extras with the tracks of some frames, of which image channels are still to be made."""
    if TRACKED not in extras or list(frames) == list(range(extras[TRACKED].shown.shape[2])):
        return extras
    own = extras[TRACKED].at(frames)
    return {k: v for k, v in extras.items() if k not in (IMAGE, MASK)} | {TRACKED: own}


def _changed(prompts: Prompts, more: Any) -> Prompts:
    return Prompts(
        *(
            [[text, {**e, **(more(e[CAMERA]) if CAMERA in e else {})}] for text, e in prompt]
            for prompt in prompts
        )
    )
