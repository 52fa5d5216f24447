"""A prompt -> the same in a style, or with a camera and a strength of motion."""

from typing import Any

from comfy_api.latest import io

from ...engine.sampling.host_presets import captioned_as
from ...engine.words.amend import joined_lists
from ...engine.words.camera import (
    AS_WRITTEN,
    MOTIONS,
    UNSAID,
    filmed,
    read_camera,
    row_called,
)
from ...engine.words.camera import (
    TABLE as CAMERA_TABLE,
)
from ...engine.words.families import BUILT_IN
from ...engine.words.styles import NO_STYLE, read_styles, style_called, styled
from ...engine.words.styles import TABLE as STYLE_TABLE
from ...host.comfyui.node_text import show_text
from ...host.networks.settings import settings_of
from ...host.words.user_table import table_version, user_table
from ...models.errors import LongtakeError
from ..inputs.kinds import TextBox, Whole, verdict
from ..inputs.shared import found_by
from .expand import FAMILY, family_input, model_input, read_family

CATEGORY = "Longtake/Prompt"
TEXT = TextBox("text", "The prompt.")
NEGATIVE = TextBox("negative", "What not to show.")  # comes over a link alone
STYLES, CAMERA = STYLE_TABLE.name, CAMERA_TABLE.name
MOTION = Whole("motion", UNSAID, max(MOTIONS), default=UNSAID)


class StyleNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeStyle",
            display_name="Style (Longtake)",
            category=CATEGORY,
            **found_by("look, preset, film noir, anime, stop motion, papercraft"),
            description="Puts a prompt, or a storyboard, into a look: words before and behind it, "
            "what to add to the negative prompt, and a cfg.",
            inputs=[
                _text_input("style"),
                io.Combo.Input(
                    "style",
                    options=_menu(read_styles, STYLES),
                    default=NO_STYLE,
                    tooltip="The look. Your own are in longtake/styles.json in ComfyUI's user "
                    "folder.",
                ),
                *_usual_inputs(),
            ],
            outputs=[
                *_usual_outputs(),
                io.Float.Output(
                    display_name="cfg", tooltip="For Sample or Long Take: suggested for the style."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, style=None, family=None) -> bool | str:
        return verdict((_style, style), (FAMILY.read, family))

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return table_version(STYLES)

    @classmethod
    def execute(
        cls, text: str, style: str, family: str, negative: str = "", model=None
    ) -> io.NodeOutput:
        chosen, prompt = _style(style), TEXT.read(text)
        wanted, note = read_family(family, model)
        made = styled(prompt, chosen, wanted)
        settings = (settings_of(model) if model is not None else None) or captioned_as(wanted)
        # A model that was distilled to a cfg of 1 is not to be guided; and below 1 the negative
        # prompt would become the prompt.
        cfg = max(1.0, round(settings.cfg * chosen.cfg, 2)) if settings.cfg > 1 else settings.cfg
        show_text("\n".join(filter(None, (made.note, note, f"cfg {cfg:g}", made.text))))
        unwanted = "" if wanted == BUILT_IN else chosen.negative  # which no caption of it has
        return io.NodeOutput(made.text, joined_lists(NEGATIVE.read(negative), unwanted), cfg)


class CameraAndMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeCamera",
            display_name="Camera and Motion (Longtake)",
            category=CATEGORY,
            **found_by("pan, zoom, dolly, orbit, shot size, close-up, motion strength"),
            description="Adds to a prompt, or a storyboard, how the camera moves, how much is "
            "seen and how much moves, in the words that the model was captioned with.",
            inputs=[
                _text_input("camera"),
                io.Combo.Input(
                    "move",
                    options=[AS_WRITTEN, *_menu(lambda own: read_camera(own).moves, CAMERA)],
                    default=AS_WRITTEN,
                    tooltip="What the camera does. Your own are in longtake/camera.json in "
                    "ComfyUI's user folder.",
                ),
                io.Combo.Input(
                    "size",
                    options=[AS_WRITTEN, *_menu(lambda own: read_camera(own).sizes, CAMERA)],
                    default=AS_WRITTEN,
                    tooltip="How much is seen, and from where.",
                ),
                MOTION.widget("How much moves, from 0, nearly nothing, to 4. -1: as written."),
                *_usual_inputs(),
            ],
            outputs=_usual_outputs(),
        )

    @classmethod
    def validate_inputs(cls, move=None, size=None, family=None) -> bool | str:
        return verdict((_rows, move, size), (FAMILY.read, family))

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return table_version(CAMERA)

    @classmethod
    def execute(
        cls,
        text: str,
        move: str,
        size: str,
        motion: int,
        family: str,
        negative: str = "",
        model=None,
    ) -> io.NodeOutput:
        prompt, level = TEXT.read(text), MOTION.read(motion)
        rows = _rows(move, size, AS_WRITTEN if level == UNSAID else str(level))
        wanted, note = read_family(family, model)
        made = filmed(prompt, *rows, wanted)
        show_text("\n".join(filter(None, (*made.notes, note, made.text))))
        return io.NodeOutput(made.text, joined_lists(NEGATIVE.read(negative), made.negative))


def _style(name: Any):
    """A style by its name, of the pack's table and the user's own."""
    return style_called(name, read_styles(user_table(STYLES)))


def _rows(move: Any, size: Any, motion: str = AS_WRITTEN) -> tuple:
    """What was chosen of each part of the camera's table."""
    table = read_camera(user_table(CAMERA))
    return (
        row_called(move, table.moves, "camera move"),
        row_called(size, table.sizes, "shot size"),
        row_called(motion, table.motion, "strength of motion"),
    )


def _menu(read, name: str) -> list[str]:
    """The names in a table; of the pack's alone where the user's own is broken.

    That is told when the node is queued: without a menu it would be gone from every graph.
    """
    try:
        return list(read(user_table(name)))
    except LongtakeError:
        return list(read(None))


def _text_input(of: str) -> io.String.Input:
    return TEXT.widget(f"The prompt, or a storyboard's text, whose [all] then has the {of}.")


def _usual_inputs() -> list[io.Input]:
    """What stands below the widgets of a node's own."""
    negative = io.String.Input(
        "negative",
        optional=True,
        default="",
        force_input=True,
        tooltip="A negative prompt, as Preset has it, to which this is added.",
    )
    return [family_input(), negative, model_input()]


def _usual_outputs() -> list[io.Output]:
    """What goes on to the two prompts."""
    return [
        io.String.Output(display_name="text", tooltip="For Prompt or Storyboard."),
        io.String.Output(
            display_name="negative", tooltip="For the second Prompt: what not to show."
        ),
    ]
