"""A take of any length: painted window by window, decoded and written while it is painted.

Windows hand their last latent frames on as they are: nothing is decoded and encoded again. Each
window is on disk as soon as it is painted, under a hash of all that decided it; a take that is
queued again uses what is there and paints the rest, to the same bits.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import comfy.sd
import torch
from comfy.model_management import InterruptProcessingException
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ...engine.canvas.grid import LatentGrid
from ...engine.canvas.noise import frame_noise
from ...engine.canvas.windows import Window
from ...engine.frames.stream import decoded_pieces, to_bytes
from ...engine.media.publish import check_space, claim, estimate
from ...engine.media.sound import Sound
from ...engine.media.writer import write_video
from ...engine.take.anchor import Statistics, keeps_first_frame, keeps_statistics, matched
from ...engine.take.fingerprint import UnknownValueError, digest
from ...engine.take.layout import Clip, Layout, Take, noise_frames, shots_in
from ...engine.take.splice import spliced
from ...engine.take.storyboard import Shot
from ...engine.take.time_left import bytes_of, duration
from ...engine.take.window_store import WindowStore
from ...models.errors import InputError, NotFiniteError
from ..comfyui.conditioning import MEET, Conditioning, from_frame, of_shots
from ..comfyui.node_text import show_text
from ..comfyui.output import folder_for, numbered_names, output_folder, temporary_file
from ..comfyui.progress import check_cancelled
from ..networks.transformer import config_of
from ..networks.vae import decoder
from ..sampling.image_channels import channels_of, known_conds, route_for, unseen
from ..sampling.sample import run
from . import weights_hash
from .known_frames import Held
from .progress import TakeProgress, guessed_step, memory_of, room_of

FOLDER = "longtake"  # in ComfyUI's output folder
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that decides what a take looks like.

    prompts: CONDITIONING of each shot; held: what is known of each clip before it is painted;
    meet: see `shots.of_shots`; anchor: one of engine.take.anchor.ANCHORS.
    """

    model: ModelPatcher
    vae: comfy.sd.VAE
    prompts: tuple[Conditioning, ...]
    negative: Conditioning
    shots: tuple[Shot, ...]
    held: tuple[Held, ...]
    take: Take
    layout: Layout
    grid: LatentGrid
    fps: Fraction
    width: int
    height: int
    sigmas: Tensor
    seed: int
    cfg: float
    sampler: str
    anchor: str = "off"
    meet: float = MEET
    sound: Sound | None = None

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @cached_property
    def cell(self) -> tuple[int, int, int]:
        """(c, h, w) of a latent frame."""
        s = self.grid.stride_hw
        return self.grid.channels, self.height // s, self.width // s

    @property
    def window_shape(self) -> tuple[int, int, int, int, int]:
        """(b, c, t, h, w) of the longest window."""
        c, h, w = self.cell
        longest = max(w.stop - w.start for clip in self.take.clips for w in clip.windows)
        return 1, c, longest, h, w

    def prompt(self, clip: Clip, window: Window) -> Conditioning:
        """What a window shows: one shot's text, or each frame its own shot's."""
        spans = shots_in(clip, window)
        texts = [self.prompts[span.shot] for span in spans]
        if len(clip.spans) == 1:
            return from_frame(texts[0], window.start, clip.latent_frames)
        return of_shots(texts[0], texts, [span.start for span in spans], self.meet)


