"""What of a take is known before it is sampled: what a canvas knows, and shots' first images.

Known latent frames are in the windows that show them, and come out as they went in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ..canvas.canvas import Canvas
from ..canvas.grid import Grid
from ..canvas.guidance import Guidance
from ..canvas.known import Pins
from ..canvas.masked import MaskedLatents
from ..canvas.plan import Window
from ..canvas.regions import DecodeLatents, KeptPixels, first_frames
from ..canvas.timeline import Placement
from ..opaque import opaque
from .layout import Clip, Take


@dataclass(frozen=True, eq=False)
class KnownFrames:
    """What is known of one clip of a take.

    Attributes:
        cell: (c, h, w) of a latent frame.
        latents: those that come out as they went in, (1, c, 1, h, w) by latent frame of the clip.
        masks: (1, 1, 1, h, w) of those of which only a part does, 1 = to be sampled.
        pins: the pixels that they were made of, for checkpoints that read those.
        guidance: what the clip is to follow, for VACE's checkpoints.
        kept: the pixels around its regions, for the same.
    """

    cell: tuple[int, int, int]
    latents: Mapping[int, Tensor] = field(default_factory=dict)
    masks: Mapping[int, Tensor] = field(default_factory=dict)
    pins: Pins | None = None
    guidance: Guidance | None = None
    kept: KeptPixels | None = None

    def at(self, frames: Sequence[int]) -> MaskedLatents:
        """Some latent frames of the clip, zeros where nothing is known."""
        c, h, w = self.cell
        blank = MaskedLatents(torch.zeros(1, c, len(frames), h, w))
        return blank.with_known(self._places(frames)).partly(self._masks(frames))

    def whole(self, window: Window) -> Tensor | None:
        """What a window gives, if all of it is known."""
        known = [None if k in self.masks else self.latents.get(k) for k in window.new]
        return None if any(latent is None for latent in known) else torch.cat(known, dim=2)

    def holds(self, frames: Sequence[int]) -> bool:
        """Whether all of these latent frames come out as they went in."""
        return all(k in self.latents and k not in self.masks for k in frames)

    def put_back(self, new: Tensor, window: Window) -> Tensor:
        """What a window gives, (1, c, n, h, w), with what is known as it was."""
        masks = self._masks(window.new)
        for n, latent in self._places(window.new).items():
            own = new[:, :, n : n + 1]
            own[:] = torch.where(masks[n] == 0, latent, own) if n in masks else latent
        return new

    def deciding(self, window: Window, grid: Grid) -> Any:
        """All of it that may decide what a window shows."""
        first, last = window.frames[0], window.frames[-1]
        shown = range(grid.first_frame(first), grid.first_frame(last + 1))
        pixels = self.pins.within(shown) if self.pins else {}
        followed = self.guidance and self.guidance.deciding(shown)
        masks = self._masks(window.frames)
        known = self._places(window.frames), pixels, self.pins and self.pins.clip_vision
        there = range(shown.start, min(shown.stop, self.kept.frames if self.kept else 0))
        if there:
            known = (*known, self.kept.alpha(there))  # the pixels themselves are in the latents
        return (*known, *([followed] if followed else []), *([masks] if masks else []))

    def _places(self, frames: Sequence[int]) -> dict[int, Tensor]:
        """The known latents among some frames, by their place."""
        return {n: self.latents[k] for n, k in enumerate(frames) if k in self.latents}

    def _masks(self, frames: Sequence[int]) -> dict[int, Tensor]:
        """The masks of those known in part, by their place."""
        return {n: self.masks[k] for n, k in enumerate(frames) if k in self.masks}


def independent_parts(
    windows: Sequence[Window], known: KnownFrames
) -> tuple[tuple[Window, ...], ...]:
    """A clip's windows in runs that can be sampled in any order, or side by side.

    Where all that a window goes on from is known, nothing that was sampled before reaches it: so it
    is on either side of a pinned middle. A known window belongs to the run before it.
    """
    parts: list[list[Window]] = [[]]
    samples = False  # the latest run has something to sample
    for window in windows:
        unknown = known.whole(window) is None
        if samples and unknown and known.holds(window.frames[: window.context]):
            parts.append([])
        samples = samples or unknown
        parts[-1].append(window)
    return tuple(map(tuple, parts))


def known_frames(
    take: Take,
    images: Mapping[int, Tensor],
    blank: Canvas,
    canvas: Canvas | None,
    reads_pixels: bool,
    decode: DecodeLatents,
) -> tuple[KnownFrames, ...]:
    """What is known of each clip.

    Args:
        images: (1, h, w, 1, 3 or 4), by number of the shot that begins with it.
        blank: an empty canvas of the take's size and rate, of any length.
        canvas: lies at the beginning of the take, or None.
        reads_pixels: the checkpoint can be shown that a latent frame is known in part.
        decode: for what a canvas with regions keeps as latents.

    Raises:
        InputError: for what cannot be kept exactly.
    """
    if canvas is not None:
        check_canvas(canvas, take, blank)
    clips = []
    for clip in take.clips:
        frames = blank.codec.grid.frames(clip.latent_frames)
        own = Canvas.blank(blank.codec, frames, *blank.size, blank.fps)
        if canvas is not None:
            own = laid_out(canvas, own, clip, decode)
        image = images.get(clip.spans[0].shot)
        if image is not None:
            if not clip.start and 0 in own.video.known:
                raise InputError(
                    "the canvas knows the first frame, and the first shot begins with an image: "
                    "choose one of the two."
                )
            own = own.pin_image(opaque(image[:1].cpu()), 0.0, "crop")
        known = of_canvas(own, reads_pixels)
        if canvas is not None and canvas.guidance is not None:
            known = replace(known, guidance=canvas.guidance.from_frame(clip.start))
        if reads_pixels and canvas is not None and canvas.kept is not None:
            known = replace(known, kept=canvas.kept.part(clip.start, frames))
        clips.append(known)
    return tuple(clips)


def of_canvas(canvas: Canvas, reads_pixels: bool) -> KnownFrames:
    latents, pins = canvas.video.latents, canvas.pins
    open_ = pins.partly if pins and reads_pixels else ()
    _, c, t, h, w = latents.shape
    mask = canvas.video.to_sample.expand(-1, -1, -1, h, w)
    least, most = mask.amin((0, 1, 3, 4)), mask.amax((0, 1, 3, 4))
    seen = [k for k in range(t) if least[k] == 0 and k not in open_]
    known = {k: latents[:, :, k : k + 1].clone() for k in seen}
    masks = {k: mask[:1, :, k : k + 1].clone() for k in seen if most[k] > 0}
    return KnownFrames((c, h, w), known, masks, pins)


def check_canvas(canvas: Canvas, take: Take, blank: Canvas) -> None:
    """Refuse canvases that a take cannot keep to what they say."""
    video, mask, fps = canvas.video, canvas.video.mask, blank.fps
    if video.latents.shape[0] > 1:
        raise InputError(
            f"a canvas of {video.latents.shape[0]} videos: LongTake makes one, set batch_size to 1."
        )
    for does, node in ((canvas.skip, "Loop"), (canvas.strength, "Remix")):
        if does:
            raise InputError(f"LongTake cannot sample the canvas of {node}: connect it to Sample.")
    if mask is None or mask.min() >= 1:
        return
    if not ((mask == 0) | (mask == 1)).all():
        raise InputError(
            "the canvas's mask keeps a share of some latents, as a strength below 1 does, and "
            "LongTake keeps all or nothing: set strength to 1, or connect it to Sample."
        )
    if (canvas.fps or fps) != fps:
        raise InputError(
            f"frames are known on a canvas of {float(canvas.fps):g} fps, and the take has "
            f"{float(fps):g}: set fps to 0 or {float(canvas.fps):g}."
        )
    timeline = canvas.timeline
    late = [k for k in video.known if timeline.span(k).start >= take.frames]
    if late and canvas.kept is None:
        raise InputError(
            f"{timeline.in_words(late)} of the canvas are known, and the take ends after "
            f"{take.frames}: make it longer."
        )


def laid_out(canvas: Canvas, own: Canvas, clip: Clip, decode: DecodeLatents) -> Canvas:
    """A clip's own canvas with what the take's canvas knows of it.

    Only the take's first clip lies on the canvas's own latent frames; for any other the pixels that
    are known are encoded anew, at their place in it.
    """
    if canvas.kept is not None:
        return with_regions(canvas, own, clip, decode)
    whole = canvas.timeline
    shown = range(clip.start, clip.start + clip.frames)
    pins = canvas.pins if canvas.pins and canvas.pins.fit(canvas.video.latents) else None
    pixels = pins.pixels if pins else {}
    known = {
        k: [f for f in whole.span(k) if f in pixels]
        for k in canvas.video.known
        if any(f in shown for f in whole.span(k))
    }
    if not clip.start:
        seen = [k for k, pinned in known.items() if not pinned or any(f in shown for f in pinned)]
        return taken(canvas, own, seen, pins and pins.within(shown))
    if bare := [k for k, pinned in known.items() if not pinned]:
        raise InputError(
            f"{whole.in_words(bare)} of the canvas are known as latents, and a shot begins on "
            f"frame {clip.start}, off their grid: sample the shots together, or pin the frames "
            f"with PinVideo."
        )
    for run in runs([f for pinned in known.values() for f in pinned if f in shown]):
        where = Placement(own.timeline, run[0] - clip.start, len(run))
        pictures = torch.stack([pixels[f] for f in run])
        own = own.pinned(pictures, where, where.partly, pins.clip_vision)
    return own


def with_regions(canvas: Canvas, own: Canvas, clip: Clip, decode: DecodeLatents) -> Canvas:
    """A clip's own canvas with what a canvas with regions knows of it, as far as that goes."""
    codec, h, w = own.codec, *own.video.latents.shape[3:]
    if not clip.start:
        latents = canvas.video.latents
        cells = canvas.video.to_sample.expand(-1, -1, -1, h, w)
    else:
        part = canvas.kept.part(clip.start, own.timeline.frames)
        if part is None:
            return own
        whole = codec.grid.whole(part.frames)
        latents = codec.encode(first_frames(part.shown(decode), whole))
        cells = part.cells(codec.grid, latents.shape[2])
    count = min(latents.shape[2], own.video.latents.shape[2])
    video = own.video.with_known({0: latents[:, :, :count]})
    return replace(own, video=video.partly({k: cells[:, :, k : k + 1] for k in range(count)}))


def taken(
    canvas: Canvas, own: Canvas, known: Sequence[int], pixels: Mapping[int, Tensor] | None
) -> Canvas:
    """A canvas with latent frames of another that begins with it."""
    latents = canvas.video.latents
    video = own.video.with_known({k: latents[:, :, k : k + 1] for k in known})
    if not pixels:
        return replace(own, video=video)
    pins = replace(canvas.pins, pixels=pixels, partly=canvas.pins.partly & {*known})
    return replace(own, video=video, pins=pins)


def runs(frames: Sequence[int]) -> list[list[int]]:
    """[3, 4, 7] -> [[3, 4], [7]]."""
    by_run = groupby(enumerate(frames), key=lambda pair: pair[1] - pair[0])
    return [[frame for _, frame in run] for _, run in by_run]
