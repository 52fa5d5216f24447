"""IMAGE -> LATENT."""

from comfy_api.latest import io

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.masked import MaskedLatents
from ...engine.rates import MAX_RATE, frame_rate
from ...host.comfyui.latent import to_latent
from ...host.networks.codec import codec_for
from ..inputs.kinds import Number
from ..inputs.shared import found_by, vae_input

FPS = Number("fps", 0.0, MAX_RATE, default=0.0)


class Encode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeEncode",
            display_name="Encode (Longtake)",
            category="Longtake/Canvas",
            **found_by("vae encode, image to latent"),
            description="Encodes the frames of a clip into latents, a few at a time.",
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The frames as one batch. Their number must be 1 + a multiple of 4, "
                    "and width and height multiples of 8 (Wan 2.1) or 16 (TI2V-5B, built-in).",
                ),
                vae_input(),
                FPS.widget(
                    "Frames per second of the clip, for Decode. 0: unknown; Decode then uses what "
                    "the VAE's model was trained at."
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="For Sample with a Schedule whose denoise is below 1, or for Decode.",
                )
            ],
        )

    @classmethod
    def execute(cls, image, vae, fps: float) -> io.NodeOutput:
        fps = FPS.read(fps)
        codec = codec_for(vae)
        canvas = Canvas(MaskedLatents(codec.encode(image)), codec, frame_rate(fps) if fps else None)
        return io.NodeOutput(to_latent(canvas))
