"""Which models are loaded; some of them dropped."""

from comfy_api.latest import io, ui

from ...host.comfyui.cache import models
from ...host.comfyui.node_text import show_text
from ...models.errors import InputError
from ..inputs.kinds import Choice, verdict
from ..inputs.shared import each_time, found_by

ACTION = Choice("action", ("show", "drop", "drop all"), default="show")


class ModelCacheNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeModelCache",
            display_name="Model Cache (Longtake)",
            category="Longtake/Load",
            **found_by("free vram, unload models, memory"),
            description="Lists the models that Longtake has loaded: file, kind, dtype, size and "
            "where the weights are. Can drop them from memory. Runs every time.",
            inputs=[
                ACTION.widget(
                    "show: list what is loaded. drop: drop the models whose file name contains "
                    "the text below. drop all: drop every model."
                ),
                io.String.Input(
                    "file",
                    default="",
                    tooltip="For drop: any part of a file's name, such as 'nano' or 'wan2.1_t2v'.",
                ),
                io.AnyType.Input(
                    "after",
                    optional=True,
                    tooltip="Anything. The node waits for it: connect Sample's latent to see what "
                    "is loaded after sampling.",
                ),
            ],
            outputs=[io.String.Output(display_name="report", tooltip="What the node shows.")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, action=None) -> bool | str:
        return verdict((ACTION.read, action))

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return each_time()

    @classmethod
    def execute(cls, action: str, file: str, after=None) -> io.NodeOutput:
        ACTION.read(action)
        if action == "drop" and not file.strip():
            raise InputError("file is empty: enter part of a file's name, or choose 'drop all'.")
        entries = models.entries()
        part = {"show": None, "drop": file.strip(), "drop all": ""}[action]
        dropped = [] if part is None else models.drop_named(part)
        lines = [f"{entry}  dropped" if entry in dropped else str(entry) for entry in entries]
        report = "\n".join(lines) or "Longtake has no models loaded."
        show_text(report)
        return io.NodeOutput(report, ui=ui.PreviewText(report))
