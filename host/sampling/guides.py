"""Pictures that fall between latent frames, shown to a model of core's beside the video.

A latent frame is known as a whole or not at all. A picture that is known of a part of one only
reaches MiniMax H3 and LTX as a guide: a frame of its own with its own place in time, which is no
part of what is sampled. Those that core's LTXVAddGuide has put at a LATENT's end are guides, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_lt import LTXVAddGuide
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.grid import Grid
from ...engine.canvas.known import Pins
from ...engine.canvas.masked import MaskedLatents
from ...engine.sampling.host_presets import AT_THE_END, KEYFRAMES, grid_like
from ...models.errors import InputError
from ..comfyui.conditioning import Prompts
from ..networks.settings import host_family_of
from .keyframes import with_keyframes

COORDINATES, ENTRIES = "keyframe_idxs", "guide_attention_entries"  # core's names, for LTX


@dataclass(frozen=True, eq=False)
class Guide:
    """One latent frame that stands after a video's, as LTX reads it.

    Attributes:
        video: (1, c, 1, h, w) and its mask, by which it is followed more or less.
        coordinates: (1, 3, h·w, 2), where each token begins and ends: pixel frames, rows, columns;
            (1, 3, h·w), where it begins, of older hosts.
        entry: what newer hosts know of how it is attended to; None if nothing.
    """

    video: MaskedLatents
    coordinates: Tensor
    entry: Mapping[str, Any] | None = None

    @classmethod
    def picture(cls, frame: int, latent: Tensor, grid: Grid) -> "Guide":
        """A picture (1, c, 1, h, w) at a pixel frame."""
        scale = grid.stride_t, grid.stride_hw, grid.stride_hw
        placed = LTXVAddGuide.add_keyframe_index([[None, {}]], frame, latent, scale)
        return cls(MaskedLatents(latent, torch.zeros(1, 1, 1, 1, 1)), placed[0][1][COORDINATES])

    def seen_in(self, shown: range) -> "Guide | None":
        """The same for a clip of some pixel frames of the video; None if it shows nothing of it."""
        times = self.coordinates[0, 0, 0].flatten().tolist()
        start, end = times[0], times[1] if len(times) > 1 else times[0] + 1
        if end <= shown.start or start >= shown.stop:
            return None
        moved = self.coordinates.clone()
        moved[:, 0] = (moved[:, 0] - shown.start).clamp(min=0)
        return replace(self, coordinates=moved)


@dataclass(frozen=True)
class Guides:
    """Pictures beside a video.

    Attributes:
        kind: one of host_presets.GUIDES.
        pictures: (1, c, 1, h, w) latents by pixel frame.
        grid: of the video.
        given: those that core's node put at the LATENT's end.
    """

    kind: str
    pictures: Mapping[int, Tensor]
    grid: Grid
    given: tuple[Guide, ...] = ()

    def beside(
        self, window: Sequence[int], prompts: Prompts
    ) -> tuple[Prompts, MaskedLatents | None]:
        """What a window of latent frames that follow one another is shown besides.

        Returns:
            The prompts with places of the pictures; and for models that take them so, latents to
            stand after those of the window.
        """
        start = self.grid.begins(window[0])
        shown = range(start, start + self.grid.frames(len(window)))
        if self.kind == KEYFRAMES:
            seen = {f - start: z for f, z in self.pictures.items() if f in shown}
            return Prompts(*(with_keyframes(prompt, shown, seen) for prompt in prompts)), None
        pictures = [Guide.picture(f, z, self.grid) for f, z in self.pictures.items() if f in shown]
        guides = [guide.seen_in(shown) for guide in (*self.given, *pictures)]
        guides = [guide for guide in guides if guide is not None]
        if not self.given and not guides:
            return prompts, None
        values = told(guides)
        prompts = Prompts(*([[t, {**e, **values}] for t, e in prompt] for prompt in prompts))
        return prompts, one_stretch(guides) if guides else None


def told(guides: Sequence[Guide]) -> dict[str, Any]:
    """What an LTX model is told of guides, by core's names."""
    values: dict[str, Any] = {COORDINATES: None, ENTRIES: None}
    if guides:
        values[COORDINATES] = torch.cat([guide.coordinates for guide in guides], dim=2)
    if any(guide.entry for guide in guides):
        values[ENTRIES] = [entry_of(guide) for guide in guides]
    return values


