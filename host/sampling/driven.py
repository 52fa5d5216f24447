"""What checkpoints are shown of a clip that a character performs, window by window.

Which way that is, each family says in `engine.sampling.host_presets`; checkpoints of VACE take the
clip for a control clip and the character for a reference, see `vace`. Each window is shown its own
part of the clip, encoded when it is sampled, from the frame on that it goes on from. What is
written into CONDITIONING is what core's nodes write: WanAnimateToVideo, WanAnimate2ToVideo,
WanSCAILToVideo and MiniMaxH3ReferenceToVideo.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from comfy.model_patcher import ModelPatcher
from einops import rearrange
from torch import Tensor

from ...engine.canvas.driving import FollowedClip, seen_frames
from ...engine.canvas.guidance import Guidance
from ...engine.canvas.known import GREY_PIXEL, MASK_CHANNELS, ImageChannels, Pins, frame_mask
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.regions import KeptPixels
from ...engine.motion.identities import identity_channels, matte
from ...engine.sampling.host_presets import ADDED_POSE, HALF_SIZE, POSE_BRANCH, REFERRED
from ...models.errors import InputError
from ..comfyui.conditioning import Prompts
from ..networks.settings import host_family_of
from .image_channels import IMAGE, MASK, channel_values
from .routes import Route, route_of
from .vace import check_guidance, vace_for

POSE, FACE, VISION = "pose_video_latent", "face_video_pixels", "clip_vision_output"  # core's names
NO_SOUND = {"ref_audio_t": 0, "audio_latent": None}
IN_FRONT = 1  # latent frames of the character, where it stands before each window


class Road(Protocol):
    """How a MODEL is shown what is followed on a canvas.

    Attributes:
        lead: how many latent frames stand in front of each window.
    """

    lead: int

    def beside(self, window: Sequence[int], prompts: Prompts, part: MaskedLatents) -> Prompts:
        """Both prompts with what is shown beside some latent frames.

        Args:
            window: they follow one another.
            part: their latents, and what of them is known.
        """


def road_for(
    model: ModelPatcher,
    pins: Pins | None,
    guidance: Guidance | None,
    total: int,
    kept: KeptPixels | None = None,
) -> tuple[Road | None, int]:
    """How a MODEL is shown what is followed on a canvas of `total` latent frames, and how many
    stand in front of it; None and 0 where there is nothing to be shown.

    Raises:
        InputError: for what it cannot be shown.
    """
    check_driving(model, guidance)
    road, _ = vace_for(model, pins, guidance, total, kept)
    family = host_family_of(model)
    if road is None and guidance is not None and guidance.driving is not None:
        road = DrivenRoad(model, family.drives, pins, guidance)
    return road, 0 if road is None else road.lead


def lead_of(model: ModelPatcher, guidance: Guidance | None) -> int:
    """How many latent frames stand in front of each window."""
    if guidance is None:
        return 0
    if route_of(model) is Route.VACE:
        return len(guidance.as_control().references)
    family = host_family_of(model)
    in_front = family is not None and family.drives in (ADDED_POSE, POSE_BRANCH)
    return IN_FRONT if guidance.driving is not None and in_front else 0


def check_driving(model: ModelPatcher, guidance: Guidance | None) -> None:
    """Refuse what a MODEL cannot be shown, and what it would not look at."""
    check_guidance(model, guidance)
    driving, family = guidance and guidance.driving, host_family_of(model)
    if driving is None:
        return
    drives = family.drives if family else ""
    unread = [
        name
        for name, given, readers in (
            ("a face", driving.face, (ADDED_POSE,)),
            ("a background", driving.background, (ADDED_POSE,)),
            ("masks", driving.masks or driving.replaces, (HALF_SIZE,)),
            ("words", driving.words, (REFERRED,)),
            ("a strength", driving.strength != 1, ("", POSE_BRANCH, HALF_SIZE)),
        )
        if given and drives not in readers
    ]
    if unread:
        raise InputError(
            f"Drive holds {' and '.join(unread)}, which {family.title if family else 'VACE'} does "
            f"not read: disconnect it, or set it back, or load a checkpoint that does."
        )
    if drives == REFERRED and driving.words is None:
        raise InputError(
            f"{family.title} hears of the clip through its text encoder: connect that to Drive's "
            f"text_encoder, and write into words what <Picture 1> and <Video 1> do."
        )


class Shown(NamedTuple):
    """What a window's prompts carry besides their own."""

    positive: dict[str, Any]
    negative: dict[str, Any]


