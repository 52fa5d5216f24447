"""A node's progress, with an animated preview, and whether it was cancelled."""

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from .nested import pictures_in

PREVIEW_FPS = 8
OnStep = Callable[[int, Tensor, Tensor, int], None]
"""Called by core's samplers with (step, denoised, x, steps)."""


def check_cancelled() -> None:
    """Raises ComfyUI's interruption if Cancel was pressed.

    ComfyUI raises it once, in one thread; the threads that prefetch for that one stop as well.
    """
    if abandoned():
        raise comfy.model_management.InterruptProcessingException
    comfy.model_management.throw_exception_if_processing_interrupted()


def with_progress(chunks: Iterable[Tensor], total: int) -> Iterator[Tensor]:
    """A frame stream that moves the node's progress bar and stops at Cancel.

    Args:
        chunks: (frames, ...); closed at the end.
        total: how many frames there are.
    """
    bar = comfy.utils.ProgressBar(total)
    try:
        for chunk in chunks:
            check_cancelled()
            yield chunk
            bar.update(len(chunk))
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


@contextmanager
def cancel_within_networks() -> Iterator[None]:
    """Check for Cancel before each layer of any network: a part of a large video may take long."""
    handle = register_module_forward_pre_hook(lambda *_: check_cancelled())
    try:
        yield
    finally:
        handle.remove()


def latent_pictures(denoised: Tensor, latent_format: LatentFormat) -> list[Image.Image]:
    """Small images of the latent frames of the first video in `denoised`: (b, c, t, h, w).

    None of a model whose colours nobody has fitted.
    """
    if latent_format.latent_rgb_factors is None:
        return []
    latents = denoised[0].float()
    factors = torch.tensor(latent_format.latent_rgb_factors, device=latents.device)
    rgb = einsum(latents, factors, "c t h w, c rgb -> t h w rgb")
    if latent_format.latent_rgb_factors_bias is not None:
        rgb = rgb + torch.tensor(latent_format.latent_rgb_factors_bias, device=latents.device)
    levels = rgb.add(1).mul(127.5).clamp(0, 255).nan_to_num().byte().cpu()
    return [Image.fromarray(frame.numpy()) for frame in levels]


class Playback:
    """Plays the latest estimate of a video while the steps that refine it go on.

    It plays from a thread of its own, because a step may take minutes; and around the progress
    bar's hook, which would consume a Cancel that is meant for the sampler.

    Args:
        total: steps of all runs.
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
        if self._node is not None:  # without a node there is nowhere to show it
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(self._play,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        if self._node is not None:
            self._thread.join()

    def begin(self, before: int) -> None:
        """The next of several runs begins, after `before` steps of earlier ones."""
        self._before = before

    def show(self, step: int, frames: list[Image.Image]) -> None:
        """Show the video as it is after `step` steps. Raises ComfyUI's interruption at Cancel."""
        self._step, self._frames = self._before + step, frames
        self._bar.update_absolute(self._step, self._total, self._picture())

    def _picture(self) -> tuple[str, Image.Image, int] | None:
        frames = self._frames
        if not frames:
            return None
        return "JPEG", frames[next(self._number) % len(frames)], args.preview_size

    def _play(self) -> None:
        registry = host_progress.get_progress_state()
        while not self._stop.wait(1 / PREVIEW_FPS):
            if len(self._frames) > 1:
                registry.update_progress(self._node, self._step, self._total, self._picture())


def step_callback(
    model: ModelPatcher, playback: Playback, shapes: Sequence[Sequence[int]]
) -> OnStep:
    """A callback for core's samplers that shows the estimate after each step.

    Args:
        shapes: of the latents that are sampled, of pictures first.
    """
    latent_format = model.get_model_object("latent_format")

    def on_step(step: int, denoised: Any, x: Any, steps: int) -> None:
        playback.show(step + 1, latent_pictures(pictures_in(denoised, shapes), latent_format))

    return on_step
