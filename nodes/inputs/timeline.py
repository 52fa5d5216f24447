"""What the nodes of the timeline have in common: a canvas and clips in, a canvas out."""

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.picture import FITS
from ...engine.canvas.timeline import LONGEST
from ...engine.rates import MAX_RATE
from ...host.comfyui.latent import to_canvas
from ...host.networks.codec import codec_for
from .kinds import Choice, Number

CATEGORY = "Longtake/Timeline"
ADDED = Number("seconds", 0.01, LONGEST, default=1.0)
FPS = Number("fps", 0.0, MAX_RATE, default=0.0, optional=True)
FIT = Choice("fit", FITS, default="crop")


def canvas_of(latent: Mapping[str, Any], vae: Any) -> Canvas:
    """The canvas that goes into a node, with the VAE beside it."""
    return to_canvas(latent, codec_for(vae))


def canvas_input(more: str) -> io.Latent.Input:
    return io.Latent.Input(
        "latent", tooltip=f"The canvas, from Canvas or another Timeline node. {more}"
    )


def canvas_output() -> io.Latent.Output:
    return io.Latent.Output(
        display_name="latent",
        tooltip="For Sample, core's samplers or another Timeline node. Its mask marks the known "
        "frames.",
    )


def fit_input() -> io.Combo.Input:
    return FIT.widget(
        "If the aspect ratio differs from the canvas's: crop fills the canvas and cuts off the "
        "rest, pad shows everything between black bars, stretch distorts it."
    )


def frames_input(tooltip: str) -> io.MultiType.Input:
    return io.MultiType.Input("clip", types=[io.Image, io.Video], tooltip=tooltip)


def frames_fps_input() -> io.Float.Input:
    return FPS.widget(
        "Frames per second of an IMAGE batch; 0: the canvas's. A VIDEO knows its own."
    )


def clip_input(name: str = "clip", more: str = "", optional: bool = False) -> io.MultiType.Input:
    return io.MultiType.Input(
        name,
        types=[io.Latent, io.Image, io.Video],
        optional=optional,
        tooltip=f"A LATENT such as Sample's, used bit for bit; an IMAGE batch; or a VIDEO.{more}",
    )


def clip_fps_input() -> io.Float.Input:
    return FPS.widget(
        "Frames per second of an IMAGE batch; 0: what the VAE's model was trained at. A LATENT "
        "or a VIDEO knows its own."
    )


def clip_sound_input() -> io.Vae.Input:
    return io.Vae.Input(
        "audio_vae",
        optional=True,
        tooltip="The audio VAE of a model that makes sound (LTX-2, MiniMax H3): a VIDEO's own "
        "sound then stays with its frames, as a LATENT's does. Without it, the sound is generated.",
    )


def added_input(what: str) -> io.Float.Input:
    return ADDED.widget(f"{what} Rounded to a number of frames that fits the VAE.")
