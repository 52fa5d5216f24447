"""A prompt or a storyboard -> a VIDEO of any length."""

from fractions import Fraction
from typing import Any

from comfy_api.latest import io

from ...engine.cluster.address import HERE, workers_address
from ...engine.rates import MAX_RATE, frame_rate
from ...engine.take.anchor import ANCHORS
from ...host.cluster.crew import Crew, address_with_seeds
from ...host.comfyui.films import films_lost
from ...host.comfyui.graph import graph_metadata
from ...host.take.long_take import film_take
from ...host.take.recipe import SEPARATE, SHARING, Recipe, TakeSize, WindowsAsked, recipe_for
from ...host.take.storyboards import one_shot, with_audio
from ...models.errors import InputError
from ..inputs.kinds import Choice, Number, Whole, verdict
from ..inputs.shared import (
    ASPECT,
    SAMPLER,
    SEED,
    WORKERS,
    audio_vae_input,
    cfg_input,
    custom_sampler_input,
    found_by,
    read_sampling,
    sampler_input,
    vae_input,
)
from ..prompt.storyboard import StoryboardType, to_fraction

SECONDS = Number("seconds", 0.0, 36_000.0, default=0.0)
FPS = Number("fps", 0.0, MAX_RATE, default=0.0)
WIDTH = Whole("width", 0, 8192, default=0, step=16)
HEIGHT = Whole("height", 0, 8192, default=0, step=16)
WINDOW = Whole("window", 0, 4001, default=0, advanced=True)
OVERLAP = Whole("overlap", 0, 4001, default=0, advanced=True)
SHOTS = Choice("shots", SHARING, default=SEPARATE)
ANCHOR = Choice("anchor", ANCHORS, default="off", advanced=True)
KEPT, DELETED = "keep", "delete when done"
KEEP = Choice("keep", (KEPT, DELETED), default=KEPT, advanced=True)
SIDES = (
    "Pixels, a multiple of 16 (Wan 2.1) or 32 (TI2V-5B, built-in). 0: what the model was trained "
    "at. A canvas, if connected, decides both."
)


