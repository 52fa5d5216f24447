"""Gaps filled, clips connected, a clip closed to a loop."""

from comfy_api.latest import io

from ..host.canvas import joining
from ..host.comfyui.node_text import show_text
from .inputs import Number
from .shared import (
    ADDED,
    CLIP_FPS,
    TIMELINE,
    added_input,
    canvas_output,
    clip_fps_input,
    clip_input,
    vae_input,
)

START = Number("start", 0.0, joining.LONGEST, default=0.5)
END = Number("end", 0.0, joining.LONGEST, default=1.5)


class FillGap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeFillGap",
            display_name="Fill Gap (Longtake)",
            category=TIMELINE,
            description="A canvas on which a part of a clip is to be painted anew so that it fits "
            "what is around it: a stretch inside one clip, or between two.",
            inputs=[
                clip_input(),
                vae_input(),
                START.widget("Seconds at which the gap begins."),
                END.widget("Seconds at which it ends: there the clip goes on, or the next one."),
                clip_input(
                    "after",
                    " What comes after the gap. Without it, the first clip goes on.",
                    optional=True,
                ),
                clip_fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(
        cls, clip, vae, start: float, end: float, after=None, fps: float = CLIP_FPS.default
    ) -> io.NodeOutput:
        start, end = START.read(start), END.read(end)
        canvas, notes = joining.fill_gap(clip, vae, start, end, after, CLIP_FPS.read(fps))
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


class Bridge(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBridge",
            display_name="Bridge (Longtake)",
            category=TIMELINE,
            description="A canvas of two clips with seconds between them for Sample to paint, so "
            "that one becomes the other without a cut.",
            inputs=[
                clip_input(more=" What comes before the bridge."),
                clip_input("after", " What comes after it, of the same size."),
                vae_input(),
                added_input("How long the bridge is."),
                clip_fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(
        cls, clip, after, vae, seconds: float, fps: float = CLIP_FPS.default
    ) -> io.NodeOutput:
        canvas, notes = joining.bridge(clip, after, vae, ADDED.read(seconds), CLIP_FPS.read(fps))
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


class Loop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoop",
            display_name="Loop (Longtake)",
            category=TIMELINE,
            description="A canvas of a clip and seconds that lead from its end back to its "
            "beginning, for Sample to paint: the result can be played round and round.",
            inputs=[
                clip_input(),
                vae_input(),
                added_input("How long the way back is."),
                clip_fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(cls, clip, vae, seconds: float, fps: float = CLIP_FPS.default) -> io.NodeOutput:
        canvas, notes = joining.loop(clip, vae, ADDED.read(seconds), CLIP_FPS.read(fps))
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)
