"""Prompt -> CONDITIONING."""

from comfy_api.latest import io

from ...host.comfyui.node_text import show_text
from ...host.networks.text_encoder import encode_text, tokenized, unknown_in_words
from ..inputs.kinds import TextBox
from ..inputs.shared import found_by

TEXT = TextBox("text", "What to show and how it moves; as the negative, what not to show.")


class PromptNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePrompt",
            display_name="Prompt (Longtake)",
            category="Longtake/Prompt",
            **found_by("clip text encode, text prompt, t2v, text to video"),
            description="Describes what the video should show or, as the negative, should not.",
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder that belongs to the model."),
                TEXT.widget(
                    "What to show and how it moves. (word:1.3) gives a word more weight, "
                    "(word:0.7) less; {red|blue} picks one at random each time it is queued."
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="For Sample's positive or negative, or any other sampler's.",
                )
            ],
        )

    @classmethod
    def execute(cls, clip, text: str) -> io.NodeOutput:
        tokens = tokenized(clip, TEXT.read(text))
        if unknown := unknown_in_words(clip, text):
            show_text(unknown)
        return io.NodeOutput(encode_text(clip, tokens))
