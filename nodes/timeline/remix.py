"""A clip generated anew, from part of the way back to noise."""

from collections.abc import Mapping
from types import MappingProxyType

from comfy_api.latest import io

from ...host.video.onto_canvas import clip_canvas
from ..inputs import timeline
from ..inputs.kinds import Choice, Number, verdict
from ..inputs.shared import VIDEO_TOOLS, found_by, latent_output, vae_input

LEVELS: Mapping[str, float] = MappingProxyType({"subtle": 0.3, "mild": 0.5, "strong": 0.75})
CUSTOM = "custom"
LEVEL = Choice("level", (*LEVELS, CUSTOM), default="mild")
STRENGTH = Number("strength", 0.01, 1.0, default=0.5, step=0.01)


class Remix(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeRemix",
            display_name="Remix (Longtake)",
            category=timeline.CATEGORY,
            **found_by("v2v, video to video, restyle, img2img", VIDEO_TOOLS),
            description="A canvas that starts from a clip instead of from noise: Sample changes it "
            "to fit the prompt, a little or a lot.",
            inputs=[
                timeline.clip_input(),
                vae_input(),
                LEVEL.widget(
                    "How much changes. subtle (0.3): textures and light. mild (0.5): colours and "
                    "details; layout and motion stay. strong (0.75): most of it. custom: as set "
                    "in strength."
                ),
                STRENGTH.widget(
                    "How far back towards noise the clip goes before it is sampled again, if level "
                    "is custom: near 0 nothing changes, at 1 nothing of the clip is left."
                ),
                timeline.clip_fps_input(),
                timeline.clip_sound_input(),
            ],
            outputs=[
                timeline.canvas_output(),
                io.Float.Output(
                    display_name="denoise",
                    tooltip="The strength, for the denoise of core's KSampler or BasicScheduler. "
                    "Schedule reads it from the canvas.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, level=None) -> bool | str:
        return verdict((LEVEL.read, level))

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        level: str,
        strength: float,
        fps: float = timeline.FPS.default,
        audio_vae=None,
    ) -> io.NodeOutput:
        strength = LEVELS.get(LEVEL.read(level)) or STRENGTH.read(strength)
        canvas = clip_canvas(clip, vae, timeline.FPS.read(fps), audio_vae)
        return io.NodeOutput(latent_output(canvas.remix(strength)), strength)
