"""Inputs and outputs that several nodes have."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...engine.canvas.aspect import ASPECTS, FREE
from ...engine.canvas.canvas import Canvas
from ...engine.cluster.address import HERE
from ...host.comfyui.latent import to_latent
from ...host.comfyui.media_folders import find_media, media_menu
from ...host.comfyui.node_text import show_text
from ...host.comfyui.offers import offered
from ...host.sampling.experts import cfg_for
from ...host.sampling.sample import SAMPLERS, Sampling
from ...models.errors import InputError
from .kinds import Choice, File, Line, Number, Whole

BASICS, VIDEO_TOOLS = "Basics", "Video Tools"  # headings of newer hosts' essential nodes

WORKERS = Line("workers", default=HERE, optional=True, advanced=True)
SEED = Whole("seed", 0, 2**64 - 1, default=0, control_after_generate=True)
CFG = Number("cfg", 0.0, 100.0, default=4.0, step=0.05)
SAMPLER = Choice("sampler", SAMPLERS, default="euler")
ASPECT = Choice("aspect", (FREE, *ASPECTS), default=FREE, optional=True)
NO_FILE = ""  # not a word: the browser would try to preview a file of that name


def each_time() -> str:
    """For `fingerprint_inputs` of a node that runs whenever it is queued.

    NaN, which differs from itself, would do as well; but ComfyUI writes what comes back into the
    graph that saved files carry, and JSON has no NaN.
    """
    return f"queued at {time.time_ns()}"


def found_by(words: str, essentials: str | None = None) -> dict[str, Any]:
    """For a Schema: where newer hosts show the node.

    Args:
        words: other words, "a, b", under which their search finds it.
        essentials: the heading among their few essential nodes under which it stands.
    """
    return offered(io.Schema, search_aliases=words.split(", "), essentials_category=essentials)


def file_or_none(endings: Sequence[str]) -> File:
    """The choice of a file of the input or output folder, or of none."""
    return File(
        "file",
        menu=lambda: [NO_FILE, *media_menu(tuple(endings))],
        find=find_media,
        default=NO_FILE,
        none=NO_FILE,
        upload=io.UploadType.video,
    )


def file_chosen(kind: File, file: str, video: Any) -> Path | None:
    """The file that was chosen, None where a video is connected. Raises InputError for both."""
    if (video is None) == (kind.read(file) == NO_FILE):
        raise InputError("connect a video, or choose a file: one of the two.")
    return None if file == NO_FILE else find_media(file)


def cfg_input() -> io.Float.Input:
    return CFG.widget(
        "How strongly to follow the prompts: 4 for the built-in model, 5 or 6 for Wan. 1 "
        "ignores the negative prompt and halves the time. 0: what the checkpoint was trained for."
    )


def sampler_input() -> io.Combo.Input:
    return SAMPLER.widget(
        "The method that steps from one noise level to the next. euler is simple and good; uni_pc "
        "is what Wan's own code uses."
    )


def vae_input() -> io.Vae.Input:
    return io.Vae.Input("vae", tooltip="The VAE that belongs to the model.")


def audio_vae_input(optional: bool = False) -> io.Vae.Input:
    return io.Vae.Input(
        "audio_vae",
        optional=optional,
        tooltip="The audio VAE of a model that makes sound with its pictures: LTX-2's from core's "
        "LTXV Audio VAE Loader, MiniMax H3's from core's Load VAE.",
    )


def latent_output(canvas: Canvas, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A canvas as LATENT; the node shows the canvas's notes. `like`: see `to_latent`."""
    show_text("\n".join(canvas.notes))
    return to_latent(canvas, like)


def custom_sampler_input() -> io.Sampler.Input:
    return io.Sampler.Input(
        "custom_sampler",
        optional=True,
        tooltip="A SAMPLER to use instead of the one chosen above, from Diffusion Forcing, "
        "KSamplerSelect or any other node that makes one.",
    )


def read_sampling(
    model: Any, sigmas: Any, seed: int, cfg: float, sampler: str, custom: Any
) -> Sampling:
    """The arguments of Sample and Long Take; a cfg of 0 is what the checkpoint was made for."""
    return Sampling(
        sigmas,
        SEED.read(seed),
        CFG.read(cfg) or cfg_for(model),
        custom or SAMPLER.read(sampler),
    )
