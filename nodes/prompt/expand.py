"""A short prompt -> one as the model's captions are."""

from typing import Any

from comfy_api.latest import io

from ...engine.words.expand import expand
from ...engine.words.families import WAN, caption_families
from ...host.comfyui.node_text import show_text
from ...host.networks.settings import captions_of
from ...host.words.writer import check_writes, writer_for
from ...models.errors import InputError
from ..inputs.kinds import Choice, Number, TextBox, verdict
from ..inputs.shared import SEED, found_by

EXAMPLE = "a crimson sphere drifts left on the beach at dusk"
TEXT = TextBox("text", "Who or what is to be seen, and what happens.", default=EXAMPLE)
FAMILY = Choice("family", caption_families(), default=WAN)
TEMPERATURE = Number("temperature", 0.0, 2.0, default=0.7, step=0.05)


class ExpandPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeExpandPrompt",
            display_name="Expand Prompt (Longtake)",
            category="Longtake/Prompt",
            **found_by("enhance prompt, rewrite, llm, text generate, recaption, upsample"),
            description="Makes of a short prompt, or of each shot of a storyboard, one as the "
            "model's captions are: by a language model, if a text encoder that writes is "
            "connected, or else by rules. Nothing that the prompt says is lost.",
            inputs=[
                TEXT.widget(
                    "A prompt, or a storyboard's text: [0s] and so on, [all] for what holds for "
                    "every shot."
                ),
                family_input(),
                SEED.widget("Of what is added, and of a language model's words."),
                TEMPERATURE.widget(
                    "How freely a language model writes. 0: the likeliest word each time."
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="A text encoder that writes: Gemma, Qwen3, Qwen3-VL, Ministral 3. "
                    "Wan's and MiniMax H3's only read.",
                ),
                model_input(),
            ],
            outputs=[
                io.String.Output(
                    display_name="text", tooltip="For Prompt, Storyboard, or any other node."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, text=None, family=None) -> bool | str:
        return verdict((check_words, text), (FAMILY.read, family))

    @classmethod
    def execute(
        cls, text: str, family: str, seed: int, temperature: float, clip=None, model=None
    ) -> io.NodeOutput:
        check_words(text)
        seed, heat = SEED.read(seed), TEMPERATURE.read(temperature)
        wanted, note = read_family(family, model)
        write = None
        if clip is not None:
            check_writes(clip)
            write = writer_for(clip, seed, heat)
        made = expand(text, wanted, seed, write)
        show_text("\n".join(filter(None, (*made.notes, note, made.text))))
        return io.NodeOutput(made.text)


def check_words(text: Any) -> None:
    """Raises InputError for what is no text, too long, or without a word."""
    if not TEXT.read(text).strip():
        raise InputError("the text is empty: write at least who or what is to be seen.")


def family_input() -> io.Combo.Input:
    return FAMILY.widget(
        "The kind of model that the text is for, unless a model is connected. built-in: in the "
        "words that the built-in model knows."
    )


def model_input() -> io.Model.Input:
    return io.Model.Input(
        "model", optional=True, tooltip="Says which kind of model the text is for."
    )


def read_family(family: str, model: Any) -> tuple[str, str]:
    """Whose captions are meant, and a note where the model does not say."""
    chosen = FAMILY.read(family)
    if model is None:
        return chosen, ""
    known = captions_of(model)
    if known is None:
        return chosen, f"nobody has said how this model was captioned: as {chosen}"
    return known, f"for {known}"
