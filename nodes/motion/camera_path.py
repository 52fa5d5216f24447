"""A camera's moves, typed -> a still or a clip as it sees it."""

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ...engine.motion.camera_text import parse_camera
from ...engine.rates import frame_rate
from ...engine.words.camera import TABLE, moves_in_words, read_camera
from ...host.comfyui.films import films_lost
from ...host.comfyui.node_text import show_text
from ...host.sampling.camera import camera_for, with_camera
from ...host.video.footage import open_footage
from ...host.video.moved_camera import Lens, draw_path, image_of, move_camera
from ...host.words.user_table import user_table
from ..inputs.kinds import Number, TextBox, Whole, verdict
from ..inputs.shared import found_by

PATH = TextBox(
    "path",
    "[0s to 3s] pan right 20° ease\n[0s] dolly in 0.1w/s\n[2s to 4s] zoom in 1.5x",
    default="[0s] zoom in 1.3x ease\n[0s] truck right 0.1w ease",
    longest=None,
)
SECONDS = Number("seconds", 0.1, 3600.0, default=5.0)
FPS = Number("fps", 1.0, 240.0, default=24.0)
WIDTH = Whole("width", 0, 8192, default=0, step=2)
HEIGHT = Whole("height", 0, 8192, default=0, step=2)
VIEW = Number("view_angle", 5.0, 150.0, default=50.0, step=0.01)
PARALLAX = Number("parallax", 0.0, 10.0, default=1.0, step=0.05)
SIDE = "Pixels; 0: as the still or the clip is."
NO_PROMPT = "Camera Path gives a conditioning where one is connected to it, and none is."
NOTHING = "Camera Path makes a video of a still or a clip, and neither is connected to 'clip'."


class CameraPathNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeCameraPath",
            display_name="Camera Path (Longtake)",
            category="Longtake/Motion",
            **found_by(
                "camera movement, camera control, pan, tilt, zoom, dolly, truck, orbit, ken burns, "
                "parallax, 2.5d, photo to video"
            ),
            description="Moves a camera over a still or a clip, as typed: pan, tilt, roll, dolly, "
            "truck, crane, zoom, orbit. Exact to the pixel, without a model; with a depth map what "
            "is near moves faster. A long video needs no more memory than a short one.",
            inputs=[*_path_inputs(), *_picture_inputs()],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="What the camera sees, with the clip's sound, for Save Video.",
                ),
                io.Image.Output(
                    display_name="preview",
                    tooltip="The path as a picture: what the camera sees at each second, from blue "
                    "to orange.",
                ),
                io.Conditioning.Output(
                    display_name="positive",
                    tooltip="With the camera's path, for a Fun-Camera checkpoint of Wan.",
                ),
                io.Conditioning.Output(
                    display_name="negative", tooltip="The negative prompt, likewise."
                ),
                io.String.Output(
                    display_name="words",
                    tooltip="The moves in their order, as a prompt says them, for models that are "
                    "told in words how the camera moves.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, path=None) -> bool | str:
        return verdict((parse_camera, path))

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return films_lost()

    @classmethod
    def execute(
        cls,
        path: str,
        seconds: float,
        fps: float,
        width: int,
        height: int,
        view_angle: float,
        parallax: float,
        clip=None,
        depth=None,
        positive=None,
        negative=None,
    ) -> io.NodeOutput:
        moves = parse_camera(PATH.read(path))
        seconds, fps = SECONDS.read(seconds), frame_rate(FPS.read(fps))
        sides = WIDTH.read(width), HEIGHT.read(height)
        lens = Lens(*sides, VIEW.read(view_angle), PARALLAX.read(parallax))
        if clip is None:
            video, drawn = ExecutionBlocker(NOTHING), draw_path(moves, lens, seconds)
        else:
            with open_footage(clip, fps) as footage:
                video, drawn, note = move_camera(footage, moves, lens, seconds, fps, depth)
            show_text(note)
        picture = image_of(drawn)
        camera = camera_for(moves, seconds, fps)
        prompts = [
            ExecutionBlocker(NO_PROMPT) if prompt is None else with_camera(prompt, camera, *sides)
            for prompt in (positive, negative)
        ]
        spoken = [move.spoken for move in sorted(moves, key=lambda move: move.span.start)]
        words = moves_in_words(spoken, read_camera(user_table(TABLE)))
        return io.NodeOutput(video, picture, *prompts, words, ui=ui.PreviewImage(picture, cls=cls))


def _path_inputs() -> list[io.Input]:
    return [
        PATH.widget(
            "One move a line: when, which and how much, as '[0s to 3s] pan right 20° ease'. [2s] "
            "alone lasts until the end. pan, tilt, roll and orbit take degrees, dolly, truck and "
            "crane picture widths (0.2w), zoom a factor (1.5x); with /s they are speeds. At the "
            "end: linear, ease, ease-in or ease-out. Moves that overlap add up."
        ),
        SECONDS.widget("How long the video is that is made of a still. A clip has its own length."),
        FPS.widget("Frames per second of a still or an IMAGE batch. A VIDEO knows its own."),
        WIDTH.widget(SIDE),
        HEIGHT.widget(SIDE),
        VIEW.widget(
            "Degrees that the lens takes in from left to right: 50 is a normal lens, 20 a long "
            "one, 90 a wide one. It decides how much perspective a pan, a tilt or an orbit has."
        ),
        PARALLAX.widget(
            "With a depth map: how much faster than the background the nearest thing moves. 1 is "
            "twice as fast, 0 as fast."
        ),
    ]


def _picture_inputs() -> list[io.Input]:
    return [
        io.MultiType.Input(
            "clip",
            types=[io.Image, io.Video],
            optional=True,
            tooltip="A still as an IMAGE, frames as one batch, or a VIDEO.",
        ),
        io.Image.Input(
            "depth",
            optional=True,
            tooltip="A depth map of the still, or one for each frame, from any depth node: white "
            "is near, black is far.",
        ),
        io.Conditioning.Input(
            "positive",
            optional=True,
            tooltip="A prompt, to tell a Fun-Camera checkpoint of Wan where the camera goes.",
        ),
        io.Conditioning.Input("negative", optional=True, tooltip="The negative prompt, likewise."),
    ]
