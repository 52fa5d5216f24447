"""LATENT -> VIDEO or IMAGE."""

from fractions import Fraction

import torch
from comfy_api.latest import io

from ..engine.canvas.grid import frame_rate
from ..engine.media.formats import MP4, Quality
from ..engine.sampling.presets import fps_for
from ..host.comfyui.latent import STRIDE_T, facts_of, samples_of
from ..host.networks.vae import decode_frames
from ..host.video.save import film
from .inputs import Number, Whole
from .shared import vae_input

CATEGORY = "Longtake/Decode"
FPS = Number("fps", 0.0, 240.0, default=0.0, step=0.01)
CRF = Whole("crf", 0, MP4.coarsest, default=MP4.clear, optional=True)


class Decode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDecode",
            display_name="Decode (Longtake)",
            category=CATEGORY,
            description="Turns latents into a VIDEO, frame by frame straight into a file, so that "
            "a long video needs no more memory than a short one.",
            inputs=[
                io.Latent.Input("latent", tooltip="A painted video, from Sample or any sampler."),
                vae_input(),
                FPS.widget(
                    "Frames per second. 0: what the Canvas said, or else what the VAE's "
                    "model was trained at. Another number plays the video slower or faster."
                ),
                CRF.widget(
                    "Quality of the file: lower is better and larger. 16 looks like what "
                    "the VAE made, 0 loses nothing but colour detail. Save Video copies the file, "
                    "so this is where to ask for more than 16."
                ),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    is_output_list=True,
                    tooltip="One VIDEO for each of the batch, for Save Video or core's.",
                )
            ],
        )

    @classmethod
    def execute(cls, latent, vae, fps: float, crf: int = CRF.default) -> io.NodeOutput:
        fps = FPS.read(fps)
        quality = Quality(CRF.read(crf))
        latents = samples_of(latent)
        known = facts_of(latent).get("fps") or Fraction(fps_for(latents.shape[1]))
        rate = frame_rate(fps) if fps else known
        skip = not_shown(latent)
        return io.NodeOutput([film(vae, one, rate, quality, skip) for one in latents.split(1)])


class DecodeFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDecodeFrames",
            display_name="Decode Frames (Longtake)",
            category=CATEGORY,
            description="Turns latents into an IMAGE batch, for nodes that work on frames. All "
            "frames are in memory at once; for a long video use Decode.",
            inputs=[
                io.Latent.Input("latent", tooltip="A painted video, from Sample or any sampler."),
                vae_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="The frames of the video as one batch, one video after another.",
                )
            ],
        )

    @classmethod
    def execute(cls, latent, vae) -> io.NodeOutput:
        latents, skip = samples_of(latent), not_shown(latent)
        if not skip:
            return io.NodeOutput(decode_frames(vae, latents))
        videos = [decode_frames(vae, one)[skip:] for one in latents.split(1)]
        return io.NodeOutput(torch.cat(videos))


def not_shown(latent) -> int:
    """How many frames at the front are not of a loop; 0 for a LATENT that has been cut since."""
    skip, frames = facts_of(latent).get("skip", 0), (samples_of(latent).shape[2] - 1) * STRIDE_T
    return skip if skip <= frames else 0
