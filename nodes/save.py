"""VIDEO -> a file in the output folder."""

from comfy_api.latest import InputImpl, io, ui

from ..engine.file_name import safe_name
from ..host.video import graph_in, save
from . import checks


class SaveVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSaveVideo",
            display_name="Save Video (Longtake)",
            category="Longtake/Save",
            description="Saves a VIDEO as mp4 (h264) in ComfyUI's output folder. The file appears "
            "when it is whole, never before, and no file is ever overwritten.",
            inputs=[
                io.Video.Input("video", tooltip="The video, from Decode or any other node."),
                io.String.Input(
                    "filename_prefix",
                    default="longtake/video",
                    tooltip="The beginning of the file's name, with / for folders below the output "
                    "folder; a number is added. %year%, %month%, %day%, %hour%, %minute%, "
                    "%second%, %width% and %height% are filled in.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The saved file.")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, filename_prefix=None) -> bool | str:
        return checks.verdict(safe_name, filename_prefix)

    @classmethod
    def execute(cls, video, filename_prefix: str) -> io.NodeOutput:
        path, name = save(video, filename_prefix, graph_in(cls.hidden))
        shown = ui.SavedResult(name.name, str(name.parent).removeprefix("."), io.FolderType.output)
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=ui.PreviewVideo([shown]))
