"""What a VACE checkpoint is shown of a canvas, as core's WanVaceToVideo puts it into CONDITIONING.

What it shows is said in `engine.canvas.vace`. Contexts that core's node has put there stay, and
the canvas's comes after them.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.grid import CausalGrid
from ...engine.canvas.guidance import Guidance
from ...engine.canvas.known import Pins, grey_like
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.regions import KeptPixels
from ...engine.canvas.vace import Contexts, VaceContext
from ...models.errors import InputError
from ..comfyui.conditioning import Prompts
from ..networks.settings import host_family_of
from ..networks.transformer import FRAME_STRENGTHS, LEAD, config_of, network_of
from .routes import Route, route_of

HANDLER = "context_handler"  # of core's Context Windows, by core's name
FRAMES, MASK, STRENGTH = "vace_frames", "vace_mask", "vace_strength"  # core's names


class VaceRoad:
    """What a VACE checkpoint is shown of a video, window by window.

    Args:
        model: the MODEL.
        pins, guidance, kept: of the canvas.
        total: latent frames of the canvas.
    """

    def __init__(
        self,
        model: ModelPatcher,
        pins: Pins | None,
        guidance: Guidance | None,
        total: int,
        kept: KeptPixels | None = None,
    ):
        self._ours, self._total = config_of(model) is not None, total
        self._said = pins is not None or guidance is not None
        channels = model.model.latent_format.latent_channels
        zeros = torch.zeros(1, channels, 3, 1, 1)
        made = model.model.process_latent_out  # the network's numbers -> those of a LATENT
        self._contexts = Contexts(
            CausalGrid(channels),
            made(grey_like(zeros)),
            made(zeros[:, :, :1]),
            pins,
            guidance,
            kept,
        )

    @property
    def lead(self) -> int:
        """How many latent frames stand in front of each window: the references."""
        return self._contexts.lead

    def beside(self, window: Sequence[int], prompts: Prompts, part: MaskedLatents) -> Prompts:
        """Both prompts with what is shown beside some latent frames.

        Args:
            window: they follow one another.
            part: their latents, and what of them is known.
        """
        known = part.mask is not None and bool((part.mask < 1).any())
        extras = [extras for prompt in prompts for _, extras in prompt]
        context = None
        if self._said or known or not all(FRAMES in one for one in extras):
            context = self._contexts.of(range(window[0], window[-1] + 1), part)
        return Prompts(
            *(
                [[text, self._with(extras, context, window)] for text, extras in prompt]
                for prompt in prompts.led_by(self.lead)
            )
        )

    def _with(
        self, extras: Mapping[str, Any], context: VaceContext | None, window: Sequence[int]
    ) -> dict[str, Any]:
        before = [self._cut(frames, window) for frames in extras.get(FRAMES, ())]
        masks = [self._cut(mask, window) for mask in extras.get(MASK, ())]
        strengths = [*extras.get(STRENGTH, [1.0] * len(before))]
        rows = [F.pad(torch.ones(len(window)), (self.lead, 0)) for _ in before]
        if context is not None:
            before, masks = [*before, context.frames], [*masks, context.mask]
            # Core's own network has one strength for all frames.
            strengths.append(1.0 if self._ours else float(context.strength.mean()))
            rows.append(context.strength)
        values = {FRAMES: before, MASK: masks, STRENGTH: strengths}
        return {**extras, **values, FRAME_STRENGTHS: rows, LEAD: self.lead}

    def _cut(self, x: Tensor, window: Sequence[int]) -> Tensor:
        """What core's node made, (b, c, t, h, w), for a window; it knows of no references here."""
        if x.shape[2] == self._total != len(window):
            x = x[:, :, list(window)]
        if x.shape[2] != len(window):
            raise InputError(
                f"the prompts hold VACE's input of {x.shape[2]} latent frames, and the canvas has "
                f"{self._total}: give WanVaceToVideo the canvas's length, and leave its "
                f"reference_image to Reference Images."
            )
        return F.pad(x, (0, 0, 0, 0, self.lead, 0))


def vace_for(
    model: ModelPatcher,
    pins: Pins | None,
    guidance: Guidance | None,
    total: int,
    kept: KeptPixels | None = None,
) -> tuple[VaceRoad | None, int]:
    """What a MODEL is shown, and how many latent frames stand in front; None and 0 if it is no
    VACE checkpoint.

    Raises:
        InputError: where there is something to follow that it cannot be shown.
    """
    check_guidance(model, guidance)
    if route_of(model) is not Route.VACE:
        return None, 0
    road = VaceRoad(model, pins, guidance and guidance.as_control(), total, kept)
    return road, road.lead


def followed(model: ModelPatcher, canvas: Canvas) -> Canvas:
    """The canvas, without what came with its clip where a MODEL cannot follow that; it says so."""
    guidance = canvas.guidance
    if guidance is None or not guidance.handed_on or route_of(model) is Route.VACE:
        return canvas
    left = "the references and control clip that came with the clip are for VACE: they are left out"
    return replace(canvas, guidance=None).noted(left)


def check_guidance(model: ModelPatcher, guidance: Guidance | None) -> None:
    """Refuse what a MODEL cannot be shown: references and control clips without VACE, and clips
    that a character performs where it follows none."""
    if guidance is None or route_of(model) is Route.VACE:
        return
    family, network = host_family_of(model), network_of(model)
    title = network.family.title if network else family.title if family else "this model"
    if guidance.driving is not None and not (family and family.drives):
        raise InputError(
            f"the canvas holds a clip that a character performs, and this model is {title}, which "
            f"follows none: load Wan-Animate 2, Wan 2.2 Animate or SCAIL-2 with ComfyUI's own "
            f"loader, or a VACE checkpoint."
        )
    held = [
        name
        for name, there in (
            ("references", guidance.references),
            ("a control clip", guidance.control),
        )
        if there
    ]
    if held:
        raise InputError(
            f"the canvas holds {' and '.join(held)}, which only VACE checkpoints follow, and this "
            f"model is {title}: load one, such as wan2.1_vace_1.3B, or bypass Reference Images and "
            f"Control Video."
        )


def led_windows(model: ModelPatcher, lead: int) -> ModelPatcher:
    """The MODEL, whose context windows, if it has any, each begin with what stands in front.

    Core would give it to the first of them alone.

    Args:
        lead: latent frames in front of the video, such as references.
    """
    handler = model.model_options.get(HANDLER)
    cut = getattr(type(handler), "get_context_windows", None)
    if not lead or cut is None:
        return model
    led = copy(handler)

    def with_lead(network: Any, x: Tensor, options: dict[str, Any]) -> list[Any]:
        video = x.narrow(led.dim, lead, x.shape[led.dim] - lead)
        windows = cut(led, network, video, options)
        for window in windows:
            window.index_list = [*range(lead), *(lead + k for k in window.index_list)]
            window.context_length = len(window.index_list)
        return windows

    led.get_context_windows = with_lead
    model = model.clone()
    model.model_options[HANDLER] = led
    return model
