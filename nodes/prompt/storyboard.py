"""Shots -> a storyboard, for Long Take or for any sampler."""

from fractions import Fraction

from comfy_api.latest import io

from ...engine.rates import MAX_RATE, frame_rate
from ...engine.take.layout import check_end
from ...engine.take.storyboard import (
    DISSOLVE,
    TRANSITIONS,
    Shot,
    checked,
    merged,
    with_standing,
)
from ...engine.take.storyboard_text import parse_storyboard, read_storyboard
from ...engine.written import clock
from ...host.comfyui.conditioning import MEET
from ...host.comfyui.node_text import show_text
from ...host.networks.text_encoder import unknown_in_words
from ...host.take.storyboards import board_of, in_one_window
from ..inputs.kinds import Choice, Number, TextBox, Whole, verdict
from ..inputs.shared import SEED, found_by

CATEGORY = "Longtake/Storyboard"
ShotsType = io.Custom("LONGTAKE_SHOTS")
StoryboardType = io.Custom("LONGTAKE_STORYBOARD")
EXAMPLE = """[0s] a big red ball rises over the grass at sunset
[2s cut] a blue cube spins on the snow at night
[4s dissolve 0.5s] a yellow cone moves left on the sand during the day"""
TEXT = TextBox(
    "text",
    placeholder="[0s] a red ball on the grass\n[4s cut] a blue cube on the snow",
    default=EXAMPLE,
    longest=None,  # it is each shot's prompt that is encoded
)
SECONDS = Number("seconds", 0.1, 36_000.0, default=6.0)
FPS = Number("fps", 1.0, MAX_RATE, default=8.0)
SNAP = Number("snap", 0.0, 10.0, default=0.5, advanced=True)
MEET_LEVEL = Number("meet", 0.0, 1.0, default=MEET, step=0.05, advanced=True)

PROMPT = TextBox("prompt", placeholder="What this shot shows and how it moves.")
START = Number("start", 0.0, SECONDS.high, default=0.0)
TRANSITION = Choice("transition", TRANSITIONS, default="cut")
DISSOLVE_SECONDS = Number("dissolve", 0.01, 60.0, default=float(DISSOLVE))
OWN_SEED = Whole("seed", -1, SEED.high, default=-1, control_after_generate=False)


class Storyboard(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeStoryboard",
            display_name="Storyboard (Longtake)",
            category=CATEGORY,
            **found_by("multi shot, scenes, shot list, script, timeline, music video"),
            description="Several shots, each with its own prompt, written as text: [0s] what is "
            "seen first, [4s cut] what comes next, [9s dissolve 0.5s] and so on. With music, cuts "
            "move to its beats.",
            inputs=[
                *_written_inputs(),
                *_setting_inputs(),
            ],
            outputs=[
                StoryboardType.Output(display_name="storyboard", tooltip="For Long Take."),
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="For Sample or core's samplers, as positive: all shots in one window, "
                    "each latent frame attending to its own shot's prompt.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, text=None, seconds=None, shots="none") -> bool | str:
        return verdict((_check_shots, text, seconds, shots or "connected"))

    @classmethod
    def execute(
        cls,
        clip,
        text: str,
        seconds: float,
        fps: float,
        snap: float,
        meet: float,
        shots=(),
        audio=None,
    ) -> io.NodeOutput:
        example = bool(shots) and TEXT.read(text).strip() == EXAMPLE
        written, standing = read_storyboard("" if example else TEXT.read(text))
        board, in_words = board_of(
            clip,
            with_standing(merged(written, shots or ()), standing),
            to_fraction(SECONDS.read(seconds)),
            frame_rate(FPS.read(fps)),
            meet=MEET_LEVEL.read(meet),
            snap=SNAP.read(snap),
            audio=audio,
        )
        unknown = unknown_in_words(clip, *(shot.prompt for shot in board.shots))
        left_out = "the example text is left out: Shots are connected" if example else ""
        show_text("\n".join(filter(None, (unknown, in_words, left_out))))
        return io.NodeOutput(board, in_one_window(board))


class ShotNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeShot",
            display_name="Shot (Longtake)",
            category=CATEGORY,
            **found_by("scene, cut"),
            description="One shot of a storyboard. Chain several; the last goes into Storyboard.",
            inputs=[
                PROMPT.widget("What the shot shows."),
                START.widget("When it begins, in seconds. The first shot begins at 0."),
                TRANSITION.widget("How it follows the shot before it."),
                DISSOLVE_SECONDS.widget(
                    "How many seconds a dissolve takes, from the shot's start. Ignored for a cut."
                ),
                OWN_SEED.widget(
                    "-1: the take's seed. Any other number is the shot's own, and its noise is "
                    "then the same wherever the shot stands."
                ),
                ShotsType.Input("shots", optional=True, tooltip="The Shot before this one."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="An image that the shot begins with, cropped to the take's shape.",
                ),
            ],
            outputs=[
                ShotsType.Output(display_name="shots", tooltip="For the next Shot, or Storyboard.")
            ],
        )

    @classmethod
    def validate_inputs(cls, transition=None) -> bool | str:
        return verdict((TRANSITION.read, transition))

    @classmethod
    def execute(
        cls,
        prompt: str,
        start: float,
        transition: str,
        dissolve: float,
        seed: int,
        shots=(),
        image=None,
    ) -> io.NodeOutput:
        begins, lasts = to_fraction(START.read(start)), to_fraction(DISSOLVE_SECONDS.read(dissolve))
        own = OWN_SEED.read(seed)
        shot = Shot(
            begins,
            PROMPT.read(prompt),
            TRANSITION.read(transition),
            lasts if transition == "dissolve" else Fraction(0),
            None if own < 0 else own,
            image,
            where=f"the Shot node at {clock(begins)}",
        )
        return io.NodeOutput((*(shots or ()), shot))


def _written_inputs() -> list:
    """What the shots are and how long they last."""
    return [
        io.Clip.Input("clip", tooltip="The text encoder that belongs to the model."),
        TEXT.widget(
            "One block per shot: its time in brackets, then its prompt. [4s cut] or [4s] cuts, "
            "[4s dissolve 0.5s] dissolves; 'seed 7' inside the brackets gives the shot noise of "
            "its own. What follows [all] begins the prompt of every shot. Lines that begin "
            "with # are comments."
        ),
        SECONDS.widget("When the last shot ends."),
        FPS.widget(
            "Frames per second, as the model was trained: 8 for the built-in one, "
            "16 for Wan 2.1, 24 for TI2V-5B."
        ),
    ]


def _setting_inputs() -> list:
    """How shots relate, and the optional sockets."""
    return [
        SNAP.widget(
            "With audio: by how many seconds a cut may move to fall on a beat. 0 leaves every cut "
            "where it is."
        ),
        MEET_LEVEL.widget(
            "For shots that share a window: the noise level below which they attend to each "
            "other. 1: from the first step, so they look alike and cuts may blur. 0: never."
        ),
        ShotsType.Input(
            "shots",
            optional=True,
            tooltip="Shots from Shot nodes, added to those in the text. The text that the node "
            "begins with is left out then.",
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Music: cuts move to its beats, and it becomes the take's sound.",
        ),
    ]


def to_fraction(seconds: float) -> Fraction:
    """4.1 as 41/10, not as the nearest number in binary."""
    return Fraction(str(seconds))


def _check_shots(text, seconds, shots: str) -> None:
    """Refuse what can be seen to be wrong before anything runs; shots from nodes come later."""
    end = to_fraction(SECONDS.read(seconds))
    written = parse_storyboard(TEXT.read(text))
    if shots == "none":
        check_end(checked(written), end)
