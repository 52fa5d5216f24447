"""Inputs and outputs that several nodes have."""

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..engine.canvas.canvas import Canvas
from ..engine.canvas.timeline import LONGEST
from ..host.comfyui.latent import to_latent
from ..host.comfyui.node_text import show_text
from ..host.sampling.sample import SAMPLERS
from .inputs import Choice, Number, Whole

TIMELINE = "Longtake/Timeline"  # a category

SEED = Whole("seed", 0, 2**64 - 1, default=0, control_after_generate=True)
CFG = Number("cfg", 0.0, 100.0, default=4.0)
SAMPLER = Choice("sampler", SAMPLERS, default="euler")
ADDED = Number("seconds", 0.01, LONGEST, default=1.0)
CLIP_FPS = Number("fps", 0.0, 240.0, default=0.0, step=0.01, optional=True)


def cfg_input() -> io.Float.Input:
    return CFG.widget(
        "How strongly the prompts are followed: 4 for the built-in model, 5 or 6 for Wan. 1 "
        "ignores the negative prompt and halves the time. 0: what the checkpoint was made for."
    )


def sampler_input() -> io.Combo.Input:
    return SAMPLER.widget(
        "How to get from one noise level to the next. euler is plain and exact; uni_pc is "
        "what Wan's own code uses."
    )


def vae_input() -> io.Vae.Input:
    return io.Vae.Input("vae", tooltip="The VAE that belongs to the model.")


def canvas_output() -> io.Latent.Output:
    return io.Latent.Output(
        display_name="latent",
        tooltip="For Sample, core's samplers, or another node of this kind. A mask says what is "
        "known.",
    )


def latent_output(canvas: Canvas, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A canvas as LATENT; the node shows what there is to say of it. `like`: see `to_latent`."""
    show_text("\n".join(canvas.notes))
    return to_latent(canvas, like)


def clip_input(name: str = "clip", more: str = "", optional: bool = False) -> io.MultiType.Input:
    return io.MultiType.Input(
        name,
        types=[io.Latent, io.Image, io.Video],
        optional=optional,
        tooltip="A LATENT, such as Sample's, of which not a bit changes; or an IMAGE batch, or a "
        f"VIDEO.{more}",
    )


def clip_fps_input() -> io.Float.Input:
    return CLIP_FPS.widget(
        "Frames per second of an IMAGE batch; 0: what the VAE's model was trained at. A "
        "LATENT and a VIDEO know their own."
    )


def added_input(what: str) -> io.Float.Input:
    return ADDED.widget(f"{what} The nearest number of frames that the VAE can pack is taken.")


def custom_sampler_input() -> io.Sampler.Input:
    return io.Sampler.Input(
        "custom_sampler",
        optional=True,
        tooltip="A SAMPLER to be used in place of the one chosen above: from Diffusion Forcing, "
        "KSamplerSelect or any other node that makes one.",
    )