class Painter:
    """Paints the windows of a recipe, or finds them painted.

    Attributes:
        keys: of each window of each clip; None if something in the graph cannot be compared, so
            that nobody could say whether a window on disk is the same.
    """

    def __init__(self, recipe: Recipe, store: WindowStore):
        self.recipe, self.store = recipe, store
        self.why_not = ""
        self.noise = [
            noise_frames(clip, recipe.shots, recipe.seed, recipe.grid) for clip in recipe.take.clips
        ]
        try:
            self.keys: list[list[str]] | None = self._keys()
        except UnknownValueError as error:
            self.keys, self.why_not = None, str(error)
        self.progress: TakeProgress | None = None

    def _keys(self) -> list[list[str]]:
        """A hash for each window: of its own inputs, and of the window it goes on from."""
        r = self.recipe
        base = digest(
            weights_hash.identity(r.model),
            r.negative,
            r.sigmas,
            r.cfg,
            r.sampler,
            r.cell,
            r.anchor,
        )
        all_keys = []
        for clip, noise, held in zip(r.take.clips, self.noise, r.held, strict=True):
            keys, key = [], base
            for window in clip.windows:
                part = noise[window.start : window.stop]
                known = held.told_apart_by(window, r.grid)
                key = digest(key, r.prompt(clip, window), part, known, window.known)
                keys.append(key)
            all_keys.append(keys)
        return all_keys

    @property
    def missing(self) -> int:
        """How many windows are still to be painted."""
        return sum(
            held.whole(window) is None
            and (self.keys is None or not self.store.has(self.keys[number][i]))
            for number, (clip, held) in enumerate(
                zip(self.recipe.take.clips, self.recipe.held, strict=True)
            )
            for i, window in enumerate(clip.windows)
        )

    def windows(self, number: int) -> Iterator[Tensor]:
        """The latent frames that each window adds to clip `number`: (1, c, t, h, w) float32."""
        r, clip = self.recipe, self.recipe.take.clips[number]
        painted: Tensor | None = None  # no more of it than the next window looks back at
        first, like = None, None
        for i, window in enumerate(clip.windows):
            check_cancelled()
            latents = self._kept(number, i)
            if latents is None:
                latents = self._paint(number, window, painted, first)
                if like is not None and keeps_statistics(r.anchor):
                    latents = r.held[number].put_back(matched(latents, like), window)
                if self.keys is not None:
                    self.store.save(self.keys[number][i], latents)
            if first is None:
                first, like = latents[:, :, :1].clone(), Statistics.of(latents)
            painted = latents if painted is None else torch.cat((painted, latents), dim=2)
            painted = painted[:, :, -r.layout.length :].clone()
            yield latents

    def _kept(self, number: int, i: int) -> Tensor | None:
        """A window with nothing to paint, or from disk if it is there and whole."""
        window = self.recipe.take.clips[number].windows[i]
        known = self.recipe.held[number].whole(window)
        if known is not None or self.keys is None:
            return known
        c, h, w = self.recipe.cell
        return self.store.load(self.keys[number][i], (1, c, window.new, h, w))

    def _paint(
        self, number: int, window: Window, painted: Tensor | None, first: Tensor | None
    ) -> Tensor:
        """What a window adds, float32 on the CPU."""
        r, (c, h, w) = self.recipe, self.recipe.cell
        samples = torch.zeros(1, c, window.stop - window.start, h, w)
        mask = torch.ones(1, 1, samples.shape[2], 1, 1)
        for k, latent in r.held[number].within(window).items():
            samples[:, :, k : k + 1], mask[:, :, k] = latent, 0
        if painted is not None:
            samples[:, :, : window.known] = painted[:, :, -window.known :]
            mask[:, :, : window.known] = 0
            if keeps_first_frame(r.anchor) and window.known > 1:
                samples[:, :, :1] = first
        mask = None if mask.all() else mask
        pairs = self.noise[number][window.start : window.stop]
        noise = torch.stack([frame_noise(s, frame, r.cell) for s, frame in pairs], dim=1)[None]
        if self.progress is not None:
            self.progress.window()
        seed, at = pairs[window.known]
        out = run(
            r.model,
            *self._prompts(number, window, samples, mask),
            samples,
            mask,
            noise,
            r.sigmas,
            r.cfg,
            r.sampler,
            (seed + at) % 2**64,  # of samplers that add noise on the way
            self.progress,
        )
        if not torch.isfinite(out).all():
            raise NotFiniteError(
                f"latent frames {window.start} to {window.stop} became NaN or infinite at cfg "
                f"{r.cfg} with {r.sampler}: lower cfg, take more steps, or load the model in bf16 "
                f"or fp32. What was painted before them is kept."
            )
        return out[:, :, window.known :].to("cpu", torch.float32).clone()

    def _prompts(
        self, number: int, window: Window, samples: Tensor, mask: Tensor | None
    ) -> tuple[Conditioning, Conditioning]:
        """Both prompts of a window, with what image channels are shown of its known pixels."""
        r, pins = self.recipe, self.recipe.held[number].pins
        span, route = range(window.start, window.stop), route_for(config_of(r.model))
        clip = r.take.clips[number]
        prompt = r.prompt(clip, window)
        negative = from_frame(r.negative, window.start, clip.latent_frames)
        return known_conds(prompt, negative, channels_of(pins, span, route), samples, mask)

    def frames(self, number: int) -> Iterator[Tensor]:
        """Chunks of clip `number`, each window decoded as soon as it is there, as one stream."""
        vae, state = self.recipe.vae, None
        for latents in self.windows(number):
            decode_piece = decoder(vae, latents)

            def go_on(piece: Tensor, _: Any, decode_piece=decode_piece) -> tuple[Tensor, None]:
                nonlocal state
                pixels, state = decode_piece(piece, state)
                return pixels, None

            yield from decoded_pieces(go_on, latents, 1, to_bytes)


