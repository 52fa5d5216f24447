"""Duration and size -> an empty LATENT."""

from typing import Any

from comfy_api.latest import io

from ..engine.canvas import Canvas as Latents
from ..engine.size import LatentGrid, frame_rate
from ..host.latent import to_latent
from ..host.node_text import show_text
from ..host.vae import grid_of
from . import checks

SECONDS, FPS, PIXELS, BATCH = (0.01, 3600.0), (1.0, 240.0), (16, 8192), (1, 64)
FINEST = LatentGrid(channels=1)  # of all Wan VAEs


def side(name: str) -> io.Int.Input:
    """The widget for width or height."""
    return io.Int.Input(
        name,
        default=128,
        min=PIXELS[0],
        max=PIXELS[1],
        step=16,
        tooltip="Pixels. A multiple of 16 (Wan 2.1), or of 32 (TI2V-5B, built-in). The built-in "
        "model was made for 128.",
    )


class Canvas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeCanvas",
            display_name="Canvas (Longtake)",
            category="Longtake/Canvas",
            description="An empty video of the length and size you want, for Sample to paint. "
            "The number of frames is the nearest that the VAE can pack; the node shows it.",
            inputs=[
                io.Vae.Input(
                    "vae", tooltip="The VAE that will decode the video; it says what sizes fit."
                ),
                io.Float.Input(
                    "seconds",
                    default=2.0,
                    min=SECONDS[0],
                    max=SECONDS[1],
                    step=0.1,
                    round=0.001,
                    tooltip="How long the video is. The built-in model was made for 2 seconds at "
                    "8 fps, Wan 2.1 for 5 at 16, TI2V-5B for 5 at 24.",
                ),
                io.Float.Input(
                    "fps",
                    default=8.0,
                    min=FPS[0],
                    max=FPS[1],
                    step=0.01,
                    round=0.001,
                    tooltip="Frames per second, as the model was trained: 8 for the built-in one, "
                    "16 for Wan 2.1, 24 for TI2V-5B. 23.976 means 24000/1001.",
                ),
                side("width"),
                side("height"),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=BATCH[0],
                    max=BATCH[1],
                    tooltip="How many videos to make at once. Each has its own noise; the first "
                    "is the same as with 1.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="For Sample, or core's samplers. It remembers the frame rate.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, width=None, height=None) -> bool | str:
        return checks.verdict(check_size, width, height)

    @classmethod
    def execute(
        cls, vae, seconds: float, fps: float, width: int, height: int, batch_size: int
    ) -> io.NodeOutput:
        seconds = checks.number("seconds", seconds, *SECONDS)
        rate = frame_rate(checks.number("fps", fps, *FPS))
        width, height = check_size(width, height)
        batch = checks.whole("batch_size", batch_size, *BATCH)
        grid = grid_of(vae)
        frames = grid.nearest_frames(seconds, rate)
        canvas = Latents.blank(grid, frames, height, width, batch)
        show_text(f"{frames} frames, {float(frames / rate):.2f} s")
        return io.NodeOutput(to_latent(canvas, fps=rate, width=width, height=height))


def check_size(width: Any, height: Any) -> tuple[int, int]:
    """Width and height that some VAE can do; the one connected may ask for coarser ones."""
    width, height = checks.whole("width", width, *PIXELS), checks.whole("height", height, *PIXELS)
    FINEST.check_size(width, height)
    return width, height
