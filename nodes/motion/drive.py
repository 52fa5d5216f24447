"""A character and a clip -> a canvas on which the character performs the clip."""

from comfy_api.latest import io

from ...engine.canvas.timeline import LONGEST
from ...engine.rates import MAX_RATE
from ...host.video.driving import CHARACTER_IS, Asked, Others, driven_canvas
from ..inputs.kinds import Choice, Flag, Number, TextBox, Whole, verdict
from ..inputs.shared import found_by, latent_output, vae_input
from ..inputs.timeline import FIT

SECONDS = Number("seconds", 0.0, LONGEST, default=0.0)
FPS = Number("fps", 0.0, MAX_RATE, default=0.0)
WIDTH = Whole("width", 0, 8192, default=0, step=16)
HEIGHT = Whole("height", 0, 8192, default=0, step=16)
CHARACTER = Choice("character_is", CHARACTER_IS, default=CHARACTER_IS[0])
STRENGTH = Number("strength", 0.0, 2.0, default=1.0, step=0.05, advanced=True)
CLIP_FPS = Number("clip_fps", 0.0, MAX_RATE, default=0.0, optional=True)
REPLACE = Flag("replace", optional=True, advanced=True)
WORDS = TextBox(
    "words",
    "<Picture 1> dances as in <Video 1>, in an empty hall",
    longest=None,
    optional=True,
)


class Drive(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDrive",
            display_name="Drive (Longtake)",
            category="Longtake/Motion",
            **found_by(
                "animate, character, motion transfer, performance, viggle, dance, wan animate, "
                "scail, vace, driving video, pose"
            ),
            description="A canvas on which a character performs a video of any length. Connect it "
            "to Sample or Long Take with a checkpoint made for that: Wan-Animate 2, Wan 2.2 "
            "Animate, SCAIL-2, MiniMax H3 or VACE. The built-in model cannot.",
            inputs=[
                vae_input(),
                io.Image.Input(
                    "character", tooltip="Who performs: a picture of any size, the whole figure."
                ),
                io.MultiType.Input(
                    "clip",
                    types=[io.Image, io.Video],
                    tooltip="What is performed, of any length, size and frame rate. Wan-Animate 2 "
                    "and SCAIL-2 take the video itself; Wan 2.2 Animate its poses, and VACE poses, "
                    "depth or edges, as a preprocessor draws them.",
                ),
                *_widgets(),
                *_optional_inputs(),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The canvas, for Sample, or for Long Take's canvas.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The clip's sound, for Long Take or Save Video; nothing if it has "
                    "none.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, character_is=None, fit=None) -> bool | str:
        return verdict((CHARACTER.read, character_is), (FIT.read, fit))

    @classmethod
    def execute(
        cls,
        vae,
        character,
        clip,
        seconds: float,
        fps: float,
        width: int,
        height: int,
        character_is: str,
        fit: str,
        strength: float,
        clip_fps: float = CLIP_FPS.default,
        face=None,
        masks=None,
        character_mask=None,
        replace: bool = REPLACE.default,
        clip_vision_output=None,
        text_encoder=None,
        words: str = WORDS.default,
        background=None,
        background_mask=None,
    ) -> io.NodeOutput:
        asked = Asked(
            SECONDS.read(seconds),
            FPS.read(fps),
            WIDTH.read(width),
            HEIGHT.read(height),
            FIT.read(fit),
            STRENGTH.read(strength),
            CHARACTER.read(character_is),
            CLIP_FPS.read(clip_fps),
            REPLACE.read(replace),
        )
        others = Others(
            face,
            masks,
            character_mask,
            clip_vision_output,
            text_encoder,
            WORDS.read(words),
            background,
            background_mask,
        )
        canvas, sound = driven_canvas(vae, character, clip, asked, others)
        return io.NodeOutput(latent_output(canvas), sound)


def _widgets() -> list[io.Input]:
    return [
        SECONDS.widget(
            "How long the video is. 0: as long as the clip. Past the clip's end its last frame is "
            "held."
        ),
        FPS.widget(
            "Frames per second of the video, as the model was trained: 16 for Wan. 0: what models "
            "of this VAE were trained at. The clip is taken frame by frame at the nearest time."
        ),
        WIDTH.widget(
            "Pixels, a multiple of 16. 0: of the clip's shape, at as many pixels as the model was "
            "trained at."
        ),
        HEIGHT.widget("Pixels, likewise."),
        CHARACTER.widget(
            "reference: the model is shown the character beside the video. first frame: the video "
            "begins with the picture, exactly; best if the character stands there as in the clip."
        ),
        FIT.widget(
            "If the clip's shape differs from the video's: crop fills the frame and cuts off the "
            "rest, pad shows everything between black bars, stretch distorts it."
        ),
        STRENGTH.widget(
            "How much the clip counts: 1 as trained; lower leaves the model freer. Not for Wan 2.2 "
            "Animate."
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    return [
        CLIP_FPS.widget(
            "Frames per second of a clip that is an IMAGE batch; 0: as many as the video's. A "
            "VIDEO knows its own."
        ),
        io.MultiType.Input(
            "face",
            types=[io.Image, io.Video],
            optional=True,
            tooltip="For Wan 2.2 Animate: the face in each frame of the clip, cut out.",
        ),
        io.MultiType.Input(
            "masks",
            types=[io.Image, io.Video],
            optional=True,
            tooltip="For SCAIL-2: who is where in each frame of the clip, in colours, from core's "
            "Create SCAIL-2 Colored Mask.",
        ),
        io.Image.Input(
            "character_mask",
            optional=True,
            tooltip="For SCAIL-2: the same of the character's picture, from the same node.",
        ),
        REPLACE.widget(
            "For SCAIL-2: the character takes the place of somebody in the clip, whose "
            "surroundings stay. As in the node that made the masks."
        ),
        io.ClipVisionOutput.Input(
            "clip_vision_output",
            optional=True,
            tooltip="The character through core's CLIP Vision Encode, which Wan-Animate and SCAIL "
            "read.",
        ),
        io.Clip.Input(
            "text_encoder",
            optional=True,
            tooltip="For MiniMax H3: its text encoder, which is shown the character and each "
            "window's part of the clip.",
        ),
        WORDS.widget(
            "For MiniMax H3, in place of the prompt: what is seen, with <Picture 1> for the "
            "character and <Video 1> for the clip. Needs text_encoder."
        ),
        io.MultiType.Input(
            "background",
            types=[io.Image, io.Video],
            optional=True,
            tooltip="For Wan 2.2 Animate, what the character is put into: the video that the poses "
            "were drawn from, or any other of its length, or one picture. Without it the "
            "character's own picture is animated.",
        ),
        io.Mask.Input(
            "background_mask",
            optional=True,
            tooltip="White where the character is painted: somebody in the background who is "
            "replaced, drawn wide. One for all frames, or one for each. The rest stays.",
        ),
    ]
