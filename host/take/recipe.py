"""All that a take is made from, looked at before any weight is moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import comfy.sd
from comfy.model_patcher import ModelPatcher

from ...engine.canvas.aspect import FREE, aspect_in_words, chosen_size
from ...engine.canvas.canvas import Canvas
from ...engine.canvas.codec import Codec
from ...engine.canvas.plan import Window
from ...engine.canvas.sound_track import SoundLayout, Ticks
from ...engine.take.anchor import FOLLOWING, SVI, svi_overlap
from ...engine.take.known_frames import KnownFrames, known_frames
from ...engine.take.layout import (
    Clip,
    Take,
    Windowing,
    check_end,
    check_windowing,
    plan_take,
    shots_in,
)
from ...models.errors import InputError
from ..comfyui.conditioning import Conditioning, Prompts, from_frame, of_shots
from ..comfyui.latent import to_canvas
from ..networks.codec import codec_for, defaults_of
from ..networks.settings import host_family_of, settings_of
from ..networks.transformer import config_of
from ..networks.vae import check_decoding, grid_of, streams
from ..sampling.camera import TRACKED, for_window
from ..sampling.driven import check_driving, lead_of
from ..sampling.fit import check_fit, check_grid, check_kind
from ..sampling.guides import Guide, guides_at_the_end, without_guides
from ..sampling.room import check_step
from ..sampling.routes import Route, check_regions, reads_pixels, route_of
from ..sampling.sample import Sampling, cfgs_of, sound_for, with_rate
from ..sampling.vace import followed
from ..video.decoder import frames_of
from ..video.sound import check_audio_vae
from .storyboards import Board

SEPARATE, TOGETHER = "each by itself", "together"
SHARING = (SEPARATE, TOGETHER)


@dataclass(frozen=True)
class TakeSize:
    """Length, rate and size of a take; 0 is left to the storyboard, the canvas or the model.

    Attributes:
        seconds: how long it is.
        fps: frames per second.
        width, height: in pixels.
        aspect: one of ASPECTS, at their number of pixels; or FREE.
        notes: what to say of it.
    """

    seconds: Fraction
    fps: Fraction
    width: int
    height: int
    aspect: str = FREE
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    def completed(
        self, model: ModelPatcher, vae: comfy.sd.VAE, canvas: Canvas | None, board: Board
    ) -> "TakeSize":
        """With what they say, in this order: storyboard, canvas, model.

        A canvas has its size; and, where it knows frames, its rate.
        """
        made_for, notes = settings_of(model) or defaults_of(vae), []
        grid = grid_of(vae)
        drawn = canvas and canvas.fps  # falsy where nobody has said
        bound = drawn if canvas and (canvas.video.known or canvas.kept) else None
        fps = self.fps or bound or board.fps or drawn or Fraction(made_for.fps)
        seconds = Fraction(self.seconds or board.seconds)
        if canvas is None:
            width, height = self.width or made_for.width, self.height or made_for.height
            width, height = chosen_size(grid, width, height, self.aspect)
            notes.append(aspect_in_words(width, height, self.aspect))
        else:
            height, width = canvas.size
            asked = grid.nearest_frames(float(seconds), fps) if seconds else 0
            if asked and asked != canvas.timeline.frames and not self.seconds:
                notes.append(f"as long as the storyboard, {float(seconds):g} s, not as the canvas")
            seconds = seconds or canvas.timeline.frames / fps
        notes = tuple(note for note in notes if note)
        return TakeSize(seconds, fps, width, height, FREE, notes)


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that decides what a take looks like.

    Attributes:
        model, vae: that make it.
        board: shots and prompts.
        negative: what it shall not show.
        size: complete.
        take: the shots on clips and windows.
        canvas: lies at its beginning, some of its frames known; or None.
        sampling: of each window; its seed is the take's.
        anchor: one of engine.take.anchor.ANCHORS.
        audio_vae: of the model's sound, where it makes some; or None.
        guides: that core's LTXVAddGuide put at the canvas's end.
    """

    model: ModelPatcher
    vae: comfy.sd.VAE
    board: Board
    negative: Conditioning
    size: TakeSize
    take: Take
    canvas: Canvas | None
    sampling: Sampling
    anchor: str = "off"
    audio_vae: comfy.sd.VAE | None = None
    guides: tuple[Guide, ...] = ()

    @property
    def sound(self) -> SoundLayout | None:
        """How the model packs the sound that it makes; None if it makes none."""
        family = host_family_of(self.model)
        return family and family.sound

    @cached_property
    def codec(self) -> Codec:
        return codec_for(self.vae)

    @cached_property
    def known(self) -> tuple[KnownFrames, ...]:
        """What is known of each clip before it is sampled; encoded when it is first asked.

        Raises:
            InputError: for what cannot be kept exactly.
        """
        blank = blank_canvas(self.codec, self.size)
        in_part = reads_pixels(self.model)
        decode = frames_of(self.vae)
        return known_frames(self.take, self.board.images, blank, self.canvas, in_part, decode)

    def with_seed(self, seed: int) -> "Recipe":
        """The same take from other noise; what is known of it is not encoded again."""
        other = replace(self, sampling=replace(self.sampling, seed=seed))
        vars(other)["known"] = self.known  # where cached_property keeps it
        return other

    @property
    def lead(self) -> int:
        """Latent frames that are sampled in front of each window: references, a character."""
        return lead_of(self.model, self.canvas and self.canvas.guidance)

    @property
    def cell(self) -> tuple[int, int, int]:
        """(c, h, w) of a latent frame."""
        _, c, _, h, w = blank_canvas(self.codec, self.size).video.latents.shape
        return c, h, w

    @property
    def window_shape(self) -> tuple[int, int, int, int, int]:
        """(b, c, t, h, w) of the longest window."""
        c, h, w = self.cell
        longest = max(len(window.frames) for clip in self.take.clips for window in clip.windows)
        return 1, c, longest, h, w

    def run_shape(self, latent_frames: int) -> tuple[int, ...]:
        """Of the numbers that core's samplers carry through a run on so many latent frames."""
        c, h, w = self.cell
        pictures = (1, c, latent_frames, h, w)
        if self.sound is None:
            return pictures
        ticks = Ticks(self.codec.grid, self.sound.rate / self.size.fps).count(latent_frames)
        return 1, 1, prod(pictures) + prod(self.sound.shape(ticks))

    def prompts(self, clip: Clip, window: Window) -> Prompts:
        """What a window shows: one shot's text, or each frame its own shot's."""
        first, spans = window.frames[0], shots_in(clip, window)
        texts = [self.board.prompts[span.shot] for span in spans]
        if len(clip.spans) == 1:
            positive = from_frame(texts[0], first, clip.latent_frames)
        else:
            starts = [span.start for span in spans]
            positive = of_shots(texts[0], texts, starts, self.board.meet)
        negative = from_frame(self.negative, first, clip.latent_frames)
        base = self.codec.grid.latent_frame_of(clip.start)
        frames = [base + frame for frame in window.frames]
        prompts = for_window(Prompts(positive, negative), frames, window.frames)
        return with_rate(prompts, self.model, self.size.fps)


