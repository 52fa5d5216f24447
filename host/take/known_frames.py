"""What of a take is known before it is painted: what a canvas keeps, and shots' first images.

Known latent frames go into the windows that hold them and come out as they went in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby
from typing import Any

import comfy.sd
import torch
from torch import Tensor

from ...engine.canvas.grid import LatentGrid
from ...engine.canvas.timeline import Timeline, in_words, place
from ...engine.canvas.windows import Window
from ...engine.take.layout import Clip, Take
from ...models.errors import InputError
from ..canvas.pinning import pinned
from ..comfyui.latent import facts_of, mask_of, samples_of, to_canvas, with_facts
from ..networks.vae import check_latents, grid_of
from ..sampling.image_channels import Pins, Route, pins_in


@dataclass(frozen=True, eq=False)
class Held:
    """What is known of one clip of a take.

    latents: those that come out as they went in, (1, c, 1, h, w) by latent frame of the clip.
    pins: the pixels that they were made of, for checkpoints that read those.
    """

    latents: Mapping[int, Tensor] = field(default_factory=dict)
    pins: Pins | None = None

    def within(self, window: Window) -> dict[int, Tensor]:
        """The latents by their place in a window."""
        span = range(window.start, window.stop)
        return {k - window.start: latent for k, latent in self.latents.items() if k in span}

    def whole(self, window: Window) -> Tensor | None:
        """What a window adds, if there is nothing to paint in it."""
        known = [self.latents.get(k) for k in range(window.start + window.known, window.stop)]
        return None if any(k is None for k in known) else torch.cat(known, dim=2)

    def put_back(self, latents: Tensor, window: Window) -> Tensor:
        """What a window adds, with what is known as it was."""
        for k, latent in self.within(window).items():
            if k >= window.known:
                latents[:, :, k - window.known : k - window.known + 1] = latent
        return latents

    def told_apart_by(self, window: Window, grid: LatentGrid) -> Any:
        """All that may decide what a window shows."""
        frames = range(grid.first_frame(window.start), grid.first_frame(window.stop))
        pixels = self.pins.pixels if self.pins else {}
        seen = {frame: picture for frame, picture in pixels.items() if frame in frames}
        return self.within(window), seen, self.pins and self.pins.clip_vision


def held_in(
    take: Take,
    vae: comfy.sd.VAE,
    fps: Fraction,
    size: tuple[int, int],
    route: Route,
    images: Mapping[int, Tensor],
    canvas: Mapping[str, Any] | None,
) -> tuple[Held, ...]:
    """What is known of each clip.

    Args:
        size: (height, width) in pixels.
        route: how it reaches the checkpoint.
        images: (1, height, width, 3), by number of the shot that begins with it.
        canvas: LATENT that lies at the beginning of the take, or None.

    Raises:
        InputError: for what cannot be held exactly.
    """
    if canvas is not None:
        check_canvas(canvas, take, vae, fps)
    all_held = []
    for clip in take.clips:
        blank = Timeline(grid_of(vae), fps, clip.latent_frames)
        latent = empty(blank, *size)
        if canvas is not None:
            latent = laid_out(canvas, latent, clip, vae, blank)
        image = images.get(clip.spans[0].shot)
        if image is not None:
            if not clip.start and "noise_mask" in latent and not mask_of(latent)[:, :, 0].any():
                raise InputError(
                    "the canvas knows the first frame, and the first shot begins with an image: "
                    "choose one of the two."
                )
            latent = pinned(latent, image, vae, place(blank, 0, 1), ())
        all_held.append(held_of(latent, route))
    return tuple(all_held)


def held_of(latent: Mapping[str, Any], route: Route) -> Held:
    pins = pins_in(latent)
    painted = pins.held if pins and route is Route.IMAGE_CHANNELS else ()
    known = [k for k in known_in(latent) if k not in painted]
    return Held({k: latent["samples"][:, :, k : k + 1].clone() for k in known}, pins)


def empty(timeline: Timeline, height: int, width: int) -> dict[str, Any]:
    """A LATENT of which nothing is known. Its zeros take no memory until they are written on."""
    shape = timeline.grid.latent_shape(timeline.frames, height, width)
    return with_facts({"samples": torch.zeros(1).expand(shape)}, fps=timeline.fps)


def known_in(latent: Mapping[str, Any]) -> list[int]:
    return to_canvas(latent).known.nonzero().flatten().tolist()


def check_canvas(canvas: Mapping[str, Any], take: Take, vae: comfy.sd.VAE, fps: Fraction) -> None:
    """Refuse canvases that a take cannot hold to what they say."""
    samples, facts, mask = samples_of(canvas), facts_of(canvas), mask_of(canvas)
    if samples.shape[0] > 1:
        raise InputError(
            f"a canvas of {samples.shape[0]} videos: LongTake makes one, set batch_size to 1."
        )
    for fact, node in (("skip", "Loop"), ("denoise", "Remix")):
        if fact in facts:
            raise InputError(f"LongTake cannot paint the canvas of {node}: connect it to Sample.")
    if mask is None or mask.min() >= 1:
        return
    check_latents(vae, samples)
    if not torch.equal((mask < 1).flatten(3).any(-1), (mask == 0).flatten(3).all(-1)):
        raise InputError(
            "the canvas's mask keeps parts of frames, and LongTake holds whole frames only: "
            "connect it to Sample."
        )
    if facts.get("fps", fps) != fps:
        raise InputError(
            f"frames are known on a canvas of {float(facts['fps']):g} fps, and the take has "
            f"{float(fps):g}: set fps to 0 or {float(facts['fps']):g}."
        )
    timeline = Timeline(grid_of(vae), fps, samples.shape[2])
    late = [k for k in known_in(canvas) if timeline.span(k).start >= take.frames]
    if late:
        raise InputError(
            f"{in_words(tuple(late), timeline)} of the canvas are known, and the take ends after "
            f"{take.frames}: make it longer."
        )


def laid_out(
    canvas: Mapping[str, Any],
    latent: dict[str, Any],
    clip: Clip,
    vae: comfy.sd.VAE,
    timeline: Timeline,
) -> dict[str, Any]:
    """A clip's LATENT with what the canvas knows of it.

    Only the take's first clip lies on the canvas's own latent frames; for any other the pixels that
    are known are encoded anew, at their place in it.
    """
    whole = Timeline(timeline.grid, timeline.fps, samples_of(canvas).shape[2])
    shown = range(clip.start, clip.start + clip.frames)
    pins = pins_in(canvas)
    pixels = pins.pixels if pins is not None and pins.fit(samples_of(canvas)) else {}
    known = {
        k: [f for f in whole.span(k) if f in pixels]
        for k in known_in(canvas)
        if any(f in shown for f in whole.span(k))
    }
    if not clip.start:
        seen = [k for k, own in known.items() if not own or any(f in shown for f in own)]
        return taken(canvas, latent, seen, pixels, shown)
    if bare := tuple(k for k, own in known.items() if not own):
        raise InputError(
            f"{in_words(bare, whole)} of the canvas are known as latents, and a shot begins on "
            f"frame {clip.start}, off their grid: paint the shots together, or pin the frames with "
            f"PinVideo."
        )
    for run in runs_of([f for own in known.values() for f in own if f in shown]):
        where = place(timeline, run[0] - clip.start, len(run))
        pictures = torch.stack([pixels[f] for f in run])
        latent = pinned(latent, pictures, vae, where, where.partly, pins.clip_vision)
    return latent


def taken(
    canvas: Mapping[str, Any],
    latent: dict[str, Any],
    known: Sequence[int],
    pixels: Mapping[int, Tensor],
    shown: range,
) -> dict[str, Any]:
    """A LATENT with latent frames of a canvas that begins with it."""
    samples = latent["samples"].clone()
    mask = torch.ones(1, 1, samples.shape[2], 1, 1)
    samples[:, :, known] = samples_of(canvas)[:, :, known].to(samples)
    mask[:, :, known] = 0
    out = {**latent, "samples": samples, "noise_mask": mask}
    if not (own := {f: picture for f, picture in pixels.items() if f in shown}):
        return out
    pins = pins_in(canvas)
    return with_facts(out, pins=replace(pins, pixels=own, held=pins.held & {*known}))


def runs_of(frames: Sequence[int]) -> list[list[int]]:
    """[3, 4, 7] -> [[3, 4], [7]]."""
    by_run = groupby(enumerate(frames), key=lambda pair: pair[1] - pair[0])
    return [[frame for _, frame in run] for _, run in by_run]
