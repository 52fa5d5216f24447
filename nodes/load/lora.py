"""LoRA file + MODEL -> MODEL."""

from comfy_api.latest import io

from ...host.comfyui.node_text import show_text
from ...host.networks import lora
from ..inputs.kinds import Choice, File, Number, verdict
from ..inputs.shared import found_by

FILE = File("file", lora.menu, lora.find, default=lora.NONE, none=lora.NONE)
STRENGTH = Number("strength", -100.0, 100.0, default=1.0, step=0.01)
HALF = Choice("half", lora.HALVES, default=lora.BY_NAME, optional=True, advanced=True)


class LoadLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadLora",
            display_name="Load LoRA (Longtake)",
            category="Longtake/Load",
            **found_by("lora loader, load lora"),
            description="Applies a LoRA to a video model. Like core's loader, but reads the names "
            "that every trainer writes, and says which tensors of a file were not used.",
            inputs=[
                io.Model.Input("model", tooltip="The model to change, or one of two experts."),
                FILE.widget(
                    "A .safetensors file from ComfyUI's models/loras folder; none leaves "
                    "the model as it is."
                ),
                STRENGTH.widget("1 is as it was trained, 0 is without it."),
                HALF.widget(
                    "For a file with a LoRA for each expert of Wan 2.2: which one to take. auto "
                    "goes by the names in the file and of the model."
                ),
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
    def execute(cls, model, file: str, strength: float, half: str = lora.BY_NAME) -> io.NodeOutput:
        changed, fit = lora.add(model, FILE.read(file), STRENGTH.read(strength), HALF.read(half))
        show_text(str(fit))
        return io.NodeOutput(changed)
