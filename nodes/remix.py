"""A clip painted over."""

from collections.abc import Mapping
from types import MappingProxyType

from comfy_api.latest import io

from ..host.canvas import joining
from ..host.comfyui.node_text import show_text
from . import checks, widgets
from .extend import clip_input, fps_input
from .pin import CATEGORY, FPS, canvas_output, vae_input

STRENGTH = (0.01, 1.0)
LEVELS: Mapping[str, float] = MappingProxyType({"subtle": 0.3, "mild": 0.5, "strong": 0.75})
CUSTOM = "custom"


class Remix(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeRemix",
            display_name="Remix (Longtake)",
            category=CATEGORY,
            description="A canvas that starts from a clip instead of from nothing: Sample paints "
            "it over by the prompt, a little or a lot.",
            inputs=[
                clip_input(),
                vae_input(),
                io.Combo.Input(
                    "level",
                    options=[*LEVELS, CUSTOM],
                    default="mild",
                    tooltip="How much changes. subtle (0.3): textures and light; mild (0.5): "
                    "colours and details, layout and motion stay; strong (0.75): most of it. "
                    "custom: the number in strength.",
                ),
                widgets.number(
                    "strength",
                    0.5,
                    STRENGTH,
                    "How far back towards noise it goes before it is painted again, if "
                    "level is custom: near 0 nothing changes, at 1 nothing of the clip is left.",
                    step=0.01,
                    round=None,
                ),
                fps_input(),
            ],
            outputs=[
                canvas_output(),
                io.Float.Output(
                    display_name="denoise",
                    tooltip="The strength, for the denoise of core's KSampler or BasicScheduler. "
                    "Schedule reads it from the canvas.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, level=None) -> bool | str:
        return checks.verdict(checks.one_of, "level", level, (*LEVELS, CUSTOM))

    @classmethod
    def execute(cls, clip, vae, level: str, strength: float, fps: float = 0.0) -> io.NodeOutput:
        checks.one_of("level", level, (*LEVELS, CUSTOM))
        strength = LEVELS.get(level) or checks.number("strength", strength, *STRENGTH)
        fps = checks.number("fps", fps, *FPS)
        canvas, notes = joining.remix(clip, vae, strength, fps)
        show_text("\n".join(notes))
        return io.NodeOutput(canvas, strength)