class Stopped:
    """A stream that Cancel ends rather than breaks, so that what there is can be finished."""

    def __init__(self):
        self.by: BaseException | None = None

    def until(self, stream: Iterable[Tensor]) -> Iterator[Tensor]:
        try:
            yield from stream
        except InterruptProcessingException as cancelled:
            self.by = cancelled

    def streams(self, painter: Painter) -> Iterator[Iterator[Tensor]]:
        for number in range(len(painter.recipe.take.clips)):
            if self.by is None:
                yield self.until(painter.frames(number))


def store_folder() -> Path:
    return output_folder() / FOLDER / "windows"


def film_take(recipe: Recipe, *, keep: bool = True) -> Input.Video:
    """Make a take.

    Args:
        recipe: what to make.
        keep: its windows stay on disk when it is finished, so that the same take with a shot
            changed paints that shot only. A take that was stopped keeps them in any case.

    Returns:
        VIDEO, a file in ComfyUI's temp folder.

    Raises:
        InterruptProcessingException: after Cancel, once what there was is saved as a video in the
            output folder.
    """
    store = WindowStore(store_folder())
    painter = Painter(recipe, store)
    show_text(plan := told(painter))
    log.info("longtake: %s", plan.replace("\n", "; "))
    path, stopped, frames = temporary_file("longtake"), Stopped(), 0
    check_space(path.parent, estimate(recipe.take.frames, recipe.width, recipe.height))
    guess = guessed_step(recipe.model, recipe.window_shape, recipe.cfg)

    def counted(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        nonlocal frames
        for chunk in chunks:
            frames += len(chunk)
            yield chunk

    with TakeProgress(painter.missing, recipe.steps, guess) as painter.progress:
        chunks = counted(spliced(recipe.take, stopped.streams(painter)))
        try:
            write_video(path, chunks, recipe.fps, sound=recipe.sound)
        except InputError:
            if stopped.by is None or frames:
                raise
    store.tidy()
    if stopped.by is not None:
        raise_stopped(stopped.by, path if frames else None, frames, recipe)
    if not keep:
        store.forget()
    show_text(f"{plan}\ndone")
    return InputImpl.VideoFromFile(str(path))


def raise_stopped(by: BaseException, film: Path | None, frames: int, recipe: Recipe) -> None:
    """Put what there is of a cancelled take where people find it, and cancel for good."""
    if film is not None:
        name = PurePosixPath(FOLDER, "stopped")
        saved = claim(film, numbered_names(folder_for(name), name.name, ".mp4"))
        show_text(
            f"stopped after {float(frames / recipe.fps):.2f} s, which are in "
            f"{FOLDER}/{saved.name}; queue it again to go on"
        )
        log.info("longtake: stopped after %d frames; they are in %s", frames, saved.name)
    raise by


def told(painter: Painter) -> str:
    """The plan of a take, for people, before its first step."""
    r = painter.recipe
    take, shape, missing = r.take, r.window_shape, painter.missing
    seconds = float(take.frames / r.fps)
    size = f"{take.frames} frames of {r.width}×{r.height}, {seconds:.2f} s at {float(r.fps):g} fps"
    plan = (
        f"{some(len(take.clips), 'clip')} in {some(take.windows, 'window')} of up to "
        f"{r.grid.frames(shape[2])} frames, {some(r.steps, 'step')} each"
    )
    work = "all windows are painted already"
    if missing:
        time = duration(missing * r.steps * guessed_step(r.model, shape, r.cfg))
        there = f" ({take.windows - missing} windows are painted already)"
        there = there if missing < take.windows else ""
        work = f"{some(missing * r.steps, 'step')} to do{there}, about {time}"
    disk = bytes_of(sum(room_of(take, shape, r.width, r.height)))
    lines = [
        size,
        plan,
        work,
        f"about {bytes_of(memory_of(r.model, shape))} of memory, {disk} of disk",
    ]
    if known := sum(len(held.latents) for held in r.held):
        lines.append(f"{some(known, 'latent frame')} known: kept as they are")
    vision = [held.pins.clip_vision for held in r.held if held.pins]
    if note := unseen(config_of(r.model), r.prompts[0], vision and vision[0]):
        lines.append(note)
    if painter.why_not:
        lines.append(f"cannot be resumed: {painter.why_not} in the graph cannot be compared")
    return "\n".join(lines)


def some(count: int, what: str) -> str:
    """2, "clip" -> "2 clips"."""
    return f"{count} {what}{'s' * (count != 1)}"
