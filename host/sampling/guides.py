"""Pictures that fall between latent frames, shown to a model of core's beside the video.

A latent frame is known as a whole or not at all. A picture that is known of a part of one only
reaches MiniMax H3 and LTX as a guide: a frame of its own with its own place in time, which is no
part of what is sampled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_lt import LTXVAddGuide
from torch import Tensor

from ...engine.canvas.grid import Grid
from ...engine.canvas.known import Pins
from ...engine.sampling.host_presets import KEYFRAMES, grid_like
from ..comfyui.conditioning import Conditioning, Prompts
from ..networks.settings import host_family_of

PLACE = "resolved_frame_index"  # core's name of it in a keyframe


@dataclass(frozen=True)
class Guides:
    """Pictures beside a video.

    Attributes:
        kind: one of host_presets.GUIDES.
        pictures: (1, c, 1, h, w) latents by pixel frame.
        grid: of the video.
    """

    kind: str
    pictures: Mapping[int, Tensor]
    grid: Grid

    def beside(self, window: Sequence[int], prompts: Prompts) -> tuple[Prompts, Tensor | None]:
        """What a window of latent frames that follow one another is shown besides.

        Returns:
            The prompts with places of the pictures; and for models that take them so, latents to
            stand after those of the window.
        """
        start = self.grid.begins(window[0])
        shown = range(start, start + self.grid.frames(len(window)))
        seen = {f - start: z for f, z in self.pictures.items() if f in shown}
        if self.kind == KEYFRAMES:
            return Prompts(*(with_keyframes(prompt, shown, seen) for prompt in prompts)), None
        if not seen:
            return prompts, None
        scale = self.grid.stride_t, self.grid.stride_hw, self.grid.stride_hw
        for frame, latent in seen.items():
            prompts = Prompts(
                *(LTXVAddGuide.add_keyframe_index(p, frame, latent, scale) for p in prompts)
            )
        return prompts, torch.cat(list(seen.values()), dim=2)


def guides_for(model: ModelPatcher, pins: Pins | None) -> Guides | None:
    """The pictures that a MODEL is shown beside a video; None if it never is."""
    family = host_family_of(model)
    if family is None or not family.guides or (pins is None and family.guides != KEYFRAMES):
        return None
    if pins is None:
        return Guides(family.guides, {}, grid_like(family.channels, with_sound=True))
    # MiniMax H3 was trained on pictures as keyframes, the first frame's, too. That its latent frame
    # is known besides keeps it exactly.
    pictures = pins.pictures(lone=family.guides == KEYFRAMES)
    return Guides(family.guides, pictures, pins.codec.grid)


def with_keyframes(
    conditioning: Conditioning, shown: range, seen: Mapping[int, Tensor]
) -> Conditioning:
    """A prompt for MiniMax H3 with pictures by pixel frame.

    Those that core's nodes gave it are of the whole video: it keeps the ones that are shown.

    Args:
        shown: pixel frames of the video.
        seen: (1, c, 1, h, w) latents of further pictures, by pixel frame of what is shown.
    """
    frames = [{PLACE: frame, "latent": z} for frame, z in seen.items()]
    moved = []
    for text, extras in conditioning:
        own = [
            {**one, PLACE: one[PLACE] - shown.start}
            for one in extras.get(KEYFRAMES) or ()
            if one[PLACE] in shown
        ]
        rest = {name: value for name, value in extras.items() if name != KEYFRAMES}
        moved.append([text, {**rest, KEYFRAMES: own + frames} if own or frames else rest])
    return moved
