"""What VACE's checkpoints follow: a control clip, and references."""

from comfy_api.latest import io

from ...engine.canvas.timeline import LONGEST
from ...host.video.onto_canvas import control_clip, reference_images
from ..inputs import timeline
from ..inputs.kinds import Number, verdict
from ..inputs.shared import found_by, latent_output, vae_input

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
            category=timeline.CATEGORY,
            **found_by("vace, controlnet, depth, pose, canny, driving video"),
            description="Has Sample and Long Take follow a clip of depth, poses, edges or grey "
            "boxes. For VACE checkpoints.",
            inputs=[
                timeline.canvas_input(LONGER),
                timeline.frames_input(
                    "What a preprocessor made of a video: depth, pose, edges, as one IMAGE batch "
                    "or a VIDEO, of any size and frame rate."
                ),
                vae_input(),
                STRENGTH.widget(
                    "How much the clip counts: 1 as trained; lower leaves the model freer."
                ),
                START.widget("Seconds from the start of the canvas at which the clip begins."),
                SECONDS.widget("How long it is followed. 0: to its end, or the canvas's."),
                timeline.fit_input(),
                timeline.frames_fps_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, fit=None) -> bool | str:
        return verdict((timeline.FIT.read, fit))

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
        fps: float = timeline.FPS.default,
    ) -> io.NodeOutput:
        canvas = control_clip(
            timeline.canvas_of(latent, vae),
            clip,
            STRENGTH.read(strength),
            START.read(start),
            SECONDS.read(seconds),
            timeline.FIT.read(fit),
            timeline.FPS.read(fps),
        )
        return io.NodeOutput(latent_output(canvas, latent))


class ReferenceImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeReferenceImages",
            display_name="Reference Images (Longtake)",
            category=timeline.CATEGORY,
            **found_by("vace, reference to video, r2v, subject, character, style"),
            description="Shows the model pictures of a subject or a style that shall be in the "
            "video. For VACE checkpoints.",
            inputs=[
                timeline.canvas_input("Nodes that make a clip longer hand its references on."),
                io.Image.Input(
                    "images",
                    tooltip="One or several, of any size, best on white: each is shown whole, on "
                    "white. Chain several nodes for images of different sizes.",
                ),
                vae_input(),
                STRENGTH.widget("How much they count: 1 as trained."),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def execute(cls, latent, images, vae, strength: float) -> io.NodeOutput:
        canvas = timeline.canvas_of(latent, vae)
        canvas = reference_images(canvas, images, STRENGTH.read(strength))
        return io.NodeOutput(latent_output(canvas, latent))
