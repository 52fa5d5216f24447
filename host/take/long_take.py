"""A take of any length: sampled window by window, decoded and written while it is sampled.

Windows hand their last latent frames on as they are: nothing is decoded and encoded again. Each
window is on disk as soon as it is sampled, under a hash of all that decided it; a take that is
queued again uses what is there and samples the rest, to the same bits.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from comfy.model_management import InterruptProcessingException
from comfy.utils import unpack_latents
from comfy_api.latest import Input, io, ui
from torch import Tensor

from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.noise import WindowNoise
from ...engine.canvas.plan import Window
from ...engine.files import discard, is_writable
from ...engine.frames.stream import with_a_picture
from ...engine.media.publish import check_space, claim, writing_bytes
from ...engine.media.writer import write_video
from ...engine.sampling.loop import sampled
from ...engine.take.anchor import Anchor
from ...engine.take.fingerprint import UnknownValueError, digest
from ...engine.take.layout import noise_frames
from ...engine.take.splice import spliced
from ...engine.take.time_left import bytes_of, duration
from ...engine.take.window_store import WindowStore
from ...models.errors import InputError, NoPictureError, OutputError
from ..comfyui.conditioning import Prompts
from ..comfyui.films import film, temporary_file
from ..comfyui.nested import row
from ..comfyui.node_text import show_output, show_text
from ..comfyui.output import folder_for, inside_output, numbered_names
from ..comfyui.progress import check_cancelled
from ..networks.transformer import config_of
from ..sampling.guides import Guides, guides_for
from ..sampling.routes import Route, missing_vision, route_of, with_channels
from ..sampling.sample import finite, planned_calls, run
from ..video.decoder import VideoDecoder
from . import weights_hash
from .progress import TakeProgress, guessed_step, memory_of, room_of
from .recipe import Recipe
from .shot_pictures import ShotPictures
from .sound import known_sound, tracks_for, with_sound

FOLDER = "longtake"  # in ComfyUI's output folder
log = logging.getLogger(__name__)


class TakeSampler:
    """Samples the windows of a recipe, or finds them on disk.

    Attributes:
        keys: of each window of each clip; None if something in the graph cannot be compared, so
            that nobody could say whether a window on disk is the same.
        likes: the same of all but the seed.
        why_not: what that is.
        progress: counts the steps of the whole take.
        tracks: the sound of each clip, as far as it has been sampled.
    """

    def __init__(self, recipe: Recipe, store: WindowStore, step_seconds: float = 1.0):
        self.recipe, self.store = recipe, store
        shots, seed, grid = recipe.board.shots, recipe.sampling.seed, recipe.codec.grid
        self.tracks = tracks_for(recipe)
        self.noise = [noise_frames(clip, shots, seed, grid) for clip in recipe.take.clips]
        self.why_not, self.likes = "", []
        self._decoders: list[VideoDecoder] = []
        self._guides: dict[int, Guides | None] = {}  # of a clip, once it is sampled
        try:
            self.keys: list[dict[Window, str]] | None = self._keys()
            self.likes = self._keys(seeds=False)
        except UnknownValueError as error:
            self.keys, self.why_not = None, str(error)
        pieces = sum(clip.latent_frames for clip in recipe.take.clips)
        self.progress = TakeProgress(self.missing, recipe.sampling.steps, step_seconds, pieces)

    def _keys(self, seeds: bool = True) -> list[dict[Window, str]]:
        """A hash for each window: of its own inputs, and of the window it goes on from.

        Args:
            seeds: whether those of its noise are among the inputs.
        """
        r, s = self.recipe, self.recipe.sampling
        model = weights_hash.identity(r.model)
        base = digest(model, r.negative, s.sigmas, s.cfg, s.sampler, r.cell, r.anchor)
        together = {
            frames: planned_calls(r.model, (1, r.cell[0], frames, *r.cell[1:]), s).together
            for clip in r.take.clips
            for frames in {len(window.frames) for window in clip.windows}
        }
        all_keys = []
        for clip, noise, known, track in zip(
            r.take.clips, self.noise, r.known, self.tracks, strict=True
        ):
            keys, key = {}, base
            for window in clip.windows:
                check_cancelled()
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
        return [note for note in dict.fromkeys(one.note for one in self._decoders) if note]

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

    def windows(self, number: int) -> Iterator[Tensor]:
        """The latent frames that each window adds to clip `number`: (1, c, t, h, w) float32."""
        known, anchor = self.recipe.known[number], Anchor(self.recipe.anchor)

        def new_frames(window: Window, part: MaskedLatents) -> Tensor:
            check_cancelled()
            new = self._there(number, window)
            if new is None:
                new = self._sample(number, window, anchor.shown(window, part))
                new = known.put_back(anchor.corrected(new), window)
                if self.keys is not None:
                    seed = self.noise[number][window.new[0]][0]
                    key, like = self.keys[number][window], self.likes[number][window]
                    track = self.tracks[number]
                    both = [new] if track is None else [new, track.of(window.new)]
                    self.store.save(key, row(both), like, seed)
            anchor.remember(new)
            return new

        for _, new in sampled(known, self.recipe.take.clips[number].windows, new_frames):
            yield new

    def _there(self, number: int, window: Window) -> Tensor | None:
        """What a window adds, if all of it is known, or it is whole on disk."""
        known = self.recipe.known[number].whole(window)
        if known is not None or self.keys is None:
            return known
        c, h, w = self.recipe.cell
        shape, track = (1, c, len(window.new), h, w), self.tracks[number]
        if track is None:
            return self.store.load(self.keys[number][window], shape)
        shapes = [torch.Size(shape), track.of(window.new).shape]
        whole = self.store.load(self.keys[number][window], (1, 1, sum(map(math.prod, shapes))))
        if whole is None:
            return None
        pictures, sound = unpack_latents(whole, shapes)
        self.tracks[number] = track.filled(window.new, sound)
        return pictures

    def _sample(self, number: int, window: Window, part: MaskedLatents) -> Tensor:
        """What a window adds, float32 on the CPU."""
        r, noise_of = self.recipe, [self.noise[number][k] for k in window.frames]
        seed, frame = noise_of[window.context]
        # For samplers that draw numbers of their own: others in each window.
        sampling = replace(r.sampling, seed=(seed + frame) % 2**64)
        prompts = self._prompts(number, window, part)
        self.progress.window()
        noise = WindowNoise(noise_of, r.cell)
        track = self.tracks[number]
        heard = track and track.at(window.frames)
        prompts, beside = self._beside(number, window, prompts)
        out, sound = run(r.model, prompts, part, noise, sampling, self.progress, heard, beside)
        if track is not None:
            self.tracks[number] = track.with_new(window.frames, window.new, sound)
        which = f" of the latent frames {window.new[0]} to {window.new[-1]} (all before are kept)"
        finite(out, r.model, sampling, which)
        return out[:, :, window.context :].to("cpu", torch.float32).clone()

    def _prompts(self, number: int, window: Window, part: MaskedLatents) -> Prompts:
        """Both prompts of a window, with what image channels are shown of its known pixels."""
        r, pins = self.recipe, self.recipe.known[number].pins
        prompts = r.prompts(r.take.clips[number], window)
        if pins is None or route_of(r.model) is not Route.IMAGE_CHANNELS:
            return prompts
        span = range(window.frames[0], window.frames[-1] + 1)
        return with_channels(prompts, pins.channels(span), part)

    def _beside(
        self, number: int, window: Window, prompts: Prompts
    ) -> tuple[Prompts, Tensor | None]:
        """What a window is shown besides its frames."""
        if number not in self._guides:
            pins = self.recipe.known[number].pins
            self._guides[number] = guides_for(self.recipe.model, pins)
        guides = self._guides[number]
        return guides.beside(window.frames, prompts) if guides else (prompts, None)

    def frames(self, number: int) -> Iterator[Tensor]:
        """The frame stream of clip `number`; each window is decoded as soon as it is there."""
        total = self.recipe.take.clips[number].latent_frames
        decoder = VideoDecoder(self.recipe.vae)
        self._decoders.append(decoder)
        return decoder.frames(self.windows(number), total, self.progress.decoding)


class Stopped:
    """A stream that Cancel ends rather than breaks, so that what there is can be finished."""

    def __init__(self):
        self.by: BaseException | None = None

    def until(self, stream: Iterable[Tensor]) -> Iterator[Tensor]:
        try:
            yield from stream
        except InterruptProcessingException as cancelled:
            self.by = cancelled

    def streams(self, sampler: TakeSampler) -> Iterator[Iterator[Tensor]]:
        for number in range(len(sampler.recipe.take.clips)):
            if self.by is None:
                yield self.until(sampler.frames(number))


def store_folder() -> Path:
    """Where windows are kept. Raises InputError if a link leads out of the output folder."""
    return inside_output(PurePosixPath(FOLDER, "windows", "windows"))


def film_take(
    recipe: Recipe, *, keep: bool = True, metadata: Mapping[str, Any] | None = None
) -> tuple[Input.Video, dict[str, list[str]]]:
    """Make a take.

    Args:
        recipe: what to make.
        keep: its windows stay on disk when it is finished, so that the same take with a shot
            changed samples that shot only. A take that was stopped keeps them in any case.
        metadata: to be embedded, JSON values by name.

    Returns:
        VIDEO, a file in ComfyUI's temp folder; and for the node's `ui`, what its shots look like.

    Raises:
        InterruptProcessingException: after Cancel, once what there was is saved as a video in the
            output folder.
    """
    store, size, total = WindowStore(store_folder()), recipe.size, recipe.take.frames
    step_seconds = guessed_step(recipe.model, recipe.window_shape, recipe.sampling.cfg)
    sampler = TakeSampler(recipe, store, step_seconds)
    show_text(plan := plan_in_words(sampler, step_seconds))
    log.info("longtake: %s", ascii_of(plan.replace("\n", "; ")))
    path, stopped, frames = temporary_file("longtake"), Stopped(), 0
    pictures = ShotPictures(recipe.board.shots, total, size.fps)
    part = part_beside(path)
    for folder in {path.parent, part.parent}:
        check_space(folder, writing_bytes(total, size.width, size.height))

    def counted(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        nonlocal frames
        for chunk in chunks:
            frames += len(chunk)
            yield chunk

    with sampler.progress:
        frames_made = pictures.passing(spliced(recipe.take, stopped.streams(sampler)))
        chunks = counted(with_a_picture(frames_made))
        try:
            sound = recipe.board.sound
            write_video(path, chunks, size.fps, sound=sound, metadata=metadata, part=part)
        except InputError:
            if stopped.by is None or frames:
                raise
        except NoPictureError:
            if stopped.by is None:
                raise
            frames = 0
    store.tidy()
    if frames:
        path = with_sound(path, recipe, sampler.tracks)
    if stopped.by is not None:
        for picture in pictures.files:
            discard(picture)
        raise_stopped(stopped.by, path if frames else None, float(frames / size.fps))
    if not keep:
        store.forget()
    show_text("\n".join([done_in_words(recipe), *sampler.notes, plan]))
    return film(path, pictures.files), pictures.shown(path)


def part_beside(path: Path) -> Path:
    """The name beside which a take is hidden while it is made: in the output folder, where it
    survives a crash and the next start; beside `path` if nothing can be written there."""
    name = PurePosixPath(FOLDER, "take.mp4")
    try:
        part = folder_for(name) / name.name
    except OSError:
        return path
    return part if is_writable(part.parent) else path


def raise_stopped(by: BaseException, video: Path | None, seconds: float) -> None:
    """Put what there is of a cancelled take where people find it, and cancel for good."""
    if video is not None:
        name = PurePosixPath(FOLDER, "stopped")
        try:
            saved = claim(video, numbered_names(folder_for(name), name.name, ".mp4"))
        except OSError as error:
            raise OutputError(
                f"stopped after {seconds:.2f} s, but it cannot be moved to the output folder "
                f"({error.strerror or error}). Until ComfyUI starts again it is here: {video}"
            ) from by
        show_text(f"stopped after {seconds:.2f} s, saved as {saved.name}; queue it again to go on")
        result = ui.SavedResult(saved.name, FOLDER, io.FolderType.output)
        show_output(ui.PreviewVideo([result]).as_dict())
        log.info("longtake: stopped after %.2f s; they are in %s", seconds, saved.name)
    raise by


def plan_in_words(sampler: TakeSampler, step_seconds: float) -> str:
    """The plan of a take, before its first step."""
    r, shape, missing = sampler.recipe, sampler.recipe.window_shape, sampler.missing
    take, size, steps = r.take, r.size, r.sampling.steps
    seconds = float(take.frames / size.fps)
    work = "all windows are on disk already"
    if missing:
        there = f" ({take.windows - missing} windows are on disk already)"
        there = there if missing < take.windows else ""
        time = duration(missing * steps * step_seconds)
        work = f"{counted_noun(missing * steps, 'step')} to do{there}, about {time}, and decoding"
    disk = bytes_of(sum(room_of(take, shape, size.width, size.height)))
    clips, windows = (
        counted_noun(count, noun)
        for count, noun in ((len(take.clips), "clip"), (take.windows, "window"))
    )
    longest = r.codec.grid.frames(shape[2])
    lines = [
        f"{seconds:.2f} s, {take.frames} frames of {size} at {float(size.fps):g} fps",
        work,
        *size.notes,
    ]
    if missing == take.windows and (seed := sampler.other_seed) is not None:
        lines.append(f"only the seed differs from a take on disk, which has {seed}")
    if known := sum(len(clip.latents) for clip in r.known):
        lines.append(f"{counted_noun(known, 'latent frame')} known: they stay as they are")
    vision = [clip.pins.clip_vision for clip in r.known if clip.pins]
    prompt = r.board.prompts[0]
    if note := missing_vision(config_of(r.model), prompt, vision and vision[0]):
        lines.append(note)
    if sampler.why_not:
        lines.append(f"cannot be resumed: {sampler.why_not} in the graph cannot be compared")
    lines += [
        f"{clips} in {windows} of up to {longest} frames, {counted_noun(steps, 'step')} each",
        f"about {bytes_of(memory_of(r.model, shape))} of memory, {disk} of disk",
    ]
    return "\n".join(lines)


def done_in_words(recipe: Recipe) -> str:
    """What a take has become: "done: 20.1 s, 3 shots, 13 windows"."""
    take, shots = recipe.take, counted_noun(len(recipe.board.shots), "shot")
    seconds = float(take.frames / recipe.size.fps)
    return f"done: {seconds:.1f} s, {shots}, {counted_noun(take.windows, 'window')}"


def ascii_of(text: str) -> str:
    """Text for the log, which on Windows may be a pipe in a code page that lacks "×"."""
    return text.replace("×", "x").encode("ascii", "replace").decode()


def counted_noun(count: int, noun: str) -> str:
    """2, "clip" -> "2 clips"."""
    return f"{count} {noun}{'s' * (count != 1)}"
