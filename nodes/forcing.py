"""Asynchronous diffusion forcing -> SAMPLER."""

from comfy_api.latest import io

from ..engine.sampling.forcing import MOST_NOISE
from ..host.sampling.forcing import forcing
from .inputs import Number, Whole

LAG = Whole("lag", 0, 1000, default=5)
BLOCK = Whole("block", 1, 64, default=1)
REFERENCE_NOISE = Number("reference_noise", 0.0, float(MOST_NOISE), default=0.0, step=1.0)


class DiffusionForcing(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeDiffusionForcing",
            display_name="Diffusion Forcing (Longtake)",
            category="Longtake/Sample",
            description="A sampler in which earlier frames are ahead of later ones and guide them. "
            "For SkyReels-V2 DF and other models that take a noise level for each frame.",
            inputs=[
                LAG.widget(
                    "Steps that each block of frames is behind the one before. 0: all together, as "
                    "euler does. Each block more costs as many calls of the model more."
                ),
                BLOCK.widget(
                    "Latent frames that go together; it must divide the canvas's. SkyReels-V2's "
                    "asynchronous settings are lag 5, block 5."
                ),
                REFERENCE_NOISE.widget(
                    "How noisy known frames are shown to be, of 1000. 0: not at all; SkyReels-V2 "
                    "goes on from clips best with 20. They come out as they were."
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    display_name="sampler",
                    tooltip="For core's SamplerCustomAdvanced or SamplerCustom.",
                )
            ],
        )

    @classmethod
    def execute(cls, lag: int, block: int, reference_noise: float) -> io.NodeOutput:
        noise = REFERENCE_NOISE.read(reference_noise)
        return io.NodeOutput(forcing(LAG.read(lag), BLOCK.read(block), noise))
