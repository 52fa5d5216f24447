"""A part of a picture sampled anew, and more picture around it."""

from dataclasses import replace

from comfy_api.latest import io

from ...engine.canvas.timeline import LONGEST
from ...host.video.regions import clip_of, widened, with_region
from ..inputs import timeline
from ..inputs.kinds import Flag, Number, Whole, verdict
from ..inputs.shared import ASPECT, VIDEO_TOOLS, found_by, latent_output, vae_input

START = Number("start", 0.0, LONGEST, default=0.0)
END = Number("end", 0.0, LONGEST, default=0.0)
STRENGTH = Number("strength", 0.01, 1.0, default=1.0, step=0.01)
GROW = Whole("grow", -512, 512, default=0)
FEATHER = Whole("feather", 0, 512, default=4)
INVERT = Flag("invert")
SIDES = [Whole(name, 0, 8192, default=0, step=8) for name in ("left", "top", "right", "bottom")]
WHOLE_ASPECT = replace(ASPECT, optional=False)
SEAM = Whole("feather", 0, 512, default=8)


class Region(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeRegion",
            display_name="Region (Longtake)",
            category=timeline.CATEGORY,
            **found_by(
                "inpaint, mask, replace object, remove object, cinemagraph, motion brush",
                VIDEO_TOOLS,
            ),
            description="A canvas of a clip of which only a masked part is generated anew: to "
            "replace a thing, to remove it, or to set a part of a still in motion. Everything else "
            "comes back pixel for pixel. Several in a row add up.",
            inputs=[
                timeline.clip_input(
                    more=" A canvas on which something is pinned, or that has regions already, is "
                    "a LATENT, too."
                ),
                vae_input(),
                io.Mask.Input(
                    "mask",
                    tooltip="White where the picture shall change: one for all frames, or one for "
                    "each. From the mask editor on Load Image, or any node that makes one.",
                ),
                START.widget("From when on the region is there, in seconds."),
                END.widget("Until when it is there; 0: to the end of the clip."),
                STRENGTH.widget(
                    "How far back towards noise the region goes: 1 makes it from nothing, less "
                    "keeps some of what was there. Connect Schedule's latent for less than 1."
                ),
                GROW.widget("Pixels that the mask grows by on all sides; below 0 it shrinks."),
                FEATHER.widget("Pixels around the mask over which new and old are mixed."),
                INVERT.widget("Change all but the mask."),
                timeline.clip_fps_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None) -> bool | str:
        return verdict((START.read, start), (END.read, end))

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        mask,
        start: float,
        end: float,
        strength: float,
        grow: int,
        feather: int,
        invert: bool,
        fps: float = timeline.FPS.default,
    ) -> io.NodeOutput:
        seconds, strength = (START.read(start), END.read(end)), STRENGTH.read(strength)
        drawn = {"grow": GROW.read(grow), "feather": FEATHER.read(feather)}
        drawn["invert"] = INVERT.read(invert)
        on = clip_of(clip, vae, timeline.FPS.read(fps))
        return io.NodeOutput(latent_output(with_region(on, vae, mask, seconds, strength, **drawn)))


class ExpandCanvas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        left, top, right, bottom = SIDES
        return io.Schema(
            node_id="LongtakeExpandCanvas",
            display_name="Expand Canvas (Longtake)",
            category=timeline.CATEGORY,
            **found_by("outpaint, uncrop, widen, reframe, aspect ratio", VIDEO_TOOLS),
            description="A canvas of a clip with more picture around it for Sample to generate; "
            "the clip itself comes back pixel for pixel.",
            inputs=[
                timeline.clip_input(),
                vae_input(),
                left.widget("Pixels to add at the left. The whole is rounded up to the grid."),
                top.widget("Pixels to add at the top."),
                right.widget("Pixels to add at the right."),
                bottom.widget("Pixels to add at the bottom."),
                WHOLE_ASPECT.widget(
                    "Width to height of the whole, which is reached by as much on both sides. "
                    "free: only what is set above."
                ),
                SEAM.widget("Pixels of the clip, along the seam, that are mixed with the new."),
                timeline.clip_fps_input(),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def validate_inputs(cls, aspect=None) -> bool | str:
        return verdict((WHOLE_ASPECT.read, aspect))

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        left: int,
        top: int,
        right: int,
        bottom: int,
        aspect: str,
        feather: int,
        fps: float = timeline.FPS.default,
    ) -> io.NodeOutput:
        asked = zip(SIDES, (left, top, right, bottom), strict=True)
        margins = tuple(side.read(pixels) for side, pixels in asked)
        aspect, feather = WHOLE_ASPECT.read(aspect), SEAM.read(feather)
        on = clip_of(clip, vae, timeline.FPS.read(fps), snapped=False)
        return io.NodeOutput(latent_output(widened(on, vae, margins, aspect, feather)))
