"""Two experts -> one GUIDER, or one MODEL."""

from dataclasses import replace

from comfy_api.latest import io

from ...host.comfyui.conditioning import Prompts
from ...host.comfyui.latent import to_canvas
from ...host.comfyui.node_text import show_text
from ...host.sampling.experts import experts_of, guider, pair
from ..inputs.kinds import Number
from ..inputs.shared import CFG, found_by

CFG_HIGH = replace(CFG, name="cfg_high", default=0.0)
CFG_LOW = replace(CFG, name="cfg_low", default=0.0)
BOUNDARY = Number("boundary", 0.0, 1.0, default=0.0, step=0.005)


class ExpertsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeExperts",
            display_name="Experts (Longtake)",
            category="Longtake/Sample",
            **found_by("wan 2.2, a14b, high noise, low noise"),
            description="Two models that share one sampling run: the first decides layout and "
            "motion while the video is mostly noise, the second adds the detail. For Wan 2.2 A14B, "
            "whose checkpoint is such a pair. Known frames stay exactly as they were.",
            inputs=[
                io.Model.Input(
                    "high", tooltip="The high-noise expert, with LoRAs of its own if you like."
                ),
                io.Model.Input(
                    "low", tooltip="The low-noise expert, with LoRAs of its own if you like."
                ),
                io.Conditioning.Input("positive", tooltip="What the video should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                CFG_HIGH.widget(
                    "How strongly the high-noise expert follows the prompts. 0: what it was "
                    "trained for (the node shows it). 1 with few-step LoRAs."
                ),
                CFG_LOW.widget("The same for the low-noise expert."),
                BOUNDARY.widget(
                    "The noise level below which the low-noise expert takes over. 0: as trained, "
                    "0.875 for text to video and 0.9 for image to video."
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="For the guider, with image to video: the canvas to be sampled, so "
                    "that pinned pixels reach the experts exactly. The model output needs none.",
                ),
            ],
            outputs=[
                io.Guider.Output(
                    display_name="guider", tooltip="For core's SamplerCustomAdvanced."
                ),
                io.Model.Output(
                    display_name="model",
                    tooltip="For Sample or core's KSampler: the same pair as one MODEL. The cfg "
                    "set there is the high-noise expert's; 0 in Sample means cfg_high.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        high,
        low,
        positive,
        negative,
        cfg_high: float,
        cfg_low: float,
        boundary: float,
        latent=None,
    ) -> io.NodeOutput:
        levels = BOUNDARY.read(boundary), CFG_HIGH.read(cfg_high), CFG_LOW.read(cfg_low)
        model = pair(high, low, *levels)
        experts = experts_of(model)
        show_text(
            f"changes over at {experts.boundary:g}; cfg {experts.cfg_high:g} above, "
            f"{experts.cfg_low:g} below"
        )
        canvas = to_canvas(latent) if latent else None
        return io.NodeOutput(guider(model, Prompts(positive, negative), canvas), model)