class WindowsAsked(NamedTuple):
    """Windows as a node asks for them.

    Attributes:
        length, overlap: in pixel frames; 0 is what the checkpoint was made for.
        sharing: one of SHARING, of the shots.
        anchor: one of engine.take.anchor.ANCHORS.
    """

    length: int = 0
    overlap: int = 0
    sharing: str = SEPARATE
    anchor: str = "off"


def windowing_for(model: ModelPatcher, codec: Codec, asked: WindowsAsked) -> Windowing:
    """The windows in latent frames.

    Raises:
        FrameCountError: off the latent grid, with the nearest that fit.
        InputError: for windows that cannot hand over, or shots that a MODEL cannot hear apart.
    """
    grid = codec.grid
    made_for = settings_of(model)
    usual = grid.latent_frames(grid.whole(made_for.frames)) if made_for else codec.window
    length = grid.latent_frames(asked.length) if asked.length else usual
    if asked.overlap:
        overlap = grid.latent_frames(asked.overlap)
    elif made_for and made_for.overlap and length == usual:
        overlap = grid.latent_frames(made_for.overlap)
    else:
        overlap = codec.past(length)
    together, svi = asked.sharing == TOGETHER, asked.anchor == SVI
    if svi:
        check_svi(model)
        overlap = svi_overlap(grid.latent_frames(asked.overlap) if asked.overlap else 0)
    if together and config_of(model) is None:
        raise InputError(
            f"this model hears one text for all frames, so shots cannot be sampled together: "
            f"choose {SEPARATE!r}, or load the model with Longtake's LoadModel."
        )
    return check_windowing(Windowing(length, overlap, together, even=svi), grid)


def check_svi(model: ModelPatcher) -> None:
    """Refuse SVI 2.0 Pro's way to hand over where a MODEL does not read Wan's image channels."""
    family, config = host_family_of(model), config_of(model)
    wan = config is not None or (family is not None and family.wan)
    drives = family is not None and family.drives
    if not wan or drives or route_of(model) is not Route.IMAGE_CHANNELS:
        name = family.title if family else type(model.model).__name__
        raise InputError(
            f"{SVI} is for Wan's image-to-video files with its LoRAs, and this model ({name}) "
            f"reads no image beside its latents: choose another anchor."
        )


