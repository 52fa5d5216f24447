"""Asynchronous diffusion forcing -> SAMPLER."""

from comfy_api.latest import io

from ...engine.sampling.forcing import MOST_NOISE
from ...host.sampling.forcing import forcing
from ..inputs.kinds import Number, Whole
from ..inputs.shared import found_by

LAG = Whole("lag", 0, 1000, default=5)
BLOCK = Whole("block", 1, 64, default=1)
REFERENCE_NOISE = Number("reference_noise", 0.0, float(MOST_NOISE), default=0.0, step=0.01)


class DiffusionForcing(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDiffusionForcing",
            display_name="Diffusion Forcing (Longtake)",
            category="Longtake/Sample",
            **found_by("skyreels, asynchronous sampler"),
            description="A sampler that denoises earlier frames ahead of later ones, to guide "
            "them. For SkyReels-V2 DF and other models that take a noise level for each frame.",
            inputs=[
                LAG.widget(
                    "How many steps each block of frames lags behind the one before. 0: all "
                    "together, as with euler. Every further block adds this many model calls."
                ),
                BLOCK.widget(
                    "Latent frames denoised together; must divide the number on the canvas. "
                    "SkyReels-V2's asynchronous settings are lag 5, block 5."
                ),
                REFERENCE_NOISE.widget(
                    "How much noise the model sees on known frames, of 1000. 0: none; SkyReels-V2 "
                    "continues clips best with 20. The frames themselves come out unchanged."
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    display_name="sampler",
                    tooltip="For the custom_sampler of Sample and Long Take, or core's "
                    "SamplerCustomAdvanced.",
                )
            ],
        )

    @classmethod
    def execute(cls, lag: int, block: int, reference_noise: float) -> io.NodeOutput:
        noise = REFERENCE_NOISE.read(reference_noise)
        return io.NodeOutput(forcing(LAG.read(lag), BLOCK.read(block), noise))