class LongTake(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLongTake",
            display_name="Long Take (Longtake)",
            category="Longtake/Sample",
            **found_by("long video, text to video, t2v, timeline, minute, context windows"),
            description="Generates a video of any length, window by window, and writes it to disk "
            "as it goes. Cancel leaves what is done as a video; queued again, it resumes there.",
            inputs=[
                io.Model.Input("model", tooltip="A video model, with or without LoRAs."),
                vae_input(),
                io.Conditioning.Input(
                    "negative",
                    tooltip="What it should not show. An empty prompt for the built-in model.",
                ),
                io.Sigmas.Input(
                    "sigmas", tooltip="The noise levels of each window, from Schedule."
                ),
                *_size_inputs(),
                SEED.widget(
                    "Another number gives another take. A frame's noise depends only on the seed "
                    "and on the frame's place, not on the windows."
                ),
                cfg_input(),
                sampler_input(),
                *_window_inputs(),
                *_optional_inputs(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The take, for Save Video.")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls,
        sampler=None,
        shots=None,
        anchor=None,
        keep=None,
        aspect=ASPECT.default,
        workers=HERE,
    ) -> bool | str:
        return verdict(
            (SAMPLER.read, sampler),
            (SHOTS.read, shots),
            (ANCHOR.read, anchor),
            (KEEP.read, keep),
            (ASPECT.read, aspect),
            (workers_address, workers),
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return films_lost()

    @classmethod
    def execute(cls, keep: str, workers: str = HERE, **inputs: Any) -> io.NodeOutput:
        hidden = cls.hidden
        address = workers_address(workers) or address_with_seeds(hidden.prompt, hidden.unique_id)
        recipe = asked_recipe(**inputs)
        crew = address and Crew(address, hidden.prompt, hidden.unique_id, inputs)
        metadata, kept = graph_metadata(hidden), KEEP.read(keep) == KEPT
        video, pictures = film_take(recipe, keep=kept, metadata=metadata, crew=crew or None)
        return io.NodeOutput(video, ui=pictures)


def asked_recipe(
    model,
    vae,
    negative,
    sigmas,
    seconds: float,
    fps: float,
    width: int,
    height: int,
    seed: int,
    cfg: float,
    sampler: str,
    window: int,
    overlap: int,
    shots: str,
    anchor: str,
    positive=None,
    storyboard=None,
    audio=None,
    canvas=None,
    custom_sampler=None,
    aspect: str = ASPECT.default,
    audio_vae=None,
) -> Recipe:
    """What the node's other inputs ask for, each looked at: here, or by a worker."""
    if (positive is None) == (storyboard is None):
        raise InputError("connect a positive prompt or a storyboard: one of the two.")
    return recipe_for(
        model,
        vae,
        with_audio(storyboard or one_shot(positive), audio),
        negative,
        _take_size(seconds, fps, width, height, aspect),
        WindowsAsked(
            WINDOW.read(window), OVERLAP.read(overlap), SHOTS.read(shots), ANCHOR.read(anchor)
        ),
        read_sampling(model, sigmas, seed, cfg, sampler, custom_sampler),
        canvas=canvas,
        audio_vae=audio_vae,
    )


def _size_inputs() -> list:
    """Widgets for time and size."""
    return [
        SECONDS.widget(
            "How long the take is. 0: as long as the storyboard or, without one, the canvas."
        ),
        FPS.widget(
            "Frames per second. 0: those of the canvas's known frames, or the storyboard's, or the "
            "canvas's, or the model's own."
        ),
        WIDTH.widget(SIDES),
        HEIGHT.widget(SIDES),
    ]


def _window_inputs() -> list:
    """Widgets for how the take is put together."""
    return [
        WINDOW.widget(
            "Frames sampled at a time: 1 + 4·n. 0: what the model was trained on (17 for the "
            "built-in one, 81 for Wan 2.1). A step's memory and time grow with it."
        ),
        OVERLAP.widget(
            "Frames that each window continues from: 1 + 4·n. 0: a fifth of a window or more. "
            "More keeps motion more consistent, and takes longer."
        ),
        SHOTS.widget(
            "each by itself: after a cut, a shot begins in a window of its own, on the exact "
            "frame. together: shots share windows and attend to each other, so they look alike."
        ),
        ANCHOR.widget(
            "Against drift: bring each window's latent statistics halfway back to the first one's, "
            "show each window the shot's first frame, or both. SVI 2.0 Pro: how Wan 2.2 I2V with "
            "its LoRAs hands over."
        ),
        KEEP.widget(
            "keep: finished windows stay in output/longtake/windows (4 GiB at most), so that after "
            "a change only what depends on it is sampled. Or delete them when the take is done."
        ),
    ]


def _optional_inputs() -> list:
    """What the take shows, and what else it may be given."""
    return [
        io.Conditioning.Input(
            "positive", optional=True, tooltip="What the take shows. Or connect a storyboard."
        ),
        StoryboardType.Input(
            "storyboard", optional=True, tooltip="Shots with their prompts. Or connect a prompt."
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Sound from the first frame on, instead of the storyboard's; it ends with the "
            "take. With audio_vae the pictures are sampled to it.",
        ),
        io.Latent.Input(
            "canvas",
            optional=True,
            tooltip="A canvas, empty or with known frames, which stay exactly as they are. It sets "
            "the size and, without a storyboard, the seconds and frame rate where those are 0.",
        ),
        custom_sampler_input(),
        ASPECT.widget(
            "Width to height. free: width and height are used as they are. Otherwise they only set "
            "the number of pixels; the node shows the size. A canvas has a size of its own."
        ),
        audio_vae_input(optional=True),
        WORKERS.widget(
            "this ComfyUI, or a Ray cluster on your network whose machines sample the clips "
            "between cuts: auto, or HOST:PORT of its head. See the node's help."
        ),
    ]


def _take_size(seconds: float, fps: float, width: int, height: int, aspect: str) -> TakeSize:
    """What the widgets say, each looked at."""
    fps = FPS.read(fps)
    return TakeSize(
        to_fraction(SECONDS.read(seconds)),
        frame_rate(fps) if fps else Fraction(0),
        WIDTH.read(width),
        HEIGHT.read(height),
        ASPECT.read(aspect),
    )
