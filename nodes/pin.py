"""An image or a clip at a time on the canvas."""

from comfy_api.latest import io

from ..engine.canvas.picture import FITS
from ..host.canvas import pinning
from ..host.comfyui.node_text import show_text
from . import checks, widgets

CATEGORY = "Longtake/Timeline"
AT, FPS = (0.0, 3600.0), (0.0, 240.0)


def canvas_input() -> io.Latent.Input:
    return io.Latent.Input(
        "latent",
        tooltip="The canvas, from Canvas or from another node of this kind: what is known of it "
        "stays.",
    )


def vae_input() -> io.Vae.Input:
    return io.Vae.Input("vae", tooltip="The VAE that belongs to the model.")


def at_input(what: str) -> io.Float.Input:
    return widgets.number(
        "at",
        0.0,
        AT,
        f"Seconds from the canvas's beginning at which {what}. The nearest frame is taken.",
    )


def fit_input() -> io.Combo.Input:
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        default="crop",
        tooltip="What to do with another aspect ratio than the canvas's: crop fills the canvas and "
        "cuts what juts out, pad shows all of it between black bars, stretch distorts it.",
    )


def canvas_output() -> io.Latent.Output:
    return io.Latent.Output(
        display_name="latent",
        tooltip="For Sample, core's samplers, or another node of this kind. A mask says what is "
        "known.",
    )


class PinImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePinImage",
            display_name="Pin Image (Longtake)",
            category=CATEGORY,
            description="Puts an image at a time on the canvas; Sample paints the rest to fit. "
            "Chain several for keyframes.",
            inputs=[
                canvas_input(),
                io.Image.Input("image", tooltip="One picture of any size."),
                vae_input(),
                at_input("it is shown"),
                fit_input(),
                io.ClipVisionOutput.Input(
                    "clip_vision_output",
                    optional=True,
                    tooltip="The image as core's CLIP Vision Encode gives it, for Wan 2.1 I2V and "
                    "FLF2V. Other models do not read it.",
                ),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, fit=None) -> bool | str:
        return checks.verdict(checks.one_of, "fit", fit, FITS)

    @classmethod
    def execute(
        cls, latent, image, vae, at: float, fit: str, clip_vision_output=None
    ) -> io.NodeOutput:
        at = checks.number("at", at, *AT)
        checks.one_of("fit", fit, FITS)
        canvas, notes = pinning.pin_image(latent, image, vae, at, fit, clip_vision_output)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


class PinVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePinVideo",
            display_name="Pin Video (Longtake)",
            category=CATEGORY,
            description="Puts the frames of a clip on the canvas from a time on; Sample paints the "
            "rest to fit.",
            inputs=[
                canvas_input(),
                io.MultiType.Input(
                    "clip",
                    types=[io.Image, io.Video],
                    tooltip="The frames as one IMAGE batch, or a VIDEO, of any size and rate.",
                ),
                vae_input(),
                at_input("the clip begins"),
                fit_input(),
                io.Combo.Input(
                    "edges",
                    options=list(pinning.EDGES),
                    default="paint",
                    tooltip="Models know frames by fours. Where the clip begins or ends inside "
                    "such a four: paint makes all of it anew, hold repeats the clip's nearest "
                    "frame. The node says which frames those are.",
                ),
                widgets.number(
                    "fps",
                    0.0,
                    FPS,
                    "Frames per second of an IMAGE batch; 0: as the canvas. A VIDEO knows its own.",
                    step=0.01,
                    optional=True,
                ),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, fit=None, edges=None) -> bool | str:
        return checks.verdict(check_choices, fit, edges)

    @classmethod
    def execute(
        cls, latent, clip, vae, at: float, fit: str, edges: str, fps: float = 0.0
    ) -> io.NodeOutput:
        at, fps = checks.number("at", at, *AT), checks.number("fps", fps, *FPS)
        check_choices(fit, edges)
        canvas, notes = pinning.pin_video(latent, clip, vae, at, fit, edges, fps)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


def check_choices(fit: str, edges: str) -> None:
    checks.one_of("fit", fit, FITS)
    checks.one_of("edges", edges, pinning.EDGES)