def recipe_for(
    model: ModelPatcher,
    vae: comfy.sd.VAE,
    board: Board,
    negative: Conditioning,
    size: TakeSize,
    windows: WindowsAsked,
    sampling: Sampling,
    *,
    canvas: Mapping[str, Any] | None = None,
    audio_vae: comfy.sd.VAE | None = None,
) -> Recipe:
    """What is asked for, if it fits together, with what was left open as it is best.

    Args:
        canvas: LATENT at the beginning of the take, of which some frames may be known.
        audio_vae: of the model's sound.

    Raises:
        InputError: for what does not fit together.
    """
    codec = codec_for(vae)
    check_kind(model, codec.grid.channels)
    check_grid(model, codec.grid)
    check_maker(model, vae)
    begins, guides = to_canvas(canvas, codec) if canvas else None, ()
    asked = Prompts(board.prompts[0], negative)
    if count := guides_at_the_end(model, begins, asked):
        begins, guides = without_guides(begins, asked, count)
    size = size.completed(model, vae, begins, board)
    codec.grid.check_size(size.width, size.height)
    if not size.seconds:
        raise InputError(
            "seconds 0: say how long the take shall be, or connect a storyboard or a canvas."
        )
    frames = codec.grid.nearest_frames(float(size.seconds), size.fps)
    check_end(board.shots, max(size.seconds, frames / size.fps))
    windowing = windowing_for(model, codec, windows)
    take = plan_take(board.shots, frames, size.fps, codec.grid, windowing)
    check_tracks([*board.prompts, negative], take, windows.anchor)
    latents = blank_canvas(codec, size).video.latents
    latents = latents.expand(-1, -1, take.clips[0].latent_frames, -1, -1)
    for prompt in board.prompts:
        check_fit(model, Prompts(prompt, negative), latents)
    if begins is not None:
        begins = followed(model, begins)
        check_regions(model, begins.video)
        size = replace(size, notes=(*size.notes, *begins.notes))
    if (left := float(sampling.sigmas[-1])) > 0.02:
        raise InputError(
            f"SIGMAS end at {left:.3g}, and windows go on from finished ones: let them end at 0."
        )
    recipe = Recipe(
        model, vae, board, negative, size, take, begins, sampling, windows.anchor, audio_vae, guides
    )
    check_sound(recipe)
    check_driving(model, begins and begins.guidance)
    check_room(recipe)
    return recipe


def check_tracks(prompts: Sequence[Conditioning], take: Take, anchor: str) -> None:
    """Refuse Motion Brush's tracks for a take of several shots, or with another first frame."""
    if not any(TRACKED in extras for prompt in prompts for _, extras in prompt):
        return
    if sum(len(clip.spans) for clip in take.clips) > 1:
        raise InputError(
            "Motion Brush's tracks are of one shot, and this take has several: give each shot a "
            "Long Take of its own, or leave out Motion Brush."
        )
    if anchor not in FOLLOWING:
        raise InputError(
            f"Motion Brush's tracks go on from the first frame of each window, in the place of "
            f"which anchor {anchor!r} puts another: set it to {' or '.join(FOLLOWING)}."
        )


def check_room(recipe: Recipe) -> None:
    """Refuse windows that the memory there is cannot hold, sampled or decoded."""
    b, c, t, h, w = recipe.window_shape
    regions = recipe.canvas is not None and recipe.canvas.video.has_regions
    cfgs = cfgs_of(recipe.model, recipe.sampling)
    check_step(recipe.model, (b, c, t + recipe.lead, h, w), *cfgs, regions=regions)
    check_decoding(recipe.vae, recipe.window_shape)


def check_sound(recipe: Recipe) -> None:
    """Refuse an audio VAE, or known sound, that a MODEL has no use for."""
    begins, layout = recipe.canvas, recipe.sound
    if begins is not None:
        sound_for(recipe.model, begins)
    if recipe.audio_vae is None:
        return
    if layout is None:
        raise InputError(
            f"an audio VAE is connected, and {type(recipe.model.model).__name__} makes no sound: "
            f"disconnect it."
        )
    check_audio_vae(recipe.audio_vae, layout)


def check_maker(model: ModelPatcher, vae: comfy.sd.VAE) -> None:
    """Refuse Wan's VAE for another's model and the reverse, though their latents are alike."""
    family = host_family_of(model)
    wan = config_of(model) is not None or (family is not None and family.wan)
    if (wan or family is not None) and wan != streams(vae):
        title = "this model" if family is None else family.title
        raise InputError(
            f"the VAE is {'not ' if wan else ''}one of Wan's, and {title} was trained with "
            f"{'one' if wan else 'another'}: connect the VAE that belongs to the model."
        )


def blank_canvas(codec: Codec, size: TakeSize) -> Canvas:
    """An empty canvas of a take's size and rate, one latent frame long."""
    return Canvas.blank(codec, codec.grid.frames(1), size.height, size.width, size.fps)
