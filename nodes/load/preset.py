"""The settings a checkpoint was trained for, as values for other nodes."""

from comfy_api.latest import io

from ...host.comfyui.node_text import show_text
from ...host.networks.settings import described, preset
from ..inputs.shared import found_by


class Preset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePreset",
            display_name="Preset (Longtake)",
            category="Longtake/Load",
            **found_by("checkpoint settings, defaults"),
            description="The settings that a model was trained for, to connect to Canvas, "
            "Schedule, Sample and Prompt: change the checkpoint, and the graph follows.",
            inputs=[io.Model.Input("model", tooltip="A video model, ours or core's.")],
            outputs=[
                io.Int.Output(display_name="steps", tooltip="For Schedule."),
                io.Float.Output(
                    display_name="shift", tooltip="For Schedule, at the size given here."
                ),
                io.Float.Output(display_name="cfg", tooltip="For Sample."),
                io.Float.Output(display_name="fps", tooltip="Frames per second, for Canvas."),
                io.Float.Output(
                    display_name="seconds", tooltip="The length it was trained on, for Canvas."
                ),
                io.Int.Output(display_name="width", tooltip="In pixels, for Canvas."),
                io.Int.Output(display_name="height", tooltip="In pixels, for Canvas."),
                io.String.Output(
                    display_name="negative",
                    tooltip="The negative prompt its makers use, for the second Prompt.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        values = preset(model)
        show_text(described(model))
        return io.NodeOutput(*values.values())
