"""An image or a clip, pinned to a time on the canvas."""

from comfy_api.latest import io

from ...engine.canvas.canvas import EDGES
from ...engine.canvas.timeline import LONGEST
from ...host.video.onto_canvas import pin_clip
from ..inputs import timeline
from ..inputs.kinds import Choice, Number, verdict
from ..inputs.shared import found_by, latent_output, vae_input

KNOWN = "Frames that it already knows stay."
AT = Number("at", 0.0, LONGEST, default=0.0)
EDGE = Choice("edges", EDGES, default="paint")


def _at_input(what: str) -> io.Float.Input:
    return AT.widget(
        f"Seconds from the start of the canvas at which {what}; rounded to the nearest frame."
    )


class PinImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePinImage",
            display_name="Pin Image (Longtake)",
            category=timeline.CATEGORY,
            **found_by(
                "i2v, image to video, first frame, last frame, start image, keyframe, flf2v"
            ),
            description="Puts an image on the canvas at a given time; Sample generates the rest "
            "to fit. Chain several for keyframes.",
            inputs=[
                timeline.canvas_input(KNOWN),
                io.Image.Input("image", tooltip="One image of any size."),
                vae_input(),
                _at_input("the image is shown"),
                timeline.fit_input(),
                io.ClipVisionOutput.Input(
                    "clip_vision_output",
                    optional=True,
                    tooltip="The image through core's CLIP Vision Encode, for Wan 2.1 I2V, "
                    "FLF2V and HunyuanVideo 1.5. Other models do not read it.",
                ),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, fit=None) -> bool | str:
        return verdict((timeline.FIT.read, fit))

    @classmethod
    def execute(
        cls, latent, image, vae, at: float, fit: str, clip_vision_output=None
    ) -> io.NodeOutput:
        canvas = timeline.canvas_of(latent, vae)
        canvas = canvas.pin_image(image, AT.read(at), timeline.FIT.read(fit), clip_vision_output)
        return io.NodeOutput(latent_output(canvas, latent))


class PinVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePinVideo",
            display_name="Pin Video (Longtake)",
            category=timeline.CATEGORY,
            **found_by("v2v, video to video, insert clip, keyframe"),
            description="Puts the frames of a clip on the canvas, starting at a given time; Sample "
            "generates the rest to fit.",
            inputs=[
                timeline.canvas_input(KNOWN),
                timeline.frames_input(
                    "Frames as one IMAGE batch, or a VIDEO, of any size and frame rate."
                ),
                vae_input(),
                _at_input("the clip begins"),
                timeline.fit_input(),
                EDGE.widget(
                    "A latent frame holds four frames. If the clip begins or ends inside one: "
                    "paint generates all four anew, hold repeats the clip's nearest frame to fill "
                    "them. The node says which frames those are."
                ),
                timeline.frames_fps_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, fit=None, edges=None) -> bool | str:
        return verdict((timeline.FIT.read, fit), (EDGE.read, edges))

    @classmethod
    def execute(
        cls, latent, clip, vae, at: float, fit: str, edges: str, fps: float = timeline.FPS.default
    ) -> io.NodeOutput:
        fit, edges, fps = timeline.FIT.read(fit), EDGE.read(edges), timeline.FPS.read(fps)
        canvas = timeline.canvas_of(latent, vae)
        canvas = pin_clip(canvas, clip, AT.read(at), fit, edges, fps)
        return io.NodeOutput(latent_output(canvas, latent))
