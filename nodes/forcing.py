"""Asynchronous diffusion forcing -> SAMPLER."""

from comfy_api.latest import io

from ..engine.sampling.forcing import MOST_NOISE
from ..host.sampling.forcing import forcing
from . import checks, widgets

LAG, BLOCK, NOISE = (0, 1000), (1, 64), (0.0, float(MOST_NOISE))


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
                widgets.whole(
                    "lag",
                    5,
                    LAG,
                    "Steps that each block of frames is behind the one before. 0: all together, as "
                    "euler does. Each block more costs as many calls of the model more.",
                ),
                widgets.whole(
                    "block",
                    1,
                    BLOCK,
                    "Latent frames that go together; it must divide the canvas's. SkyReels-V2's "
                    "asynchronous settings are lag 5, block 5.",
                ),
                widgets.number(
                    "reference_noise",
                    0.0,
                    NOISE,
                    "How noisy known frames are shown to be, of 1000. 0: not at all; SkyReels-V2 "
                    "goes on from clips best with 20. They come out as they were.",
                    step=1.0,
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
        lag, block = checks.whole("lag", lag, *LAG), checks.whole("block", block, *BLOCK)
        noise = checks.number("reference_noise", reference_noise, *NOISE)
        return io.NodeOutput(forcing(lag, block, noise))
