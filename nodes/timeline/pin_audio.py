"""Sound, pinned to a time on the canvas of a model that makes sound."""

from comfy_api.latest import io

from ...engine.canvas.timeline import LONGEST
from ...host.comfyui.latent import to_canvas
from ...host.video.onto_canvas import pin_audio
from ..inputs import timeline
from ..inputs.kinds import Number
from ..inputs.shared import audio_vae_input, found_by, latent_output

AT = Number("at", 0.0, LONGEST, default=0.0)


class PinAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakePinAudio",
            display_name="Pin Audio (Longtake)",
            category=timeline.CATEGORY,
            **found_by("audio to video, a2v, ia2v, lip sync, song, voice, music video"),
            description="Puts a song, a voice or a noise on the canvas of a model that makes sound "
            "(LTX-2, MiniMax H3); Sample generates the pictures, and the rest of the sound, to "
            "fit.",
            inputs=[
                io.Latent.Input(
                    "latent",
                    tooltip="The canvas, from Canvas, another Timeline node or core's empty "
                    "LATENT. What it already knows stays.",
                ),
                io.Audio.Input(
                    "audio", tooltip="One or two channels; of more the first two are taken."
                ),
                audio_vae_input(),
                AT.widget("Seconds from the start of the canvas at which the sound begins."),
            ],
            outputs=[timeline.canvas_output()],
        )

    @classmethod
    def execute(cls, latent, audio, audio_vae, at: float) -> io.NodeOutput:
        canvas = pin_audio(to_canvas(latent), audio, audio_vae, AT.read(at))
        return io.NodeOutput(latent_output(canvas, latent))
