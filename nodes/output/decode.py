"""LATENT -> VIDEO or IMAGE."""

from comfy_api.latest import io

from ...engine.container.formats import MP4, Quality
from ...engine.rates import MAX_RATE, frame_rate
from ...host.comfyui.films import films_lost
from ...host.comfyui.latent import to_canvas
from ...host.networks.codec import codec_for
from ...host.video.decode import decode_canvas, decoded_frames
from ..inputs.kinds import Number, Whole
from ..inputs.shared import audio_vae_input, found_by, vae_input

CATEGORY = "Longtake/Decode"
FPS = Number("fps", 0.0, MAX_RATE, default=0.0)
CRF = Whole("crf", 0, MP4.max_crf, default=MP4.visually_lossless, optional=True, advanced=True)


class Decode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDecode",
            display_name="Decode (Longtake)",
            category=CATEGORY,
            **found_by("vae decode, create video"),
            description="Decodes latents into a VIDEO, frame by frame straight into a file, so "
            "that a long video needs no more memory than a short one.",
            inputs=[
                io.Latent.Input(
                    "latent", tooltip="The latents of a video, from Sample or any sampler."
                ),
                vae_input(),
                FPS.widget(
                    "Frames per second. 0: as set in Canvas, otherwise what the VAE's model was "
                    "trained at. Another number plays the video slower or faster."
                ),
                CRF.widget(
                    "Quality of the file: lower is better and larger. 16 looks like what the VAE "
                    "decoded, 0 loses only colour resolution. Save Video copies the file, so ask "
                    "here for anything better than 16."
                ),
                audio_vae_input(optional=True),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    is_output_list=True,
                    tooltip="One VIDEO for each video of the batch, for Save Video or core's.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return films_lost()

    @classmethod
    def execute(
        cls, latent, vae, fps: float, crf: int = CRF.default, audio_vae=None
    ) -> io.NodeOutput:
        fps = FPS.read(fps)
        quality = Quality(CRF.read(crf))
        canvas = to_canvas(latent, codec_for(vae), masked=False)
        rate = frame_rate(fps) if fps else canvas.timeline.fps
        return io.NodeOutput(decode_canvas(vae, canvas, rate, quality, audio_vae))


class DecodeFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDecodeFrames",
            display_name="Decode Frames (Longtake)",
            category=CATEGORY,
            **found_by("vae decode, frames"),
            description="Decodes latents into an IMAGE batch, for nodes that work on frames. All "
            "frames are in memory at once; for a long video, use Decode.",
            inputs=[
                io.Latent.Input(
                    "latent", tooltip="The latents of a video, from Sample or any sampler."
                ),
                vae_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="The frames as one batch, one video after another.",
                )
            ],
        )

    @classmethod
    def execute(cls, latent, vae) -> io.NodeOutput:
        canvas = to_canvas(latent, codec_for(vae), masked=False)
        return io.NodeOutput(decoded_frames(vae, canvas))
