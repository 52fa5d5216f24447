"""How far a node is, with a picture that moves, and whether it was cancelled."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.cli_args import args
from comfy.latent_formats import LatentFormat
from comfy.model_patcher import ModelPatcher
from comfy_execution import progress as host_progress
from comfy_execution.utils import get_executing_context
from einops import einsum
from PIL import Image
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from ...engine.frames.prefetch import abandoned

PREVIEW_FPS = 8
OnStep = Callable[[int, Tensor, Tensor, int], None]  # (step, clean, x, steps), as samplers call it


def check_cancelled() -> None:
    """Raises what ComfyUI stops a prompt by, if somebody pressed Cancel.

    ComfyUI tells it once. So does a thread end that works ahead for one that heard it.
    """
    if abandoned():
        raise comfy.model_management.InterruptProcessingException
    comfy.model_management.throw_exception_if_processing_interrupted()


@contextmanager
def cancel_within_networks() -> Iterator[None]:
    """Cancel is heard before each layer of any network: a piece of a large video may take long."""
    handle = register_module_forward_pre_hook(lambda *_: check_cancelled())
    try:
        yield
    finally:
        handle.remove()


def latent_pictures(clean: Tensor, latent_format: LatentFormat) -> list[Image.Image]:
    """Small pictures of the latent frames of the first video in clean: (b, c, t, h, w)."""
    latents = clean[0].float()
    factors = torch.tensor(latent_format.latent_rgb_factors, device=latents.device)
    rgb = einsum(latents, factors, "c t h w, c rgb -> t h w rgb")
    if latent_format.latent_rgb_factors_bias is not None:
        rgb = rgb + torch.tensor(latent_format.latent_rgb_factors_bias, device=latents.device)
    levels = rgb.add(1).mul(127.5).clamp(0, 255).nan_to_num().byte().cpu()
    return [Image.fromarray(frame.numpy()) for frame in levels]


class Playback:
    """Shows the latest estimate of a video as a film, while the steps that refine it go on.

    The film comes from a thread of its own, because a step may take minutes. It goes past the
    progress bar's hook, which would swallow a Cancel that is meant for the sampler.
    """

    def __init__(self, total: int):
        self._bar = comfy.utils.ProgressBar(total)
        self._total, self._step, self._before = total, 0, 0
        self._frames: list[Image.Image] = []
        self._number = count()
        self._stop = threading.Event()
        context = get_executing_context()
        self._node = None if context is None else context.node_id

    def __enter__(self) -> "Playback":
        if self._node is not None:  # otherwise there is nobody to show it to
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(self._play,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        if self._node is not None:
            self._thread.join()

    def begin(self, before: int) -> None:
        """The next of several runs begins, after so many steps of those before it."""
        self._before = before

    def show(self, step: int, frames: list[Image.Image]) -> None:
        """`step` steps are done, and this is what the video looks like. Honours Cancel."""
        self._step, self._frames = self._before + step, frames
        self._bar.update_absolute(self._step, self._total, self._picture())

    def _picture(self) -> tuple[str, Image.Image, int]:
        frames = self._frames
        return "JPEG", frames[next(self._number) % len(frames)], args.preview_size

    def _play(self) -> None:
        registry = host_progress.get_progress_state()
        while not self._stop.wait(1 / PREVIEW_FPS):
            if len(self._frames) > 1:
                registry.update_progress(self._node, self._step, self._total, self._picture())


def step_callback(model: ModelPatcher, playback: Playback) -> OnStep:
    """A callback for core's samplers that shows each step's estimate."""
    latent_format = model.get_model_object("latent_format")

    def on_step(step: int, clean: Tensor, x: Tensor, steps: int) -> None:
        playback.show(step + 1, latent_pictures(clean, latent_format))

    return on_step
