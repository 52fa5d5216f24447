"""What people see of a take: its plan before the first step, then how far it is and until when."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image

from ...engine.container.publish import video_bytes
from ...engine.take.layout import Take
from ...engine.take.time_left import (
    BUSY,
    SMALL,
    Clock,
    duration,
    operations_a_second,
    step_operations,
)
from ..comfyui.node_text import show_text
from ..comfyui.progress import Playback

TELL = 1.0  # seconds between two texts on the node
LARGE = 8192  # width up to which products are tried on a card: 0.4 GB, and 10 ms on a fast one


def seconds_of_product(model: ModelPatcher, n: int) -> float:
    """What a product of two n × n matrices takes on a model's device, in its dtype."""
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    try:
        x = torch.ones(n, n, device=model.load_device, dtype=dtype)
        (x @ x).sum().item()  # the first one sets up
        begun = time.perf_counter()
        for _ in range(4):
            y = x @ x
        y.sum().item()
    except torch.cuda.OutOfMemoryError:
        return math.inf  # no faster than a smaller one
    return (time.perf_counter() - begun) / 4


def guessed_step(model: ModelPatcher, shape: tuple[int, ...], cfg: float) -> float:
    """Seconds that a step on latents of `shape` may take, by arithmetic."""
    network = model.model.diffusion_model
    patch = getattr(network, "patch_size", (1, 2, 2))
    tokens = shape[2] * shape[3] * shape[4] // (patch[0] * patch[1] * patch[2])
    parameters = sum(p.numel() for p in network.parameters())
    blocks = getattr(network, "blocks", ())
    width = next((p.shape[0] for p in network.parameters() if p.ndim > 1), 1024)
    prompts = 1 if cfg == 1 else 2
    work = step_operations(parameters, tokens, width, len(blocks), prompts)
    largest = SMALL if model.load_device.type == "cpu" else LARGE
    return work / (BUSY * operations_a_second(partial(seconds_of_product, model), largest))


def memory_of(model: ModelPatcher, shape: tuple[int, ...]) -> float:
    """Bytes that sampling holds at once: the weights, and what a step works in."""
    return model.model_size() + model.model.memory_required([2 * shape[0], *shape[1:]])


def room_of(take: Take, shape: tuple[int, ...], width: int, height: int) -> tuple[float, float]:
    """Bytes on disk: of the windows that are kept, and of the video, about."""
    _, c, _, h, w = shape
    latents = sum(clip.latent_frames for clip in take.clips) * c * h * w * 4
    return latents, video_bytes(take.frames, width, height)


class TakeProgress(Playback):
    """Counts the steps of a whole take, and tells on the node how long it will be.

    Args:
        windows: to be sampled.
        steps: of each.
        guess: seconds a step may take.
        pieces: latent frames to be decoded.
    """

    def __init__(self, windows: int, steps: int, guess: float, pieces: int):
        super().__init__(max(1, windows * steps))
        self.windows, self.steps = windows, steps
        self.clock = Clock(windows * steps, guess, pieces)
        self._window, self._told, self._away = 0, 0.0, 0

    def window(self) -> None:
        """The next window's steps begin."""
        self.begin(self._away + self._window * self.steps)
        self._window += 1

    def elsewhere(self, steps: int, what: str, at_work: str = "") -> None:
        """Others have done so many steps of the take; nothing is sampled here meanwhile.

        Args:
            at_work: what each of them does, in lines.
        """
        if steps > self._away:
            self._away = steps
            self.clock.tick(steps + self._window * self.steps)
            self.begin(0)
            super().show(steps + self._window * self.steps, [])
        self._tell(what, at_work)

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """While a latent frame is decoded and written."""
        with self.clock.decoding():
            yield
        self._tell("decoding")

    def show(self, step: int, frames: list[Image.Image]) -> None:
        self.clock.tick(self._away + (self._window - 1) * self.steps + step)
        self._tell(f"window {self._window} of {self.windows}, step {step} of {self.steps}")
        super().show(step, frames)

    def _tell(self, what: str, below: str = "") -> None:
        if time.monotonic() - self._told > TELL:
            self._told = time.monotonic()
            more = "" if self.clock.has_decoded else ", and decoding"
            show_text(f"{what}; about {duration(self.clock.left)} left{more}{below}")
