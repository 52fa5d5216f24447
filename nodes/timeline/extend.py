"""A clip made longer, at either end."""

from comfy_api.latest import io

from ...engine.canvas.canvas import DIRECTIONS, check_overlap_seconds
from ...host.video.onto_canvas import clip_canvas
from ..inputs import timeline
from ..inputs.kinds import Choice, Number, verdict
from ..inputs.shared import VIDEO_TOOLS, found_by, latent_output, vae_input

DIRECTION = Choice("direction", DIRECTIONS, default="forwards")
OVERLAP = Number("overlap", 0.0, 60.0, default=0.0, advanced=True)
WINDOW = Number("window", 0.0, 60.0, default=0.0, advanced=True)


class ExtendVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeExtendVideo",
            display_name="Extend Video (Longtake)",
            category=timeline.CATEGORY,
            **found_by("extend, continue video, longer video, video extension", VIDEO_TOOLS),
            description="A canvas of a clip with more seconds after or before it, for Sample to "
            "generate. If they are more than fit in one window of the model, Sample uses several.",
            inputs=[
                timeline.clip_input(),
                vae_input(),
                DIRECTION.widget("forwards: what happens next. backwards: what happened before."),
                timeline.added_input("How much to add."),
                OVERLAP.widget(
                    "Seconds of known frames that each window continues from: more carries motion "
                    "and look over better, fewer leaves more to generate. 0: the usual for the "
                    "model."
                ),
                WINDOW.widget(
                    "Seconds of one window, overlap included. 0: what the model was trained on, 2 "
                    "for the built-in one, 5 for Wan."
                ),
                timeline.clip_fps_input(),
                timeline.clip_sound_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, direction=None) -> bool | str:
        return verdict((DIRECTION.read, direction))

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        direction: str,
        seconds: float,
        overlap: float,
        window: float,
        fps: float = timeline.FPS.default,
        audio_vae=None,
    ) -> io.NodeOutput:
        overlap, window = OVERLAP.read(overlap), WINDOW.read(window)
        check_overlap_seconds(overlap, window)  # before the clip is read
        direction, seconds = DIRECTION.read(direction), timeline.ADDED.read(seconds)
        canvas = clip_canvas(clip, vae, timeline.FPS.read(fps), audio_vae)
        return io.NodeOutput(latent_output(canvas.extend(direction, seconds, overlap, window)))
