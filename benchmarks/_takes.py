"""What benchmarks of takes share: ComfyUI in this process, and takes made in forked ones.

On a GPU all is made in this one: no forked process can use the GPU of its parent.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from _measure import BUILT_IN, on_best_device

from environment import comfyui_folder
from tests.in_process import import_comfyui


def start_comfyui() -> Path:
    """ComfyUI's modules in this process, on this machine's best device; its folders are below the
    path that is returned."""
    base = Path(tempfile.mkdtemp(prefix="longtake-bench-"))
    for folder in ("custom_nodes", "input", "output", "models", "temp"):
        (base / folder).mkdir()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        import_comfyui(comfyui_folder(), base, on_best_device())
    return base


class Studio:
    """The built-in model, and takes made with it."""

    def __init__(self, base: Path, steps: int, dtype: str = "fp32"):
        from longtake.host.networks import load

        self.base, self.steps = base, steps
        self.model = load.load_model(BUILT_IN, dtype)
        self.vae = load.load_vae(BUILT_IN, dtype)
        self.clip = load.load_text_encoder(BUILT_IN)

    def board(self, text: str, seconds: float, fps: int, sound=None, most: float = 0.5):
        from longtake.engine.take.storyboard import checked
        from longtake.engine.take.storyboard_text import parse_storyboard
        from longtake.host.comfyui.conditioning import MEET
        from longtake.host.take.storyboards import encoded, on_beats

        end = Fraction(str(seconds))
        shots = checked(parse_storyboard(text))
        if sound is not None:
            shots, sound, _ = on_beats(shots, sound, most, end)
        with torch.inference_mode():
            return encoded(self.clip, shots, end, Fraction(fps), MEET, sound)

    def encoded_text(self, text: str) -> list:
        """CONDITIONING."""
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))

    def recipe(
        self,
        board,
        size=(128, 128),
        *,
        steps=None,
        seed=2,
        together=False,
        window=17,
        anchor="off",
        canvas=None,
    ):
        from longtake.engine.sampling.schedule import sigmas
        from longtake.host.sampling.sample import Sampling
        from longtake.host.take.recipe import (
            SEPARATE,
            TOGETHER,
            TakeSize,
            WindowsAsked,
            recipe_for,
        )

        with torch.inference_mode():
            return recipe_for(
                self.model,
                self.vae,
                board,
                self.encoded_text(""),
                TakeSize(board.seconds, board.fps, *size),
                WindowsAsked(window, 0, TOGETHER if together else SEPARATE, anchor),
                Sampling(sigmas(steps or self.steps, 3.0), seed, 4.0),
                canvas=canvas,
            )

    def film(self, recipe) -> Path:
        from longtake.host.take.long_take import film_take

        with torch.inference_mode():
            return Path(film_take(recipe)[0].get_stream_source())

    def windows(self) -> Path:
        from longtake.host.take.long_take import store_folder

        return store_folder()


def begin() -> float:
    """The time from which `peaks` and seconds count."""
    Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return time.monotonic()


def peaks() -> dict[str, float]:
    """MiB since `begin`: of this process, and on the GPU where there is one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    found = {"ram_mib": round(held / 1024, 1)}
    if torch.cuda.is_available():
        found["vram_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return found


def measured(work: Callable[[], object]) -> dict:
    """What `work` returns as "result", its "seconds" and its `peaks`."""
    begun = begin()
    return {"result": work(), "seconds": round(time.monotonic() - begun, 2), **peaks()}


def apart(work: Callable[[], object], kill_after: float | None = None) -> dict | None:
    """`measured`, in a process of its own; None if that was killed, after so many seconds.

    On a GPU it is measured in this process, and cannot be killed.
    """
    if torch.cuda.is_available():
        assert kill_after is None
        return measured(work)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            os.write(writing, json.dumps(measured(work), default=str).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if kill_after is None and status:
        raise SystemExit(f"a take failed with status {status}; the reason is above")
    return json.loads(data) if data else None


def clear(studio: Studio) -> None:
    for path in studio.windows().glob("*"):
        path.unlink()


def frames_of(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def timing(path: Path) -> dict:
    """Frames of a file, whether each is at its time, and how long it is."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        rate, base = stream.average_rate, stream.time_base
        times = sorted(p.pts * base for p in container.demux(stream) if p.pts is not None)
        exact = all(t == i / rate for i, t in enumerate(times))
        length = float(stream.duration * base)
    return {"frames": len(times), "exact": exact, "seconds": length, "fps": float(rate)}
