"""Gaps filled, clips connected, a clip closed to a loop."""

from comfy_api.latest import io

from ..host.canvas import joining
from ..host.comfyui.node_text import show_text
from . import checks, widgets
from .extend import SECONDS, clip_input, fps_input, seconds_input
from .pin import AT, CATEGORY, FPS, canvas_output, vae_input


def time_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return widgets.number(name, default, AT, tooltip)


class FillGap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeFillGap",
            display_name="Fill Gap (Longtake)",
            category=CATEGORY,
            description="A canvas on which a part of a clip is to be painted anew so that it fits "
            "what is around it: a stretch inside one clip, or between two.",
            inputs=[
                clip_input(),
                vae_input(),
                time_input("start", 0.5, "Seconds at which the gap begins."),
                time_input(
                    "end", 1.5, "Seconds at which it ends: there the clip goes on, or the next one."
                ),
                clip_input(
                    "after",
                    " What comes after the gap. Without it, the first clip goes on.",
                    optional=True,
                ),
                fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(
        cls, clip, vae, start: float, end: float, after=None, fps: float = 0.0
    ) -> io.NodeOutput:
        start, end = checks.number("start", start, *AT), checks.number("end", end, *AT)
        fps = checks.number("fps", fps, *FPS)
        canvas, notes = joining.fill_gap(clip, vae, start, end, after, fps)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


class Bridge(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBridge",
            display_name="Bridge (Longtake)",
            category=CATEGORY,
            description="A canvas of two clips with seconds between them for Sample to paint, so "
            "that one becomes the other without a cut.",
            inputs=[
                clip_input(more=" What comes before the bridge."),
                clip_input("after", " What comes after it, of the same size."),
                vae_input(),
                seconds_input(1.0, "How long the bridge is."),
                fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(cls, clip, after, vae, seconds: float, fps: float = 0.0) -> io.NodeOutput:
        seconds = checks.number("seconds", seconds, *SECONDS)
        fps = checks.number("fps", fps, *FPS)
        canvas, notes = joining.bridge(clip, after, vae, seconds, fps)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)


class Loop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoop",
            display_name="Loop (Longtake)",
            category=CATEGORY,
            description="A canvas of a clip and seconds that lead from its end back to its "
            "beginning, for Sample to paint: the result can be played round and round.",
            inputs=[
                clip_input(),
                vae_input(),
                seconds_input(1.0, "How long the way back is."),
                fps_input(),
            ],
            outputs=[canvas_output()],
        )

    @classmethod
    def execute(cls, clip, vae, seconds: float, fps: float = 0.0) -> io.NodeOutput:
        seconds = checks.number("seconds", seconds, *SECONDS)
        fps = checks.number("fps", fps, *FPS)
        canvas, notes = joining.loop(clip, vae, seconds, fps)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas)
