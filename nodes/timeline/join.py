"""A gap filled, two clips bridged, a clip closed into a loop."""

from comfy_api.latest import io

from ...engine.canvas.canvas import check_gap
from ...engine.canvas.timeline import LONGEST
from ...host.video.onto_canvas import clip_canvas
from ..inputs import timeline
from ..inputs.kinds import Number
from ..inputs.shared import VIDEO_TOOLS, found_by, latent_output, vae_input

START = Number("start", 0.0, LONGEST, default=0.5)
END = Number("end", 0.0, LONGEST, default=1.5)


class FillGap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeFillGap",
            display_name="Fill Gap (Longtake)",
            category=timeline.CATEGORY,
            **found_by("infill, inpaint frames, missing frames, repair", VIDEO_TOOLS),
            description="A canvas on which part of a clip is to be generated anew, to fit what "
            "comes before and after it: a stretch inside one clip, or between two.",
            inputs=[
                timeline.clip_input(),
                vae_input(),
                START.widget("The time in seconds at which the gap begins."),
                END.widget(
                    "The time at which it ends, and the clip continues or the next one begins."
                ),
                timeline.clip_input(
                    "after",
                    " What comes after the gap. Without it, the first clip continues.",
                    optional=True,
                ),
                timeline.clip_fps_input(),
                timeline.clip_sound_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        start: float,
        end: float,
        after=None,
        fps: float = timeline.FPS.default,
        audio_vae=None,
    ) -> io.NodeOutput:
        start, end = START.read(start), END.read(end)
        check_gap(start, end)  # before the clips are read
        fps = timeline.FPS.read(fps)
        canvas = clip_canvas(clip, vae, fps, audio_vae)
        after = None if after is None else clip_canvas(after, vae, fps, audio_vae)
        return io.NodeOutput(latent_output(canvas.fill(start, end, after)))


class Bridge(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBridge",
            display_name="Bridge (Longtake)",
            category=timeline.CATEGORY,
            **found_by("transition, connect clips, morph", VIDEO_TOOLS),
            description="A canvas of two clips with seconds between them, for Sample to generate "
            "so that one turns into the other without a cut.",
            inputs=[
                timeline.clip_input(more=" What comes before the bridge."),
                timeline.clip_input("after", " What comes after it, of the same size."),
                vae_input(),
                timeline.added_input("How long the bridge is."),
                timeline.clip_fps_input(),
                timeline.clip_sound_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def execute(
        cls, clip, after, vae, seconds: float, fps: float = timeline.FPS.default, audio_vae=None
    ) -> io.NodeOutput:
        seconds, fps = timeline.ADDED.read(seconds), timeline.FPS.read(fps)
        canvas = clip_canvas(clip, vae, fps, audio_vae)
        return io.NodeOutput(
            latent_output(canvas.bridge(clip_canvas(after, vae, fps, audio_vae), seconds))
        )


class Loop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoop",
            display_name="Loop (Longtake)",
            category=timeline.CATEGORY,
            **found_by("seamless loop, perfect loop", VIDEO_TOOLS),
            description="A canvas of a clip and the seconds that lead from its end back to its "
            "beginning, for Sample to generate: the result plays as an endless loop.",
            inputs=[
                timeline.clip_input(),
                vae_input(),
                timeline.added_input("How long the way back is."),
                timeline.clip_fps_input(),
                timeline.clip_sound_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def execute(
        cls, clip, vae, seconds: float, fps: float = timeline.FPS.default, audio_vae=None
    ) -> io.NodeOutput:
        seconds = timeline.ADDED.read(seconds)
        canvas = clip_canvas(clip, vae, timeline.FPS.read(fps), audio_vae)
        return io.NodeOutput(latent_output(canvas.loop(seconds)))
