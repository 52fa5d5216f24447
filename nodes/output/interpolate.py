"""VIDEO or IMAGE -> the same at another frame rate."""

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ...engine.rates import frame_rate
from ...host.comfyui.films import films_lost
from ...host.comfyui.node_text import show_text
from ...host.networks.rife import RIFE_BUILT_IN, RIFE_DTYPES, find_rife, load_rife, rife_menu
from ...host.video.footage import open_footage
from ...host.video.interpolate import FLOW_SCALES, InterpolateOptions, interpolate_video
from ...models.errors import InputError
from ..inputs.kinds import Choice, File, Flag, Number, Whole, verdict
from ..inputs.shared import VIDEO_TOOLS, found_by

HOLD, STOP = "keep the duration", "stop at the last frame"
FPS = Number("fps", 0.0, 480.0, default=24.0)
MULTIPLIER = Number("multiplier", 0.1, 64.0, default=2.0, step=0.05)
FILE = File("file", rife_menu, find_rife, default=RIFE_BUILT_IN)
CUT_SENSITIVITY = Number("cut_sensitivity", 0.0, 1.0, default=0.5, step=0.05)
LOOP = Flag("loop")
ENDING = Choice("ending", (HOLD, STOP), default=HOLD)
FLOW_SCALE = Choice("flow_scale", FLOW_SCALES, default="auto")
DTYPE = Choice("dtype", tuple(RIFE_DTYPES), default="auto", advanced=True)
TILE = Whole("tile", 0, 8192, default=0, step=64)
IMAGES = Flag("images")
IMAGE_FPS = Number("image_fps", 0.01, FPS.high, default=16.0)
NO_IMAGES = (
    "Interpolate gives no IMAGE for a VIDEO unless 'images' is on: it holds all frames in memory."
)


class Interpolate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeInterpolate",
            display_name="Interpolate (Longtake)",
            category="Longtake/Video",
            **found_by(
                "rife, frame interpolation, fps, frame rate, slow motion, upscale rate", VIDEO_TOOLS
            ),
            description="Changes a video's frame rate: a network draws the frames in between, "
            "with exact timing. Cuts stay cuts: nothing is blended across them. A long video "
            "needs no more memory than a short one.",
            inputs=[*_rate_inputs(), *_timing_inputs(), *_network_inputs(), *_source_inputs()],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="At the new rate, with the source's sound, for Save Video.",
                ),
                io.Image.Output(
                    display_name="image",
                    tooltip="All its frames. For a VIDEO only if 'images' is on.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, file=None, ending=None, flow_scale=None, dtype=None) -> bool | str:
        return verdict(
            (FILE.read, file),
            (ENDING.read, ending),
            (FLOW_SCALE.read, flow_scale),
            (DTYPE.read, dtype),
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> str:
        return f"{FILE.version(file)}, {films_lost()}"

    @classmethod
    def execute(
        cls,
        fps: float,
        multiplier: float,
        file: str,
        cut_sensitivity: float,
        loop: bool,
        ending: str,
        flow_scale: str,
        dtype: str,
        tile: int,
        images: bool,
        image_fps: float,
        video=None,
        image=None,
    ) -> io.NodeOutput:
        if (video is None) == (image is None):
            raise InputError("connect a video or an image, one of the two.")
        fps = FPS.read(fps)
        options = InterpolateOptions(
            fps=frame_rate(fps) if fps else None,
            multiplier=MULTIPLIER.read(multiplier),
            sensitivity=CUT_SENSITIVITY.read(cut_sensitivity),
            loop=LOOP.read(loop),
            hold=ENDING.read(ending) == HOLD,
            flow_scale=FLOW_SCALE.read(flow_scale),
            tile=TILE.read(tile),
        )
        rate = frame_rate(IMAGE_FPS.read(image_fps))
        network = load_rife(FILE.read(file), DTYPE.read(dtype))
        wanted = IMAGES.read(images) or video is None
        with open_footage(image if video is None else video, rate) as footage:
            result, frames, note = interpolate_video(footage, network, options, wanted)
        show_text(note)
        return io.NodeOutput(result, ExecutionBlocker(NO_IMAGES) if frames is None else frames)


def _rate_inputs() -> list[io.Input]:
    return [
        FPS.widget(
            "The new frames per second: any number, not only multiples of the old one. 23.976, "
            "29.97 and 59.94 mean exactly 24000/1001 and so on. 0: use the multiplier."
        ),
        MULTIPLIER.widget(
            "Used when fps is 0: this many times the source's rate, such as 2 or 2.5."
        ),
        FILE.widget(
            "The network that draws the frames. The built-in one ships with the pack; any RIFE "
            "4.0 to 4.26 in models/frame_interpolation works too, as .safetensors."
        ),
    ]


def _timing_inputs() -> list[io.Input]:
    return [
        CUT_SENSITIVITY.widget(
            "How readily a sudden change counts as a cut, across which nothing is drawn: the "
            "frame before it is shown longer. 0: never. 1: at the slightest jump."
        ),
        LOOP.widget(
            "Also draw frames from the last one back to the first, for a video that plays in a "
            "loop."
        ),
        ENDING.widget(
            "Nothing follows the last frame. keep the duration: it is shown for its full time, "
            "and sound stays in sync. stop at the last frame: the video ends as it appears, up to "
            "one source frame earlier."
        ),
    ]


def _network_inputs() -> list[io.Input]:
    return [
        FLOW_SCALE.widget(
            "The scale at which motion is estimated. 0.5 is more than twice as fast and follows "
            "larger motion in large frames; 2 follows small objects. auto: 0.5 above 2048×1152, "
            "otherwise 1."
        ),
        DTYPE.widget(
            "Of the convolutions; motion is always fp32. auto: fp32 on a CPU, fp16 on a GPU that "
            "is fast at it. bf16 is 1.5 times as fast on newer CPUs, and 60 dB from fp32."
        ),
        TILE.widget(
            "Draw large frames in tiles of this many pixels, to save memory. 0: whole frames if "
            "they fit, otherwise the largest tiles that do."
        ),
        IMAGES.widget(
            "Also output an IMAGE for a VIDEO. All frames are then in memory at once: 16 GiB for "
            "a minute of 720p at 24 fps."
        ),
        IMAGE_FPS.widget("Frames per second of the IMAGE input. A VIDEO knows its own."),
    ]


def _source_inputs() -> list[io.Input]:
    return [
        io.Video.Input(
            "video",
            optional=True,
            tooltip="The video, from Decode, Load Video or any other node. Its sound is kept.",
        ),
        io.Image.Input(
            "image",
            optional=True,
            tooltip="Or frames, as one batch. Connect either this or a video.",
        ),
    ]
