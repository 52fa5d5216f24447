"""Storyboards in a graph: shots with their encoded prompts, and what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...engine.canvas.grid import LatentGrid
from ...engine.canvas.passes import usual_overlap
from ...engine.canvas.picture import fitted, opaque
from ...engine.media.sound import Sound
from ...engine.sampling.presets import defaults_for
from ...engine.take.beats import rhythm, snapped
from ...engine.take.layout import Layout, check_layout, frame_starts, plan_take, spans_of
from ...engine.take.storyboard import Shot, StoryboardError, checked, clock, joint_prompt, moved
from ...models.errors import InputError
from ..comfyui.conditioning import MEET, Conditioning, as_one, of_shots
from ..comfyui.latent import facts_of, samples_of
from ..networks.settings import settings_of
from ..networks.transformer import config_of
from ..networks.vae import grid_of
from ..sampling.image_channels import route_for
from ..sampling.sample import check_fit, check_sampling, with_rate
from ..video.clip import sound_from
from .known_frames import held_in
from .long_take import Recipe

SEPARATE, TOGETHER = "each by itself", "together"
SHARING = (SEPARATE, TOGETHER)


@dataclass(frozen=True, eq=False)
class Board:
    """A storyboard as it goes from node to node.

    prompts: CONDITIONING of each shot; joint: one sentence for all of them, for models that read
    one; meet: see `shots.of_shots`.
    """

    shots: tuple[Shot, ...]
    prompts: tuple[Conditioning, ...]
    joint: Conditioning
    seconds: Fraction
    fps: Fraction
    meet: float = MEET
    sound: Sound | None = None


def encoded(
    clip: comfy.sd.CLIP,
    shots: Sequence[Shot],
    seconds: Fraction,
    fps: Fraction,
    meet: float,
    sound: Sound | None = None,
) -> Board:
    """Encode the prompts of shots; a prompt that comes twice, once."""
    known: dict[str, Conditioning] = {}

    def read(prompt: str) -> Conditioning:
        if prompt not in known:
            known[prompt] = clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
        return known[prompt]

    prompts = tuple(read(shot.prompt) for shot in shots)
    joint = as_one(read(joint_prompt(shots)))
    return Board(tuple(shots), prompts, joint, seconds, fps, meet, sound)


def on_beats(
    shots: Sequence[Shot], audio: Mapping[str, Any], most: float, seconds: Fraction
) -> tuple[tuple[Shot, ...], Sound, str]:
    """The shots with their cuts on beats, the sound, and what was done, for people."""
    sound = sound_from(audio)
    found = rhythm(sound.samples, sound.rate)
    if not len(found.beats):
        return tuple(shots), sound, "no beat was found in the audio: the cuts stay"
    before = [shot.start for shot in shots]
    starts = snapped(before, found.beats, most, seconds)
    count = sum(a != b for a, b in zip(before, starts, strict=True))
    told = f"{found.tempo:.1f} beats a minute; {count} of {len(shots) - 1} cuts moved to a beat"
    return moved(shots, starts), sound, told


def in_one_window(board: Board) -> Conditioning:
    """A storyboard for samplers that paint it all in one go.

    One sentence for all where two shots begin on the same latent frame: LongTake can paint them,
    each by itself, but one window cannot.
    """
    grid = LatentGrid(1)  # of all Wan VAEs in time
    frames = grid.nearest_frames(float(board.seconds), board.fps)
    starts = frame_starts(board.shots, frames, board.fps)
    if len(board.shots) == 1:
        return board.prompts[0]
    try:
        spans = spans_of([(start, shot) for shot, start in enumerate(starts)], grid, board.shots)
    except StoryboardError:
        return board.joint
    return of_shots(board.joint, board.prompts, [span.start for span in spans], board.meet)


def listed(board: Board) -> str:
    """The shots, a line each, for the node."""
    return "\n".join(
        f"{clock(shot.start)} {'' if not shot.start else shot.transition + ' '}"
        f"{shot.prompt if len(shot.prompt) <= 60 else shot.prompt[:57] + '...'}"
        for shot in board.shots
    )


def single(positive: Conditioning, seconds: Fraction, fps: Fraction) -> Board:
    """A storyboard of one shot, already encoded."""
    shot = Shot(Fraction(0), "the prompt", where="the prompt")
    return Board((shot,), (positive,), positive, seconds, fps)


@dataclass(frozen=True)
class Frame:
    """Size and time of a take; 0 is left to the storyboard, the canvas or the model."""

    seconds: Fraction
    fps: Fraction
    width: int
    height: int

    def on_canvas(self, latent: Mapping[str, Any], grid: LatentGrid) -> "Frame":
        """With what a LATENT from Canvas says, where this says nothing."""
        samples, facts = samples_of(latent), facts_of(latent)
        fps = self.fps or Fraction(facts.get("fps", 0))
        seconds = self.seconds
        if not seconds and fps:
            seconds = grid.frames(samples.shape[2]) / fps
        height, width = (side * grid.stride_hw for side in samples.shape[3:])
        return replace(self, seconds=seconds, fps=fps, width=width, height=height)

    def for_board(self, board: Board) -> "Frame":
        return replace(self, seconds=self.seconds or board.seconds, fps=self.fps or board.fps)

    def for_model(self, model: ModelPatcher, grid: LatentGrid) -> "Frame":
        made = settings_of(model) or defaults_for(grid.channels)
        return replace(
            self,
            fps=self.fps or Fraction(made.fps),
            width=self.width or made.width,
            height=self.height or made.height,
        )


def layout_for(model: ModelPatcher, grid: LatentGrid, window: int, overlap: int, sharing: str):
    """Windows in latent frames, from pixel frames; 0 is what the checkpoint was made for.

    Raises:
        FrameCountError: off the latent grid, with the nearest that fit.
        InputError: for windows that cannot hand over, or shots that a MODEL cannot hear apart.
    """
    made = settings_of(model) or defaults_for(grid.channels)
    length = grid.latent_frames(window or made.frames)
    shared = grid.latent_frames(overlap) if overlap else usual_overlap(length)
    if sharing == TOGETHER and config_of(model) is None:
        raise InputError(
            f"this model hears one text for all frames, so shots cannot be painted together: "
            f"choose {SEPARATE!r}, or load the model with Longtake's LoadModel."
        )
    return check_layout(Layout(length, shared, sharing == TOGETHER), grid)


def recipe_for(
    model: ModelPatcher,
    vae: comfy.sd.VAE,
    board: Board,
    negative: Conditioning,
    frame: Frame,
    layout: Layout,
    canvas: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Recipe:
    """All that a take needs, looked at before any weight is moved.

    Args:
        frame: complete.
        canvas: LATENT at the beginning of the take, of which some frames are known.
        settings: sigmas, seed, cfg, sampler, anchor and sound of the Recipe.

    Raises:
        InputError: for what does not fit together.
    """
    grid = grid_of(vae)
    grid.check_size(frame.width, frame.height)
    check_sampling(settings["sampler"], settings["sigmas"], settings["cfg"])
    if not frame.seconds:
        raise InputError(
            "seconds 0: say how long the take shall be, or connect a storyboard or a canvas."
        )
    frames = grid.nearest_frames(float(frame.seconds), frame.fps)
    shots = checked(board.shots, max(frame.seconds, frames / frame.fps))
    take = plan_take(shots, frames, frame.fps, grid, layout)
    sample = torch.zeros(grid.latent_shape(1, frame.height, frame.width))
    for prompt in board.prompts:
        check_fit(model, prompt, negative, sample)
    images = {
        number: first_picture(shot.image, frame)
        for number, shot in enumerate(shots)
        if shot.image is not None
    }
    config = config_of(model)
    size, route = (frame.height, frame.width), route_for(config)
    told = {"fps": frame.fps}
    return Recipe(
        model,
        vae,
        tuple(with_rate(prompt, config, told) for prompt in board.prompts),
        with_rate(negative, config, told),
        shots,
        held_in(take, vae, frame.fps, size, route, images, canvas),
        take,
        layout,
        grid,
        frame.fps,
        frame.width,
        frame.height,
        meet=board.meet,
        **settings,
    )


def first_picture(image: Tensor, frame: Frame) -> Tensor:
    """The IMAGE that a shot begins with, cut to the take's shape: (1, h, w, 3)."""
    return fitted(opaque(image[:1].cpu()), frame.height, frame.width, "crop")
