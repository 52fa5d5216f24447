"""The windows of a take: sampled one after the other, or found on disk."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from comfy.utils import unpack_latents
from torch import Tensor

from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.noise import WindowNoise
from ...engine.canvas.plan import Window
from ...engine.sampling.loop import sampled
from ...engine.take.anchor import SVI, Anchor
from ...engine.take.fingerprint import UnknownValueError, digest
from ...engine.take.known_frames import independent_parts
from ...engine.take.layout import noise_frames
from ...engine.take.window_store import WindowStore
from ..comfyui.conditioning import Prompts
from ..comfyui.nested import row
from ..comfyui.progress import check_cancelled
from ..sampling.driven import Road, road_for
from ..sampling.guides import Guides, guides_for
from ..sampling.image_channels import with_channels, with_svi
from ..sampling.routes import Route, reads_pixels, route_of
from ..sampling.sample import finite, planned_calls, run
from ..video.decoder import VideoDecoder
from . import weights_hash
from .progress import TakeProgress
from .recipe import Recipe
from .sound import known_sound, tracks_for


class Helpers(Protocol):
    """Others who sample windows of a take and put them into its store.

    Attributes:
        names: of those who are there now.
        notes: what there is to say of them.
    """

    names: list[str]
    notes: list[str]

    def brings(self, number: int, window: Window) -> bool:
        """Wait until a window of clip `number` is in the store; False if nobody will bring it."""


class TakeSampler:
    """Samples the windows of a recipe, or finds them on disk.

    Attributes:
        keys: of each window of each clip; None if something in the graph cannot be compared, so
            that nobody could say whether a window on disk is the same.
        likes: the same of all but the seed.
        why_not: what that is.
        progress: counts the steps of the whole take.
        tracks: the sound of each clip, as far as it has been sampled.
        helpers: who else samples; or None.
        foreign: (clip, window) of those made where numbers are rounded otherwise, under keys of
            their own.
    """

    def __init__(self, recipe: Recipe, store: WindowStore, step_seconds: float = 1.0):
        self.recipe, self.store = recipe, store
        shots, seed, grid = recipe.board.shots, recipe.sampling.seed, recipe.codec.grid
        self.tracks = tracks_for(recipe)
        self.noise = [noise_frames(clip, shots, seed, grid) for clip in recipe.take.clips]
        self.why_not, self.likes = "", []
        self._decoded: list[str] = []  # what there is to say of it, clip by clip
        self.helpers: Helpers | None = None
        self.foreign: set[tuple[int, Window]] = set()
        # Of a clip, once it is sampled:
        self._guides: dict[int, Guides | None] = {}
        self._roads: dict[int, Road | None] = {}
        try:
            self.keys: list[dict[Window, str]] | None = self._keys()
            self.likes = self._keys(seeds=False)
        except UnknownValueError as error:
            self.keys, self.why_not = None, str(error)
        pieces = sum(clip.latent_frames for clip in recipe.take.clips)
        self.progress = TakeProgress(self.missing, recipe.sampling.steps, step_seconds, pieces)

    def parts(self, number: int) -> tuple[tuple[Window, ...], ...]:
        """The windows of clip `number` in runs that need nothing of one another.

        An anchor is the clip's first window, and sound is heard across what is known of pictures:
        with either, all windows are one run.
        """
        windows = self.recipe.take.clips[number].windows
        if self.recipe.anchor != "off" or self.tracks[number] is not None:
            return (windows,)
        return independent_parts(windows, self.recipe.known[number])

    def _keys(self, seeds: bool = True) -> list[dict[Window, str]]:
        """A hash for each window: of its own inputs, and of the window it goes on from.

        Args:
            seeds: whether those of its noise are among the inputs.
        """
        r, s = self.recipe, self.recipe.sampling
        model = weights_hash.identity(r.model)
        base = digest(model, r.negative, s.sigmas, s.cfg, s.sampler, r.cell, r.anchor)
        if r.guides:
            base = digest(base, [(guide.video.latents, guide.video.mask) for guide in r.guides])
        together = {
            frames: planned_calls(r.model, r.run_shape(frames + r.lead), s).together
            for clip in r.take.clips
            for frames in {len(window.frames) for window in clip.windows}
        }
        all_keys = []
        for number, (clip, noise, known, track) in enumerate(
            zip(r.take.clips, self.noise, r.known, self.tracks, strict=True)
        ):
            keys, key = {}, base
            begins = {part[0] for part in self.parts(number)}
            for window in clip.windows:
                check_cancelled()
                key = base if window in begins else key
                own = [noise[k] if seeds else noise[k][1] for k in window.frames]
                deciding = known.deciding(window, r.codec.grid)
                prompt = r.prompts(clip, window).positive
                calls = together[len(window.frames)]
                heard = known_sound(track, window)
                values = key, prompt, own, deciding, window.context, calls, *heard
                keys[window] = key = digest(*values)
            all_keys.append(keys)
        return all_keys

    @property
    def notes(self) -> list[str]:
        """What there is to say afterwards."""
        told = self.helpers.notes if self.helpers else []
        return [note for note in dict.fromkeys([*told, *self._decoded]) if note]

    @property
    def missing(self) -> int:
        """How many windows are still to be sampled."""
        return sum(
            known.whole(window) is None
            and (self.keys is None or not self.store.has(self.keys[number][window]))
            for number, (clip, known) in enumerate(
                zip(self.recipe.take.clips, self.recipe.known, strict=True)
            )
            for window in clip.windows
        )

    @property
    def other_seed(self) -> int | None:
        """A seed with which the first window is on disk, and nothing but that differs."""
        first = [next(iter(likes.values())) for likes in self.likes[:1]]
        return next((seed for like in first for seed in self.store.seeds(like)), None)

    def windows(self, number: int, part: Sequence[Window] | None = None) -> Iterator[Tensor]:
        """The latent frames that each window adds to clip `number`: (1, c, t, h, w) float32.

        Args:
            part: one of the clip's `parts`; None for all of them.
        """
        known, anchor = self.recipe.known[number], Anchor(self.recipe.anchor)

        def new_frames(window: Window, seen: MaskedLatents) -> Tensor:
            check_cancelled()
            new = self._there(number, window)
            if new is None and self.helpers and self.helpers.brings(number, window):
                new = self._there(number, window)
            if new is None:
                new = self._sample(number, window, anchor.shown(window, seen))
                new = known.put_back(anchor.corrected(new), window)
                if self.keys is not None and (number, window) not in self.foreign:
                    seed = self.noise[number][window.new[0]][0]
                    key, like = self.keys[number][window], self.likes[number][window]
                    track = self.tracks[number]
                    both = [new] if track is None else [new, track.of(window.new)]
                    self.store.save(key, row(both), like, seed)
            anchor.remember(new)
            return new

        plan = self.recipe.take.clips[number].windows if part is None else part
        for _, new in sampled(known, plan, new_frames):
            yield new

    def _there(self, number: int, window: Window) -> Tensor | None:
        """What a window adds, if all of it is known, or it is whole on disk."""
        known = self.recipe.known[number].whole(window)
        if known is not None or self.keys is None:
            return known
        shapes, track = self.shapes(number, window), self.tracks[number]
        whole = self.store.load(self.keys[number][window], in_a_row(shapes))
        if whole is None or track is None:
            return whole
        pictures, sound = unpack_latents(whole, shapes)
        self.tracks[number] = track.filled(window.new, sound)
        return pictures

    def shapes(self, number: int, window: Window) -> list[torch.Size]:
        """Of the latents that a window adds: of its pictures and, where there is sound, of that."""
        c, h, w = self.recipe.cell
        pictures, track = torch.Size((1, c, len(window.new), h, w)), self.tracks[number]
        return [pictures] if track is None else [pictures, track.of(window.new).shape]

    def _sample(self, number: int, window: Window, part: MaskedLatents) -> Tensor:
        """What a window adds, float32 on the CPU."""
        r, noise_of = self.recipe, [self.noise[number][k] for k in window.frames]
        seed, frame = noise_of[window.context]
        # For samplers that draw numbers of their own: others in each window.
        sampling = replace(r.sampling, seed=(seed + frame) % 2**64)
        prompts = self._prompts(number, window, part)
        if r.anchor == SVI:  # what came before is in the image channels, and sampled again
            part = part.without(range(window.context))
        self.progress.window()
        noise = WindowNoise(noise_of, r.cell)
        track = self.tracks[number]
        heard = track and track.at(window.frames)
        prompts, beside = self._beside(number, window, prompts)
        out, sound = run(
            r.model, prompts, part, noise, sampling, self.progress, heard, beside, lead=r.lead
        )
        which = f" of the latent frames {window.new[0]} to {window.new[-1]} (all before are kept)"
        finite(out, r.model, sampling, which)
        if track is not None:
            finite(sound, r.model, sampling, f" of the sound{which}")
            self.tracks[number] = track.with_new(window.frames, window.new, sound)
        return out[:, :, window.context :].to("cpu", torch.float32).clone()

    def _prompts(self, number: int, window: Window, part: MaskedLatents) -> Prompts:
        """Both prompts of a window, with what image channels are shown of its known pixels."""
        r, pins = self.recipe, self.recipe.known[number].pins
        clip, known = r.take.clips[number], r.known[number]
        prompts, channels = r.prompts(clip, window), None
        if r.anchor == SVI:
            return with_svi(r.model, prompts, part, window.context)
        if number not in self._roads:
            seen = known.guidance, clip.latent_frames, known.kept
            self._roads[number], _ = road_for(r.model, pins, *seen)
        if (road := self._roads[number]) is not None:
            return road.beside(window.frames, prompts, part)
        in_channels = route_of(r.model) is Route.IMAGE_CHANNELS and reads_pixels(r.model)
        if pins is not None and in_channels:
            channels = pins.channels(range(window.frames[0], window.frames[-1] + 1))
        vision = pins and pins.clip_vision
        return with_channels(r.model, prompts, channels, part, window.frames, vision)

    def _beside(
        self, number: int, window: Window, prompts: Prompts
    ) -> tuple[Prompts, MaskedLatents | None]:
        """What a window is shown besides its frames."""
        if number not in self._guides:
            pins = self.recipe.known[number].pins
            self._guides[number] = guides_for(self.recipe.model, pins, self.recipe.guides)
        guides = self._guides[number]
        return guides.beside(window.frames, prompts) if guides else (prompts, None)

    def frames(self, number: int) -> Iterator[Tensor]:
        """The frame stream of clip `number`; each window is decoded as soon as it is there."""
        total = self.recipe.take.clips[number].latent_frames
        decoder = VideoDecoder(self.recipe.vae)
        try:
            yield from decoder.frames(self.windows(number), total, self.progress.decoding)
        finally:  # what it remembers of the clip's end goes with it
            self._decoded.append(decoder.note)


def in_a_row(shapes: list[torch.Size]) -> tuple[int, ...]:
    """The shape of latents as they are stored: those of one kind as they are, two in a row."""
    return tuple(shapes[0]) if len(shapes) == 1 else (1, 1, sum(map(math.prod, shapes)))
