"""What a crash left of a video."""

from comfy_api.latest import io, ui

from ...host.comfyui.node_text import show_text
from ...host.video.unfinished import find_unfinished, salvaged_video, unfinished_menu
from ..inputs.kinds import File, verdict
from ..inputs.shared import each_time, found_by

NEWEST = ""
FILE = File(
    "file",
    menu=lambda: [NEWEST, *unfinished_menu()],
    find=find_unfinished,
    default=NEWEST,
    none=NEWEST,
)


class SalvageNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSalvage",
            display_name="Salvage (Longtake)",
            category="Longtake/Save",
            **found_by("recover, crash, unfinished video, repair mp4"),
            description="Makes an ordinary video of what a crash left of one: all but the last "
            "second. The unfinished file stays.",
            inputs=[
                FILE.widget(
                    "An unfinished video in the output folder, newest first. Empty: the newest."
                ),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="What was recovered, a file in the same folder."
                )
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, file=NEWEST) -> bool | str:
        return verdict((FILE.read, file))

    @classmethod
    def fingerprint_inputs(cls, file=NEWEST) -> str:
        return each_time()  # the folder has changed since

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        video, saved = salvaged_video(FILE.read(file))
        words = f"{saved.seconds:.2f} s, {saved.frames} frames: {saved.path.name}"
        show_text(words)
        return io.NodeOutput(video, ui=ui.PreviewText(words))