class DrivenRoad:
    """How checkpoints made for it are shown a clip that a character performs.

    Args:
        model: the MODEL.
        drives: the way, one of host_presets.DRIVES.
        pins: known pixels of the canvas.
        guidance: what is followed on it.
    """

    def __init__(self, model: ModelPatcher, drives: str, pins: Pins | None, guidance: Guidance):
        self._pins, self._codec, self._driving = pins, guidance.codec, guidance.driving
        ways = {ADDED_POSE: self._added, POSE_BRANCH: self._branch, HALF_SIZE: self._behind}
        self._way, self.lead = ways.get(drives), lead_of(model, guidance)
        self._character: Tensor | None = None
        self._greys: dict[int, Tensor] = {}  # by latent frames

    def beside(self, window: Sequence[int], prompts: Prompts, part: MaskedLatents) -> Prompts:
        """See `Road`."""
        span = range(window[0], window[-1] + 1)
        if self._way is None:
            return self._referred(span, prompts)
        shown = self._way(span, part, prompts)
        return Prompts(
            *(
                [[text, {**extras, **own}] for text, extras in prompt]
                for prompt, own in zip(prompts.led_by(self.lead), shown, strict=True)
            )
        )

    def _added(self, span: range, part: MaskedLatents, _: Prompts) -> Shown:
        """Poses are added to the video's tokens, and faces are attended to."""
        values = self._image(span, part) | {POSE: self._codec.encode(self._seen(span))}
        if self._driving.face is None:
            return Shown(values, values)
        pixels = self._seen(span, self._driving.face) * 2 - 1
        face = rearrange(pixels, "t h w c -> 1 c t h w")
        return Shown({**values, FACE: face}, {**values, FACE: torch.full_like(face, -1.0)})

    def _branch(self, span: range, part: MaskedLatents, prompts: Prompts) -> Shown:
        """The same blocks go over the clip, whose frames are attended to by those of the video."""
        values = self._image(span, part) | {POSE: self._codec.encode(self._seen(span))}
        values["cross_attn_pose"] = prompts.positive[0][0]
        values["pose_strength"] = self._driving.strength
        if VISION in values:
            values["clip_vision_output_pose"] = values[VISION]
        return Shown(values, values)

    def _behind(self, span: range, _part: MaskedLatents, _: Prompts) -> Shown:
        """The clip stands behind the video, half as large, and the character before it.

        What of the video is known, it finds in the LATENT's mask.
        """
        driving = self._driving
        pose = self._codec.encode(halved(self._seen(span))) * driving.strength
        values: dict[str, Any] = {
            POSE: pose,
            "reference_latents": [self._who()],
            "ref_mask_flag": not driving.replaces,
            **self._vision(),
        }
        if driving.masks is not None:
            seen = halved(self._seen(span, driving.masks))
            values["driving_mask_28ch"] = identity_channels(seen)
        if driving.character_mask is not None:
            own = identity_channels(driving.character_mask[None])
            values["ref_mask_28ch"] = F.pad(own, (0, 0, 0, 0, 0, 0, 0, len(span)))
        return Shown(values, values)

    def _referred(self, span: range, prompts: Prompts) -> Prompts:
        """Both are references, of which the text encoder is shown the character and some frames."""
        seen, who = self._seen(span), self._who()
        clip = self._codec.encode(seen)
        blocks = [
            {"kind": "image", "latent": who},
            {"kind": "video", "latent": clip, "latent_t": clip.shape[2], **NO_SOUND},
        ]
        for block in blocks:
            block["latent_h"], block["latent_w"] = block["latent"].shape[3:]
        told, own = self._driving.words(self._driving.character, seen), prompts.positive[0][1]
        more = {"minimax_refs": blocks}
        positive = [[text, {**own, **extras, **more}] for text, extras in told]
        return Prompts(positive, prompts.negative)

    def _put_into(self, seen: range, part: MaskedLatents) -> ImageChannels:
        """The background, black where the character is painted, and that the rest is known.

        Source:
            prepare_prev_segment_cond_latents of pipeline_wan_animate.py, huggingface/diffusers@
            v0.42.1; what is black, process_pipepline.py, Wan-Video/Wan2.2@0393aeb. Core's
            WanAnimateToVideo has the masks three pixel frames early.
        """
        driving = self._driving
        where = driving.at(seen, driving.background_mask)
        pictures = driving.at(seen, driving.background) * (1 - where[..., None])
        pinned = torch.zeros(len(seen))
        for frame, picture in (self._pins.within(seen) if self._pins else {}).items():
            pictures[frame - seen.start], pinned[frame - seen.start] = picture, 1
        cells = F.interpolate(where[None], part.latents.shape[3:], mode="nearest-exact")[0]
        channels = ImageChannels(self._codec.encode(pictures), frame_mask(pinned, MASK_CHANNELS))
        known = torch.maximum(1 - cells, rearrange(pinned, "f -> f 1 1"))
        handed = channels.handed(part.known)
        behind = replace(channels, known=frame_mask(known, MASK_CHANNELS))
        return behind.showing(part.latents, handed)

    def _seen(self, span: range, of: FollowedClip | None = None) -> Tensor:
        return self._driving.at(seen_frames(span, self._codec.grid), of)

    def _who(self) -> Tensor:
        """(1, c, 1, h, w) latents of the character."""
        if self._character is None:
            driving = self._driving
            picture = driving.character
            if driving.replaces and driving.character_mask is not None:
                picture = matte(picture, driving.character_mask)
            self._character = self._codec.encode(picture[None])
        return self._character

    def _image(self, span: range, part: MaskedLatents) -> dict[str, Any]:
        """Image channels: the character, then what is known of the video, and elsewhere grey, or
        what the character is put into."""
        seen = seen_frames(span, self._codec.grid)
        if self._driving.background is not None:
            channels = self._put_into(seen, part)
        elif self._pins is None or not self._pins.within(seen):
            unknown = torch.zeros(1, MASK_CHANNELS, len(span), 1, 1)
            channels = ImageChannels(self._grey(len(span)), unknown)
            channels = channels.with_latents(part.latents, part.known)
        else:
            channels = self._pins.channels(span).with_latents(part.latents, part.known)
        values = channel_values(channels)
        image = values[IMAGE]
        who = self._who().expand(len(image), -1, -1, -1, -1)
        in_front = (0, 0, 0, 0, self.lead, 0)
        values |= {IMAGE: torch.cat((who, image), dim=2), MASK: F.pad(values[MASK], in_front)}
        return values | self._vision()

    def _grey(self, latent_frames: int) -> Tensor:
        if latent_frames not in self._greys:
            frames = self._codec.grid.frames(latent_frames)
            grey = torch.full((frames, *self._driving.character.shape), GREY_PIXEL)
            self._greys[latent_frames] = self._codec.encode(grey)
        return self._greys[latent_frames]

    def _vision(self) -> dict[str, Any]:
        return {VISION: self._driving.clip_vision} if self._driving.clip_vision else {}


def halved(pictures: Tensor) -> Tensor:
    """(n, h, w, 3) at half the size, each pixel the mean of four."""
    small = F.avg_pool2d(rearrange(pictures, "n h w c -> n c h w"), 2)
    return rearrange(small, "n c h w -> n h w c")
