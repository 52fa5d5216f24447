"""What moves where in a picture -> CONDITIONING for checkpoints that follow tracks."""

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ...engine.motion.brush_text import parse_brush
from ...host.comfyui.conditioning import Prompts
from ...host.comfyui.latent import to_canvas
from ...host.comfyui.node_text import show_text
from ...host.networks.codec import codec_for
from ...host.sampling.tracks import (
    LTX,
    METHODS,
    BrushOptions,
    as_core_has_them,
    as_text,
    brush_tracks,
    dots_of,
    picture_of,
    tracks_from,
    with_tracks,
)
from ...host.video.moved_camera import image_of
from ..inputs.kinds import Choice, Number, TextBox, Whole, verdict
from ..inputs.shared import SEED, found_by, vae_input

BRUSH = TextBox(
    "brush",
    "[0s to 3s] 0.25,0.5 -> 0.6,0.4 ease\n[0s] mask 1 right 0.3w\n[0s] mask 2 still",
    default="[0s] 0.5,0.5 right 0.2w ease",
    longest=None,
)
METHOD = Choice("method", METHODS, default=METHODS[0])
POINTS = Whole("points", 1, 256, default=24, advanced=True)
NO_DOTS = f"Motion Brush draws dots for method {LTX!r} alone, and another is chosen."
STRENGTH = Number("strength", 0.0, 10.0, default=1.0, step=0.01, advanced=True)


class MotionBrushNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeMotionBrush",
            display_name="Motion Brush (Longtake)",
            category="Longtake/Motion",
            **found_by(
                "wan move, ati, tracks, trajectory, motion control, drag, point tracking, animate"
            ),
            description="Says what in a picture moves where, point by point or region by region, "
            "for the Wan checkpoints Wan-Move and ATI, or as dots for LTX's IC-LoRA. Use its "
            "conditioning with Sample, Long Take or core's samplers.",
            inputs=[*_video_inputs(), *_brush_inputs(), *_optional_inputs()],
            outputs=_outputs(),
        )

    @classmethod
    def validate_inputs(cls, brush=None, method=None) -> bool | str:
        return verdict((parse_brush, brush), (METHOD.read, method))

    @classmethod
    def execute(
        cls,
        positive,
        negative,
        vae,
        image,
        latent,
        brush: str,
        method: str,
        points: int,
        strength: float,
        seed: int,
        masks=None,
        tracks=None,
        clip_vision_output=None,
    ) -> io.NodeOutput:
        strokes = parse_brush(BRUSH.read(brush))
        numbers = POINTS.read(points), STRENGTH.read(strength), SEED.read(seed)
        options = BrushOptions(METHOD.read(method), *numbers)
        canvas = to_canvas(latent, codec_for(vae), masked=False)
        others = None if tracks is None else tracks_from(tracks)
        found, moments = brush_tracks(canvas, strokes, options, masks, others)
        prompts = with_tracks(
            Prompts(positive, negative), canvas, image, found, moments, options, clip_vision_output
        )
        picture = image_of(picture_of(image, canvas, found))
        show_text(f"{found.path.shape[1]} tracks of {len(found.path)} frames for {options.method}")
        ltx = options.method == LTX
        dots = dots_of(canvas, found) if ltx else ExecutionBlocker(NO_DOTS)
        made = *prompts, as_core_has_them(found), as_text(moments), picture, dots
        return io.NodeOutput(*made, ui=ui.PreviewImage(picture, cls=cls))


def _video_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", tooltip="What the video shows."),
        io.Conditioning.Input("negative", tooltip="What it does not show."),
        vae_input(),
        io.Image.Input("image", tooltip="The picture that the video begins with."),
        io.Latent.Input("latent", tooltip="The canvas, which has the video's size and length."),
    ]


def _brush_inputs() -> list[io.Input]:
    return [
        BRUSH.widget(
            "One stroke a line: when, what, and where to, as '[0s to 3s] 0.25,0.5 -> 0.6,0.4 ease' "
            "for a point or '[0s] mask 1 right 0.3w' for a region. 'still' holds it. Places are "
            "parts of the width and height; 0.3w is picture widths, with /s a speed. At the end: "
            "linear, ease, ease-in or ease-out."
        ),
        METHOD.widget(
            "The checkpoint that is loaded: Wan-Move or ATI, both made of Wan 2.1 I2V; or LTX with "
            "its IC-LoRA for motion tracks, which reads dots."
        ),
        POINTS.widget("How many points of each region are tracked."),
        STRENGTH.widget("Of Wan-Move: how strongly the picture is carried along the tracks."),
        SEED.widget("Chooses the points of regions, and what is on top where tracks cross."),
    ]


def _optional_inputs() -> list[io.Input]:
    return [
        io.Mask.Input(
            "masks",
            optional=True,
            tooltip="Regions, 'mask 1' and so on in their order, as one batch; white moves.",
        ),
        io.Custom("TRACKS").Input(
            "tracks",
            optional=True,
            tooltip="More tracks, from core's track nodes or any tracker, as long as the video.",
        ),
        io.ClipVisionOutput.Input(
            "clip_vision_output",
            optional=True,
            tooltip="The image through core's CLIP Vision Encode, which Wan 2.1 I2V reads.",
        ),
    ]


def _outputs() -> list[io.Output]:
    return [
        io.Conditioning.Output(display_name="positive", tooltip="With the tracks, for a sampler."),
        io.Conditioning.Output(display_name="negative", tooltip="With the picture alone."),
        io.Custom("TRACKS").Output(
            display_name="tracks", tooltip="All tracks, frame by frame, for core's track nodes."
        ),
        io.String.Output(
            display_name="text",
            tooltip="All tracks in 121 steps as JSON, for core's WanTrackToVideo and others.",
        ),
        io.Image.Output(display_name="preview", tooltip="The tracks on the picture."),
        io.Image.Output(
            display_name="dots",
            tooltip="For LTX: the tracks as a clip of coloured dots, for core's LTXVAddGuide.",
        ),
    ]
