"""Whether a model, its prompts and latents belong together, asked before any weight is moved."""

from collections.abc import Iterable

import comfy.context_windows
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.grid import Grid
from ...engine.canvas.plan import Window
from ...engine.sampling.host_presets import grid_like
from ...models.errors import InputError, NotFiniteError
from ..comfyui.conditioning import IMAGE, Prompts
from ..comfyui.latent import largest_of
from ..networks.settings import host_family_of
from ..networks.transformer import check_channels, check_text, config_of
from .camera import check_motion
from .guides import guides_at_the_end

LARGEST_TEXT = 1e10  # of a prompt's numbers; no encoder comes near it


def check_fit(model: ModelPatcher, prompts: Prompts, latents: Tensor) -> None:
    """Refuse prompts and latents made for another model, before its weights are moved."""
    config, texts = config_of(model), [text for prompt in prompts for text, _ in prompt]
    given = (text for text in texts if torch.is_tensor(text) and text.numel())
    if not all(largest_of(text) < LARGEST_TEXT for text in given):  # false for NaN, too
        raise NotFiniteError(
            "the conditioning holds NaN or infinite numbers, or far too large ones: check the "
            "weights in the prompt, such as (word:1.3), and the text encoder's file."
        )
    check_kind(model, latents.shape[1])
    check_context_windows(model)
    check_motion(model, prompts, latents.shape)
    check_batch(model, len(latents))
    check_pictures(model, prompts)
    if config is None:
        return
    for text in texts:
        check_text(text, config)


def check_lengths(model: ModelPatcher, channels: int, windows: Iterable[Window]) -> None:
    """Refuse windows that are no clips on a MODEL's grid: it would sample them without a word."""
    family = host_family_of(model)
    grid = grid_like(channels, with_sound=family is not None and family.sound is not None)
    for n in {len(window.frames) for window in windows} - {1}:
        if (near := grid.as_clip(n)) != n:
            raise InputError(
                f"{n} latent frames are no clip of {family.title}; {near} are, which is "
                f"{grid.frames(near)} frames: make the canvas with the model's own VAE."
            )


def check_pictures(model: ModelPatcher, prompts: Prompts) -> None:
    """Refuse a picture in the prompts of a Wan model for text, which would be left out unsaid."""
    config, family, network = config_of(model), host_family_of(model), model.model.diffusion_model
    if config is None:
        reads = family is None or not family.wan or family.vace or network.in_dim > network.out_dim
    else:
        reads = config.in_channels > config.out_channels
    if reads or not any(IMAGE in extras for prompt in prompts for _, extras in prompt):
        return
    raise InputError(
        "the prompts bring a picture, as WanImageToVideo's do, and this model has no channels for "
        "one: connect the prompts themselves and Pin Image, or load an image-to-video file."
    )


def check_context_windows(model: ModelPatcher) -> None:
    """Refuse core's Context Windows on models of core's of which the host cuts the latents only."""
    family = host_family_of(model)
    if family is None or model.model_options.get("context_handler") is None:
        return
    if family.sound:
        what, cut = "sound", hasattr(model.model, "map_context_window_to_modalities")
    else:
        whole = family.mask_channels and not hasattr(comfy.context_windows, "WindowingState")
        what, cut = "picture", not whole
    if not cut:
        raise InputError(
            f"Context Windows of this ComfyUI do not cut the {what} of {family.title} to a window: "
            f"leave that node out, and sample with Long Take."
        )


def check_grid(model: ModelPatcher, grid: Grid) -> None:
    """Refuse a VAE whose latents lie otherwise in time than a MODEL's, though they are as wide."""
    config, family = config_of(model), host_family_of(model)
    if config is None and family is None:
        return
    own = grid_like(grid.channels, with_sound=family is not None and family.sound is not None)
    if type(own) is not type(grid):
        name = family.title if family else "the built-in one or one like it"
        raise InputError(
            f"the VAE packs frames in another way than this model ({name}): connect the VAE that "
            f"belongs to it."
        )


def check_batch(model: ModelPatcher, videos: int) -> None:
    """Refuse a batch where a MODEL samples one video at a time."""
    family = host_family_of(model)
    if family is not None and family.single and videos > 1:
        raise InputError(
            f"{family.title} samples one video at a time, and these are {videos}: set batch_size "
            f"to 1, or take one with core's LatentFromBatch."
        )


def check_kind(model: ModelPatcher, channels: int) -> None:
    """Refuse latents of another kind than a MODEL generates."""
    config, family = config_of(model), host_family_of(model)
    if config is not None:
        check_channels(channels, config)
        return
    own = family and family.channels
    own = own or model.get_model_object("latent_format").latent_channels
    if channels != own:
        name = family.title if family else type(model.model).__name__
        raise InputError(
            f"the latents have {channels} channels, but this model ({name}) generates {own}: make "
            f"the canvas, or encode, with the VAE that belongs to it."
        )


def check_guides(model: ModelPatcher, canvas: Canvas, prompts: Prompts) -> str:
    """What to say of guides that core's LTXVAddGuide put at a canvas's end; nothing if it did not.

    Raises:
        InputError: where they cannot be told from the video.
    """
    count = guides_at_the_end(model, canvas, prompts)
    if not count:
        return ""
    if canvas.pins is not None or len(canvas.windows) > 1:
        raise InputError(
            "the prompts have guides of LTXVAddGuide, and the canvas has pinned pictures or "
            "windows of its own: pin all pictures with Pin Image, or connect both to Long Take."
        )
    return (
        f"the last {count} latent frames are LTXVAddGuide's guides\n"
        f"connect LTXVCropGuides before Decode, which would show them"
    )