def entry_of(guide: Guide) -> dict[str, Any]:
    """How a single latent frame is attended to: as core's node says, or as a picture is."""
    shape = list(guide.video.latents.shape[2:])
    usual = {"strength": 1.0, "pixel_mask": None, "latent_shape": shape}
    tokens = guide.coordinates.shape[2]
    return {**usual, **(guide.entry or {}), "pre_filter_count": tokens}


def one_stretch(guides: Sequence[Guide]) -> MaskedLatents:
    """Guides as one stretch of latents."""
    h, w = guides[0].video.latents.shape[3:]
    return MaskedLatents(
        torch.cat([guide.video.latents for guide in guides], dim=2),
        torch.cat([guide.video.mask.expand(-1, -1, -1, h, w) for guide in guides], dim=2),
    )


def guides_for(
    model: ModelPatcher, pins: Pins | None, given: tuple[Guide, ...] = ()
) -> Guides | None:
    """The pictures that a MODEL is shown beside a video; None if it never is."""
    family = host_family_of(model)
    if family is None or not family.guides:
        return None
    if pins is None:
        if family.guides != KEYFRAMES and not given:
            return None
        grid = grid_like(family.channels, with_sound=family.sound is not None)
        return Guides(family.guides, {}, grid, given)
    # MiniMax H3 was trained on pictures as keyframes, the first frame's, too. That its latent frame
    # is known besides keeps it exactly.
    pictures = pins.pictures(lone=family.guides == KEYFRAMES)
    return Guides(family.guides, pictures, pins.codec.grid, given)


def guides_at_the_end(model: ModelPatcher, canvas: Canvas | None, prompts: Prompts) -> int:
    """How many latent frames at a canvas's end are guides of core's LTXVAddGuide.

    Raises:
        InputError: for prompts with guides and a canvas without.
    """
    family = host_family_of(model)
    places = next(
        (e[COORDINATES] for _, e in prompts.positive if torch.is_tensor(e.get(COORDINATES))), None
    )
    if family is None or family.guides != AT_THE_END or places is None:
        return 0
    if canvas is not None:
        _, _, t, h, w = canvas.video.latents.shape
        count, rest = divmod(places.shape[2], h * w)
        if not rest and count < t and canvas.video.mask is not None:
            return count
    raise InputError(
        "the prompts have guides of LTXVAddGuide, and the LATENT does not end with them: connect "
        "that node's latent, too, or the prompts as LTXVCropGuides gives them."
    )


def without_guides(
    canvas: Canvas, prompts: Prompts, count: int
) -> tuple[Canvas, tuple[Guide, ...]]:
    """A canvas and the guides that were its last latent frames."""
    video, t = canvas.video, canvas.video.latents.shape[2] - count
    extras = next(e for _, e in prompts.positive if torch.is_tensor(e.get(COORDINATES)))
    tokens = extras[COORDINATES].shape[2] // count
    entries = list(each_frame(extras.get(ENTRIES) or ())) or [None] * count
    guides = tuple(
        Guide(
            MaskedLatents(
                *(x[:1, :, t + n : t + n + 1].clone() for x in (video.latents, video.mask))
            ),
            extras[COORDINATES][:1, :, n * tokens : (n + 1) * tokens],
            entries[n],
        )
        for n in range(count)
    )
    sound = canvas.sound and canvas.sound.beside_others(t)
    return replace(canvas, video=video.at(range(t)), sound=sound), guides


def each_frame(entries: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What core knows of each guide, which may be a clip, as of its latent frames one by one."""
    for entry in entries:
        count, *size = entry["latent_shape"]
        for _ in range(count):
            yield {**entry, "latent_shape": [1, *size]}
