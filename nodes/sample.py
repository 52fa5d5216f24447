"""LATENT + prompts + SIGMAS -> a painted LATENT."""

from comfy_api.latest import io

from ..host.preset import cfg_for
from ..host.sampling import SAMPLERS, sample
from . import checks

CFG, SEEDS = (0.0, 100.0), (0, 2**64 - 1)


class Sample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSample",
            display_name="Sample (Longtake)",
            category="Longtake/Sample",
            description="Paints the video. The same seed gives the same noise on every machine, "
            "and each frame its own, whatever the video's length.",
            inputs=[
                io.Model.Input("model", tooltip="A video model, with or without LoRAs."),
                io.Conditioning.Input("positive", tooltip="What the video should show."),
                io.Conditioning.Input(
                    "negative",
                    tooltip="What it should not show. An empty prompt for the built-in model.",
                ),
                io.Latent.Input(
                    "latent",
                    tooltip="The canvas. What its mask keeps comes back exactly as it was.",
                ),
                io.Sigmas.Input("sigmas", tooltip="The noise levels, from Schedule."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=SEEDS[0],
                    max=SEEDS[1],
                    control_after_generate=True,
                    tooltip="Another number gives another video; the same gives the same.",
                ),
                io.Float.Input(
                    "cfg",
                    default=4.0,
                    min=CFG[0],
                    max=CFG[1],
                    step=0.1,
                    round=0.001,
                    tooltip="How strongly the prompts are followed: 4 for the built-in model, 5 or "
                    "6 for Wan. 1 ignores the negative prompt and halves the time. 0: what the "
                    "checkpoint was made for.",
                ),
                io.Combo.Input(
                    "sampler",
                    options=list(SAMPLERS),
                    default="euler",
                    tooltip="How to get from one noise level to the next. euler is plain and "
                    "exact; uni_pc is what Wan's own code uses.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="For Decode, or core's VAEDecode.")
            ],
        )

    @classmethod
    def validate_inputs(cls, sampler=None) -> bool | str:
        return checks.verdict(checks.one_of, "sampler", sampler, SAMPLERS)

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        latent,
        sigmas,
        seed: int,
        cfg: float,
        sampler: str,
    ) -> io.NodeOutput:
        seed = checks.whole("seed", seed, *SEEDS)
        cfg = checks.number("cfg", cfg, *CFG) or cfg_for(model)
        checks.one_of("sampler", sampler, SAMPLERS)
        painted = sample(
            model, positive, negative, latent, sigmas, seed=seed, cfg=cfg, sampler=sampler
        )
        return io.NodeOutput(painted)
