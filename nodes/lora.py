"""LoRA file + MODEL -> MODEL."""

from comfy_api.latest import io

from ..host.comfyui.folders import not_there
from ..host.comfyui.node_text import show_text
from ..host.networks import lora
from ..models.errors import InputError
from . import checks, widgets

STRENGTH = (-100.0, 100.0)


class LoadLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadLora",
            display_name="Load LoRA (Longtake)",
            category="Longtake/Load",
            description="Puts a LoRA on a video model. As core's loader, but reads the names that "
            "diffusers and PEFT write too, and says when a file fits nowhere.",
            inputs=[
                io.Model.Input("model", tooltip="The model to change, or one of two experts."),
                io.Combo.Input(
                    "file",
                    options=lora.menu(),
                    default=lora.NONE,
                    tooltip="A .safetensors file from ComfyUI's models/loras folder; none leaves "
                    "the model as it is.",
                ),
                widgets.number(
                    "strength", 1.0, STRENGTH, "1 is as it was trained, 0 is without it.", step=0.05
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The same model, with the LoRA on it."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, file=None) -> bool | str:
        return checks.verdict(check_file, file)

    @classmethod
    def fingerprint_inputs(cls, file=lora.NONE, **_) -> str:
        if file == lora.NONE:
            return file
        found = lora.find(file).stat()
        return f"{found.st_size} bytes, {found.st_mtime_ns}"

    @classmethod
    def execute(cls, model, file: str, strength: float) -> io.NodeOutput:
        strength = checks.number("strength", strength, *STRENGTH)
        changed, used, unused = lora.add(model, file, strength)
        show_text(
            f"{used} weights changed"
            + (f", {unused} of the LoRA have no place in it" if unused else "")
        )
        return io.NodeOutput(changed)


def check_file(name: str) -> None:
    """Raises InputError for a LoRA that there is not, before a model is loaded for it."""
    offered = lora.menu()
    if name not in offered:
        raise InputError(not_there(name, lora.FOLDER, offered))
