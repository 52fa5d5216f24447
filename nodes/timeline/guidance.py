"""What VACE's checkpoints follow: a control clip, and references."""

from comfy_api.latest import io

from ...engine.canvas.timeline import LONGEST
from ...host.comfyui.latent import to_canvas
from ...host.networks.codec import codec_for
from ...host.video.onto_canvas import control_clip, reference_images
from ..inputs.kinds import Number, verdict
from ..inputs.shared import (
    CLIP_FPS,
    FIT,
    TIMELINE,
    canvas_input,
    canvas_output,
    fit_input,
    found_by,
    frames_fps_input,
    frames_input,
    latent_output,
    vae_input,
)

STRENGTH = Number("strength", 0.0, 2.0, default=1.0, step=0.05)
START = Number("start", 0.0, LONGEST, default=0.0)
SECONDS = Number("seconds", 0.0, LONGEST, default=0.0)


LONGER = "Nodes that change its length come before this one."


class ControlVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeControlVideo",
            display_name="Control Video (Longtake)",
            category=TIMELINE,
            **found_by("vace, controlnet, depth, pose, canny, driving video"),
            description="Has Sample and Long Take follow a clip of depth, poses, edges or grey "
            "boxes. For VACE checkpoints.",
            inputs=[
                canvas_input(LONGER),
                frames_input(
                    "What a preprocessor made of a video: depth, pose, edges, as one IMAGE batch "
                    "or a VIDEO, of any size and frame rate."
                ),
                vae_input(),
                STRENGTH.widget(
                    "How much the clip counts: 1 as trained; lower leaves the model freer."
                ),
                START.widget("Seconds from the start of the canvas at which the clip begins."),
                SECONDS.widget("How long it is followed. 0: to its end, or the canvas's."),
                fit_input(),
                frames_fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, fit=None) -> bool | str:
        return verdict((FIT.read, fit))

    @classmethod
    def execute(
        cls,
        latent,
        clip,
        vae,
        strength: float,
        start: float,
        seconds: float,
        fit: str,
        fps: float = CLIP_FPS.default,
    ) -> io.NodeOutput:
        canvas = control_clip(
            to_canvas(latent, codec_for(vae)),
            clip,
            STRENGTH.read(strength),
            START.read(start),
            SECONDS.read(seconds),
            FIT.read(fit),
            CLIP_FPS.read(fps),
        )
        return io.NodeOutput(latent_output(canvas, latent))


class ReferenceImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeReferenceImages",
            display_name="Reference Images (Longtake)",
            category=TIMELINE,
            **found_by("vace, reference to video, r2v, subject, character, style"),
            description="Shows the model pictures of a subject or a style that shall be in the "
            "video. For VACE checkpoints.",
            inputs=[
                canvas_input("Nodes that make a clip longer hand its references on."),
                io.Image.Input(
                    "images",
                    tooltip="One or several, of any size, best on white: each is shown whole, on "
                    "white. Chain several nodes for images of different sizes.",
                ),
                vae_input(),
                STRENGTH.widget("How much they count: 1 as trained."),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(cls, latent, images, vae, strength: float) -> io.NodeOutput:
        canvas = to_canvas(latent, codec_for(vae))
        canvas = reference_images(canvas, images, STRENGTH.read(strength))
        return io.NodeOutput(latent_output(canvas, latent))
