"""A take of any length: sampled window by window, decoded and written while it is sampled.

Windows hand their last latent frames on as they are: nothing is decoded and encoded again. Each
window is on disk as soon as it is sampled, under a hash of all that decided it; a take that is
queued again uses what is there and samples the rest, to the same bits.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from comfy.model_management import InterruptProcessingException
from comfy_api.latest import Input, io, ui
from torch import Tensor

from ...engine.container.publish import check_space, claim, writing_bytes
from ...engine.files import discard, is_writable
from ...engine.frames.composite import composited
from ...engine.frames.prefetch import behind
from ...engine.frames.stream import with_a_picture
from ...engine.media.writer import write_video
from ...engine.take.splice import spliced
from ...engine.take.time_left import bytes_of, duration
from ...engine.take.window_store import WindowStore
from ...models.errors import InputError, NoPictureError, OutputError
from ..comfyui.films import film, temporary_file
from ..comfyui.node_text import show_output, show_text
from ..comfyui.output import folder_for, inside_output, numbered_names
from ..networks.transformer import config_of
from ..sampling.routes import missing_vision, unknown_model
from ..video.decoder import frames_of
from .progress import guessed_step, memory_of, room_of
from .recipe import Recipe
from .sampler import TakeSampler
from .shot_pictures import ShotPictures
from .sound import with_sound

FOLDER = "longtake"  # in ComfyUI's output folder
log = logging.getLogger(__name__)


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


class HelpFrom(Protocol):
    """Whoever may sample a part of a take elsewhere."""

    def helping(self, sampler: TakeSampler) -> AbstractContextManager[None]:
        """For the time of a block the sampler has helpers, if there are any."""


def film_take(
    recipe: Recipe,
    *,
    keep: bool = True,
    metadata: Mapping[str, Any] | None = None,
    crew: HelpFrom | None = None,
) -> tuple[Input.Video, dict[str, list[str]]]:
    """Make a take.

    Args:
        recipe: what to make.
        keep: its windows stay on disk when it is finished, so that the same take with a shot
            changed samples that shot only. A take that was stopped keeps them in any case.
        metadata: to be embedded, JSON values by name.
        crew: samples some of it on other machines.

    Returns:
        VIDEO, a file in ComfyUI's temp folder; and for the node's `ui`, what its shots look like.

    Raises:
        InterruptProcessingException: after Cancel, once what there was is saved as a video in the
            output folder.
    """
    store = WindowStore(store_folder())
    step_seconds = guessed_step(recipe.model, recipe.window_shape, recipe.sampling.cfg)
    sampler = TakeSampler(recipe, store, step_seconds)
    path, stopped = temporary_file("longtake"), Stopped()
    pictures = ShotPictures(recipe.board.shots, recipe.take.frames, recipe.size.fps)
    with crew.helping(sampler) if crew else nullcontext():
        show_text(plan := plan_in_words(sampler, step_seconds))
        log.info("longtake: %s", ascii_of(plan.replace("\n", "; ")))
        frames = written(path, sampler, stopped, pictures, metadata)
        notes = [note for note in sampler.notes if note not in plan]
    store.tidy()
    if frames:
        path = with_sound(path, recipe, sampler.tracks)
    if stopped.by is not None:
        for picture in pictures.files:
            discard(picture)
        raise_stopped(stopped.by, path if frames else None, float(frames / recipe.size.fps))
    if not keep:
        store.forget()
    show_text("\n".join([done_in_words(recipe), *notes, plan]))
    return film(path, pictures.files), pictures.shown(path)


def written(
    path: Path,
    sampler: TakeSampler,
    stopped: Stopped,
    pictures: ShotPictures,
    metadata: Mapping[str, Any] | None,
) -> int:
    """Write a take's pictures to a file while they are made. Returns how many frames there are."""
    recipe, frames = sampler.recipe, 0
    size, total, part = recipe.size, recipe.take.frames, part_beside(path)
    for folder in {path.parent, part.parent}:
        check_space(folder, writing_bytes(total, size.width, size.height))

    def counted(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        nonlocal frames
        for chunk in chunks:
            frames += len(chunk)
            yield chunk

    with sampler.progress:
        frames_made = pictures.passing(whole_pictures(recipe, stopped.streams(sampler)))
        chunks = counted(with_a_picture(frames_made))
        try:
            write = partial(write_video, fps=size.fps, metadata=metadata, part=part)
            behind(chunks, partial(write, path, sound=recipe.board.sound))
        except InputError:
            if stopped.by is None or frames:
                raise
        except NoPictureError:
            if stopped.by is None:
                raise
            return 0
    return frames


def whole_pictures(recipe: Recipe, clips: Iterator[Iterator[Tensor]]) -> Iterator[Tensor]:
    """The frames of a take, with what its canvas keeps laid over them."""
    kept = recipe.canvas and recipe.canvas.kept
    return composited(spliced(recipe.take, clips), kept, frames_of(recipe.vae))


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
        helpers = max(1, len(sampler.helpers.names)) if sampler.helpers else 1
        time = duration(missing * steps * step_seconds / helpers)
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
        *(sampler.helpers.notes if sampler.helpers else ()),
        *size.notes,
    ]
    if missing == take.windows and (seed := sampler.other_seed) is not None:
        lines.append(f"only the seed differs from a take on disk, which has {seed}")
    if r.canvas is not None and r.canvas.kept is not None:
        lines.append("outside of the canvas's regions every pixel stays as it is")
    if known := sum(len(clip.latents) - len(clip.masks) for clip in r.known):
        lines.append(f"{counted_noun(known, 'latent frame')} known: they stay as they are")
    vision = [clip.pins.clip_vision for clip in r.known if clip.pins]
    prompt = r.board.prompts[0]
    if note := missing_vision(config_of(r.model), prompt, vision and vision[0]):
        lines.append(note)
    if r.canvas is not None and (note := unknown_model(r.model, r.canvas.video)):
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
