"""Duration and size -> an empty LATENT."""

from typing import Any

from comfy_api.latest import io

from ...engine.canvas.aspect import FREE, aspect_in_words, chosen_size
from ...engine.canvas.canvas import Canvas
from ...engine.canvas.grid import CausalGrid
from ...engine.rates import MAX_RATE, frame_rate
from ...host.networks.codec import codec_for
from ..inputs.kinds import Number, Whole, verdict
from ..inputs.shared import ASPECT, found_by, latent_output

SECONDS = Number("seconds", 0.01, 3600.0, default=2.0)
FPS = Number("fps", 1.0, MAX_RATE, default=8.0)
WIDTH = Whole("width", 16, 8192, default=128, step=16)
HEIGHT = Whole("height", 16, 8192, default=128, step=16)
BATCH = Whole("batch_size", 1, 64, default=1, advanced=True)
MEGAPIXELS = Number("megapixels", 0.0, 64.0, default=0.0, step=0.0001, optional=True)
FINEST = CausalGrid(channels=1)  # of all Wan VAEs


SIDES = (
    "Pixels. A multiple of 16 (Wan 2.1) or of 32 (TI2V-5B, built-in). The built-in model was "
    "trained at 128."
)


class CanvasNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeCanvas",
            display_name="Canvas (Longtake)",
            category="Longtake/Canvas",
            **found_by(
                "empty latent video, t2v, text to video, aspect ratio, resolution, timeline"
            ),
            description="An empty video of the length and size you want, for Sample to generate. "
            "The number of frames is rounded to one that fits the VAE; the node shows it.",
            inputs=[
                io.Vae.Input(
                    "vae", tooltip="The VAE that will decode the video; it decides which sizes fit."
                ),
                SECONDS.widget(
                    "How long the video is. The built-in model was trained on 2 seconds at 8 fps, "
                    "Wan 2.1 on 5 at 16, TI2V-5B on 5 at 24."
                ),
                FPS.widget(
                    "Frames per second, as the model was trained: 8 for the built-in one, 16 for "
                    "Wan 2.1, 24 for TI2V-5B. 23.976 means exactly 24000/1001."
                ),
                WIDTH.widget(SIDES),
                HEIGHT.widget(SIDES),
                BATCH.widget(
                    "How many videos to generate at once. Each has noise of its own; the first is "
                    "the same as with 1."
                ),
                ASPECT.widget(
                    "Width to height. free: width and height are used as they are. Otherwise they "
                    "only set the number of pixels, unless megapixels does; the node shows the "
                    "size."
                ),
                MEGAPIXELS.widget(
                    "Millions of pixels in a frame: 0.0164 is 128×128, 0.4 is 832×480, 0.92 is "
                    "1280×720. 0: as many as width times height."
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
    def validate_inputs(cls, width=None, height=None, aspect=FREE, megapixels=0.0) -> bool | str:
        return verdict((_check_size, width, height, aspect, megapixels))

    @classmethod
    def execute(
        cls,
        vae,
        seconds: float,
        fps: float,
        width: int,
        height: int,
        batch_size: int,
        aspect: str = ASPECT.default,
        megapixels: float = MEGAPIXELS.default,
    ) -> io.NodeOutput:
        rate, batch = frame_rate(FPS.read(fps)), BATCH.read(batch_size)
        width, height = _check_size(width, height, aspect, megapixels)
        codec = codec_for(vae)
        width, height = chosen_size(codec.grid, width, height, aspect, megapixels)
        canvas = Canvas.empty(codec, SECONDS.read(seconds), rate, width, height, batch)
        notes = filter(None, [aspect_in_words(width, height, aspect)])
        return io.NodeOutput(latent_output(canvas.noted(*notes)))


def _check_size(
    width: Any, height: Any, aspect: Any = FREE, megapixels: Any = 0.0
) -> tuple[int, int]:
    """Width and height, if any VAE can do them; the one connected may need coarser ones.

    With an aspect or megapixels they need not fit, since the size is then computed from them.
    """
    ASPECT.read(aspect)
    MEGAPIXELS.read(megapixels)
    width, height = WIDTH.read(width), HEIGHT.read(height)
    if aspect == FREE and not megapixels:
        FINEST.check_size(width, height)
    return width, height
