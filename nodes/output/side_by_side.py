"""VIDEOs -> one that shows them all, and the one that is chosen."""

from comfy_api.latest import io

from ...host.comfyui.node_text import show_text
from ...host.video.side_by_side import side_by_side
from ...models.errors import InputError
from ..inputs.kinds import Whole
from ..inputs.shared import found_by

CHOSEN = Whole("chosen", 1, 64, default=1)


class SideBySide(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSideBySide",
            display_name="Side by Side (Longtake)",
            category="Longtake/Video",
            **found_by("compare, grid, contact sheet, variations, choose, select"),
            description="Shows several videos as one, each with its number, and hands on the one "
            "that you choose. Choosing another makes nothing anew but what follows.",
            is_input_list=True,
            inputs=[
                io.Video.Input(
                    "video",
                    tooltip="Several videos out of one connection, as Variations leads to, or a "
                    "batch out of Decode.",
                ),
                CHOSEN.widget("The number of the one that goes on."),
            ],
            outputs=[
                io.Video.Output(
                    display_name="sheet", tooltip="All of them, with the first one's sound."
                ),
                io.Video.Output(
                    display_name="chosen",
                    tooltip="The chosen one as it came, for Save Video, Extend Video and so on.",
                ),
            ],
        )

    @classmethod
    def execute(cls, video: list, chosen: list[int]) -> io.NodeOutput:
        number = CHOSEN.read(chosen[0])
        if number > len(video):
            raise InputError(
                f"chosen {number}: there are {len(video)}, so choose 1 to {len(video)}."
            )
        sheet = side_by_side(video)
        show_text(f"{len(video)} videos, number {number} goes on")
        return io.NodeOutput(sheet, video[number - 1])
