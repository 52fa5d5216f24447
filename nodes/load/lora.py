"""LoRA file + MODEL -> MODEL."""

from comfy_api.latest import io

from ...host.comfyui.node_text import show_text
from ...host.networks import lora
from ..inputs.kinds import File, Number, verdict
from ..inputs.shared import found_by

FILE = File("file", lora.menu, lora.find, default=lora.NONE, none=lora.NONE)
STRENGTH = Number("strength", -100.0, 100.0, default=1.0, step=0.01)


class LoadLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadLora",
            display_name="Load LoRA (Longtake)",
            category="Longtake/Load",
            **found_by("lora loader, load lora"),
            description="Applies a LoRA to a video model. Like core's loader, but also reads the "
            "key names that diffusers and PEFT write, and says when a file fits nowhere.",
            inputs=[
                io.Model.Input("model", tooltip="The model to change, or one of two experts."),
                FILE.widget(
                    "A .safetensors file from ComfyUI's models/loras folder; none leaves "
                    "the model as it is."
                ),
                STRENGTH.widget("1 is as it was trained, 0 is without it."),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The same model, with the LoRA applied."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, file=None) -> bool | str:
        return verdict((FILE.read, file))

    @classmethod
    def fingerprint_inputs(cls, file=lora.NONE, **_) -> str:
        return FILE.version(file)

    @classmethod
    def execute(cls, model, file: str, strength: float) -> io.NodeOutput:
        changed, used, unused = lora.add(model, file, STRENGTH.read(strength))
        show_text(
            f"{used} weights changed"
            + (f", {unused} of the LoRA have no place in it" if unused else "")
        )
        return io.NodeOutput(changed)
