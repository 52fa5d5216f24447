"""A clip gets longer, on either side."""

from comfy_api.latest import io

from ..host.canvas import joining
from ..host.comfyui.node_text import show_text
from . import checks, widgets
from .pin import CATEGORY, FPS, canvas_output, vae_input

SECONDS, PART = (0.01, joining.LONGEST), (0.0, 60.0)


def clip_input(name: str = "clip", more: str = "", optional: bool = False) -> io.MultiType.Input:
    return io.MultiType.Input(
        name,
        types=[io.Latent, io.Image, io.Video],
        optional=optional,
        tooltip="A LATENT, such as Sample's, of which not a bit changes; or an IMAGE batch, or a "
        f"VIDEO.{more}",
    )


def seconds_input(default: float, what: str) -> io.Float.Input:
    return widgets.number(
        "seconds",
        default,
        SECONDS,
        f"{what} The nearest number of frames that the VAE can pack is taken.",
    )


def fps_input() -> io.Float.Input:
    return widgets.number(
        "fps",
        0.0,
        FPS,
        "Frames per second of an IMAGE batch; 0: what the VAE's model was trained at. A "
        "LATENT and a VIDEO know their own.",
        step=0.01,
        optional=True,
    )


class ExtendVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeExtendVideo",
            display_name="Extend Video (Longtake)",
            category=CATEGORY,
            description="A canvas of a clip and more seconds after or before it, for Sample to "
            "paint. If they are more than the model can make at a time, Sample makes several "
            "passes.",
            inputs=[
                clip_input(),
                vae_input(),
                io.Combo.Input(
                    "direction",
                    options=list(joining.DIRECTIONS),
                    default="forwards",
                    tooltip="forwards: what happens next. backwards: what happened before.",
                ),
                seconds_input(1.0, "How much is added."),
                part(
                    "overlap",
                    "Seconds of the clip that the model sees while it goes on: more keep motion "
                    "and look better, fewer paint more in each pass. 0: the usual for the model.",
                ),
                part(
                    "window",
                    "Seconds that the model is given at a time, what it sees and what it paints. "
                    "0: what it was trained on, 2 for the built-in one, 5 for Wan.",
                ),
                fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, direction=None) -> bool | str:
        return checks.verdict(checks.one_of, "direction", direction, joining.DIRECTIONS)

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        direction: str,
        seconds: float,
        overlap: float,
        window: float,
        fps: float = 0.0,
    ) -> io.NodeOutput:
        checks.one_of("direction", direction, joining.DIRECTIONS)
        seconds = checks.number("seconds", seconds, *SECONDS)
        overlap, window = (
            checks.number(name, value, *PART)
            for name, value in (("overlap", overlap), ("window", window))
        )
        fps = checks.number("fps", fps, *FPS)
        canvas, notes = joining.extend(clip, vae, direction, seconds, overlap, window, fps)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


def part(name: str, tooltip: str) -> io.Float.Input:
    return widgets.number(name, 0.0, PART, tooltip)
