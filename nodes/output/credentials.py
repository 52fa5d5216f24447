"""What a file says about where it came from, and whether that is true."""

from comfy_api.latest import io, ui

from ...engine.frames.watermark import describe_mark
from ...engine.provenance.report import describe_report
from ...engine.provenance.signing import MIME
from ...host.comfyui.node_text import show_text
from ...host.provenance.credentials import file_behind, report_on
from ...host.provenance.mark import find_mark_in
from ..inputs.kinds import verdict
from ..inputs.shared import NO_FILE, each_time, file_chosen, file_or_none, found_by

CATEGORY = "Longtake/Save"
FILE = file_or_none(MIME)


class ReadCredentials(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeReadCredentials",
            display_name="Read Credentials (Longtake)",
            category=CATEGORY,
            **found_by("c2pa, provenance, content credentials"),
            description="Reads the Content Credentials in a video or picture file: whether AI made "
            "it, with what, and whether it has been changed since. Never uses the network.",
            inputs=[
                FILE.widget(
                    "A file from the input folder, or one of the newest in the output "
                    "folder; the button uploads one. Empty: the video input is read."
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A VIDEO that is a file, from Save Video or Load Video. The file "
                    "itself is read, not its frames.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="What it says, in plain words."),
                io.String.Output(display_name="json", tooltip="All of it, as JSON for programs."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, file=NO_FILE) -> bool | str:
        return verdict((FILE.read, file))

    @classmethod
    def fingerprint_inputs(cls, file=NO_FILE, **_) -> str:
        # A file may have been replaced since, or the trust list changed.
        return each_time()

    @classmethod
    def execute(cls, file: str, video=None) -> io.NodeOutput:
        path = file_chosen(FILE, file, video) or file_behind(video)
        report = report_on(path)
        show_text(said := describe_report(report))
        words = f"{path.name}: {said}"
        return io.NodeOutput(words, report.as_json(), ui=ui.PreviewText(words))


class ReadMark(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeReadMark",
            display_name="Read Mark (Longtake)",
            category=CATEGORY,
            **found_by("watermark, made by ai"),
            description="Looks for the invisible watermark that Save Video can put into frames, "
            "and says how sure it is. It informs; it proves nothing, because anybody can remove or "
            "forge it.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    types=[io.Video, io.Image],
                    tooltip="A VIDEO or an IMAGE batch, as it was or re-encoded, scaled, cropped "
                    "or mirrored.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="What was found, in plain words."),
                io.Boolean.Output(display_name="present", tooltip="Whether there is a mark."),
                io.Float.Output(
                    display_name="confidence",
                    tooltip="Standard deviations above chance; 8 or more counts as present.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, video) -> io.NodeOutput:
        mark = find_mark_in(video)
        words = describe_mark(mark)
        show_text(words)
        return io.NodeOutput(words, mark.present, mark.z, ui=ui.PreviewText(words))
